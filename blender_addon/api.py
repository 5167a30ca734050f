"""Limbeck for scripts: blocking, in the `bpy` module, in `blender --background` and in Blender's own console.

    from limbeck import api            # or from the extension's own package
    duck = api.generate("a yellow duck", cameras=[front, left], orbit=True, location=(0, 0, 1))

Everything raises `LimbeckError`: a sentence and a remedy. Bad input is refused before anything is sent or made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bpy
from limbeck_protocol import messages
from limbeck_protocol.client import Client
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import JobState
from limbeck_protocol.recipe import Orbit, Recipe, Rig
from limbeck_protocol.replies import error_from_reply

from .camera_rig import orbit_from, orbit_from_empty, rig_of
from .mesh_arrays import read_mesh_arrays
from .placement import Placement
from .preferences import check_network_allowed, server_choice
from .recipe_form import bad_field, check_prompt, make_recipe
from .scene_import import Origin, import_mesh
from .server_search import ServerSearch
from .session import MESH_NAME

OrbitLike = Orbit | Mapping[str, Any] | bpy.types.Object | bool | None
OnProgress = Callable[[messages.Progress], None]
OnPreview = Callable[[messages.Preview], None]
_SEARCH_INTERVAL_S = 0.1


def generate(
    prompt: str,
    *,
    loss: str = "sds",
    prior: str = "exact",
    preset: str = "standard",
    seed: int = 0,
    cameras: Sequence[bpy.types.Object] | None = None,
    orbit: OrbitLike = None,
    location: Sequence[float] = (0.0, 0.0, 0.0),
    size: float = 1.0,
    negative_prompt: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    on_preview: OnPreview | None = None,
    start_server: bool = True,
    timeout_s: float = 3600.0,
) -> bpy.types.Object:
    """Return the finished object, in the collection *Limbeck* of the current scene.

    Args:
        prompt: what to make.
        loss: name of a distillation loss; `connect().catalog()` lists them.
        prior: name of a prior, a hub id or a folder on the server.
        preset: name of a preset.
        seed: the same recipe with the same seed gives the same result.
        cameras: camera objects of the scene; None for none.
        orbit: True for the usual orbit; a mapping with some fields of the protocol's `Orbit`; an Empty with custom
            properties `limbeck_*`; None or False for none. Without cameras, None means the usual orbit too.
        location: where the object's centre will lie, in scene units; cameras are understood relative to it.
        size: scene units of the object's largest dimension, roughly.
        negative_prompt: what to keep away from; None lets the prior choose.
        settings: fields of the protocol's `Settings`, such as `{"steps": 100}`; the preset decides the others.
        on_progress: called with the latest progress about twice a second.
        on_preview: called with each new picture, (h, w, 3) uint8 in `preview.image`, first row on top.
        start_server: start a server where none runs; it goes on afterwards.
        timeout_s: how long to wait for the job; when it is over, the job goes on, and `import_job` fetches it later.

    Raises:
        LimbeckError: bad input, no server, a failed or cancelled job, a mesh that cannot be used, or TIMEOUT. Nothing
            half-made stays in the file.
    """
    placement = _placement(location, size)
    recipe = recipe_for(
        prompt,
        placement=placement,
        loss=loss,
        prior=prior,
        preset=preset,
        seed=seed,
        cameras=cameras,
        orbit=orbit,
        negative_prompt=negative_prompt,
        settings=settings,
    )
    with connect(start_server=start_server) as client:
        job = client.submit(recipe)
        info = wait(job.job_id, client=client, on_progress=on_progress, on_preview=on_preview, timeout_s=timeout_s)
        return _import(client, info, placement)


def recipe_for(
    prompt: str,
    *,
    placement: Placement | None = None,
    loss: str = "sds",
    prior: str = "exact",
    preset: str = "standard",
    seed: int = 0,
    cameras: Sequence[bpy.types.Object] | None = None,
    orbit: OrbitLike = None,
    negative_prompt: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return the checked recipe that `generate` would send; the arguments are the same.

    Raises:
        LimbeckError: bad input; the message names the field.
    """
    check_prompt(prompt)
    rig = _rig(placement or Placement(), cameras, orbit)
    return make_recipe(
        prompt,
        rig,
        loss=loss,
        prior=prior,
        preset=preset,
        seed=seed,
        negative_prompt=negative_prompt,
        settings=settings,
    )


def connect(*, start_server: bool = True) -> Client:
    """Return a client of this computer's server; use it in a `with` statement.

    Args:
        start_server: start one where none runs, with the Python of the add-on's preferences.

    Raises:
        LimbeckError: Blender's online access is off, or there is no server and none could be started.
    """
    check_network_allowed()
    search = ServerSearch(lambda: server_choice().command, start=start_server)
    while (client := search.step()) is None:
        time.sleep(_SEARCH_INTERVAL_S)
    return client


def submit(recipe: Recipe, *, job_id: str | None = None, start_server: bool = True) -> str:
    """Hand in a recipe and return the id of its job at once, stored and safe.

    Raises:
        LimbeckError: the server refuses it, or there is none.
    """
    with connect(start_server=start_server) as client:
        return client.submit(recipe, job_id).job_id


def wait(
    job_id: str,
    *,
    client: Client | None = None,
    on_progress: OnProgress | None = None,
    on_preview: OnPreview | None = None,
    timeout_s: float = 3600.0,
) -> messages.JobInfo:
    """Return the job once it has succeeded.

    Raises:
        LimbeckError: the job failed (its own error) or was cancelled; there is no such job; TIMEOUT.
    """
    if client is None:
        with connect(start_server=False) as own:
            return wait(job_id, client=own, on_progress=on_progress, on_preview=on_preview, timeout_s=timeout_s)
    info = client.follow(job_id, on_progress=on_progress, on_preview=on_preview, timeout_s=timeout_s)
    if info.state is JobState.SUCCEEDED:
        return info
    if info.state is JobState.CANCELLED:
        raise LimbeckError(ErrorCode.CANCELLED, f"The job {job_id} was cancelled.")
    if info.error is not None:
        raise error_from_reply(info.error)
    raise LimbeckError(ErrorCode.INTERNAL, f"The job {job_id} failed and did not say why.")


def import_job(
    job_id: str, *, location: Sequence[float] = (0.0, 0.0, 0.0), size: float = 1.0, client: Client | None = None
) -> bpy.types.Object:
    """Return a new object made from a finished job, in the collection *Limbeck* of the current scene.

    Raises:
        LimbeckError: there is no such job, it has not succeeded, or its mesh cannot be used.
    """
    placement = _placement(location, size)
    if client is None:
        with connect(start_server=False) as own:
            return _import(own, own.job(job_id), placement)
    return _import(client, client.job(job_id), placement)


def _import(client: Client, info: messages.JobInfo, placement: Placement) -> bpy.types.Object:
    if info.state is not JobState.SUCCEEDED:
        raise LimbeckError(ErrorCode.BAD_STATE, f"The job {info.job_id} is {info.state}; it has no mesh to import.")
    arrays = read_mesh_arrays(client.fetch_artifact(info.job_id, MESH_NAME))
    origin = Origin(info.job_id, info.recipe, info.metrics)
    return import_mesh(bpy.context.scene, arrays, origin, placement, push_undo=True)


def _placement(location: Sequence[float], size: float) -> Placement:
    try:
        return Placement(location=tuple(location), size=size)
    except TypeError as error:
        raise bad_field("location", "The location is no sequence of three numbers.", "Give x, y and z.") from error


def _rig(placement: Placement, cameras: Sequence[bpy.types.Object] | None, orbit: OrbitLike) -> Rig:
    if cameras is None and orbit is None:
        orbit = True
    if orbit is None or orbit is False:
        return rig_of(bpy.context.scene, placement, cameras)
    return rig_of(bpy.context.scene, placement, cameras, _orbit(orbit))


def _orbit(orbit: Orbit | Mapping[str, Any] | bpy.types.Object | bool) -> Orbit:
    if orbit is True:
        return Orbit()
    if isinstance(orbit, Orbit):
        return orbit
    if isinstance(orbit, bpy.types.Object):
        return orbit_from_empty(orbit)
    if isinstance(orbit, Mapping):
        return orbit_from(orbit)
    label = "Give True, a mapping of ranges, or an Empty."
    raise bad_field("orbit", f"The orbit is a {type(orbit).__name__}, which describes none.", label)
