"""One job as scripts hold it: wait, look, cancel, import. Every call blocks and opens a connection of its own.

Nothing here needs a timer, a window or the panel, so it works in `blender --background` and in the `bpy` module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import bpy
from limbeck_protocol import messages
from limbeck_protocol.client import Client
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import JobState
from limbeck_protocol.replies import error_from_reply

from .connection.server_search import ServerSearch
from .preferences import check_network_allowed, server_choice
from .recipe.recipe_form import bad_field
from .results.image_import import import_image
from .results.picture import Picture, read_result, result_name, result_word
from .results.recipe_on_object import Origin
from .results.scene_import import import_mesh
from .results.submitted_jobs import destination
from .rig.placement import Placement

OnProgress = Callable[[messages.Progress], None]
OnPreview = Callable[[messages.Preview], None]
_SEARCH_INTERVAL_S = 0.1


def connect(*, start_server: bool = True) -> Client:
    """Return a client of the server that the preferences name; use it in a `with` statement.

    Args:
        start_server: start one where none runs on this computer, with the preferences' Python.

    Raises:
        LimbeckError: Blender's online access is off, or there is no server and none could be started.
    """
    choice = server_choice()
    search = ServerSearch(
        lambda: choice.command, start=start_server, remote=choice.remote, permit=check_network_allowed
    )
    try:
        while (client := search.step()) is None:
            time.sleep(_SEARCH_INTERVAL_S)
    finally:
        search.stop()
    return client


class Job:
    """A job on the server, by its id: `Job("01J...")` takes up any job again, in any Blender.

    Args:
        job_id: the job.
        placement: where its mesh belongs; None: where this file remembers, else the origin.
    """

    def __init__(self, job_id: str, placement: Placement | None = None) -> None:
        self.job_id = job_id
        self.placement = placement

    def __repr__(self) -> str:
        return f"Job({self.job_id!r})"

    @property
    def info(self) -> messages.JobInfo:
        """What the server knows of it now: state, completed recipe, progress, artifacts, metrics, error.

        Raises:
            LimbeckError: there is no server, or it does not know the job.
        """
        with connect(start_server=False) as client:
            return client.job(self.job_id)

    def wait(
        self, progress: OnProgress | None = None, preview: OnPreview | None = None, timeout_s: float = 3600.0
    ) -> messages.JobInfo:
        """Return the job once it has succeeded.

        Args:
            progress: called with the latest progress about twice a second.
            preview: called with each new picture, (h, w, 3) uint8 in `.image`, first row on top.
            timeout_s: how long to wait; when it is over, the job goes on, and may be waited for again.

        Raises:
            LimbeckError: the job failed (its own error) or was CANCELLED; TIMEOUT; no server, or no such job.
        """
        return wait(self.job_id, on_progress=progress, on_preview=preview, timeout_s=timeout_s)

    def import_mesh(
        self, *, location: Sequence[float] | None = None, size: float | None = None, as_asset: bool = False
    ) -> bpy.types.Object:
        """Return a new object made from the finished job, in the collection *Limbeck* of the current scene.

        Args:
            location: where its centre will lie, in scene units; None: where it was asked for.
            size: scene units of its largest dimension, roughly; None: as it was asked for.
            as_asset: mark it as an asset.

        Raises:
            LimbeckError: the job has not succeeded or makes a picture, or its mesh cannot be used; nothing half-made
                stays in the file.
        """
        asked = self.placement or _remembered(self.job_id) or Placement()
        with connect(start_server=False) as client:
            place = placed(asked.location if location is None else location, asked.size if size is None else size)
            place = replace(place, rotation=asked.rotation)
            return import_result(client, _of_kind(client.job(self.job_id), "mesh"), place, as_asset=as_asset)

    def import_image(self) -> bpy.types.Image:
        """Return the image that the finished job has made; the one that is in the file already, if there is one.

        Raises:
            LimbeckError: the job has not succeeded or makes a mesh, or its picture cannot be used.
        """
        with connect(start_server=False) as client:
            return import_result(client, _of_kind(client.job(self.job_id), "picture"), Placement())

    def cancel(self) -> messages.JobInfo:
        """Ask for the job's end and return how it stands; one that has ended stays as it is.

        Raises:
            LimbeckError: there is no server, or it does not know the job.
        """
        with connect(start_server=False) as client:
            return client.cancel(self.job_id)


def wait(
    job_id: str | Job,
    *,
    client: Client | None = None,
    on_progress: OnProgress | None = None,
    on_preview: OnPreview | None = None,
    timeout_s: float = 3600.0,
) -> messages.JobInfo:
    """Return the job once it has succeeded; `Job.wait` over a connection that is there already.

    Raises:
        LimbeckError: the job failed (its own error) or was cancelled; there is no such job; TIMEOUT.
    """
    if client is None:
        with connect(start_server=False) as own:
            return wait(job_id, client=own, on_progress=on_progress, on_preview=on_preview, timeout_s=timeout_s)
    job_id = id_of(job_id)
    info = client.follow(job_id, on_progress=on_progress, on_preview=on_preview, timeout_s=timeout_s)
    if info.state is JobState.SUCCEEDED:
        return info
    if info.state is JobState.CANCELLED:
        raise LimbeckError(ErrorCode.CANCELLED, f"The job {job_id} was cancelled.")
    if info.error is not None:
        raise error_from_reply(info.error)
    raise LimbeckError(ErrorCode.INTERNAL, f"The job {job_id} failed and did not say why.")


def import_result(
    client: Client, info: messages.JobInfo, placement: Placement, *, as_asset: bool = False
) -> bpy.types.Object | bpy.types.Image:
    """Return what a finished job has made: a new object, or its image; the last preview as thumbnail, if there is one.

    Raises:
        LimbeckError: the job has not succeeded, or its mesh or picture cannot be used.
    """
    if info.state is not JobState.SUCCEEDED:
        word = result_word(info.recipe)
        raise LimbeckError(ErrorCode.BAD_STATE, f"The job {info.job_id} is {info.state}; it has no {word} to import.")
    result = read_result(info.recipe, client.fetch_artifact(info.job_id, result_name(info.recipe)))
    origin = Origin(info.job_id, info.recipe, info.metrics)
    preview = client.preview(info.job_id).image
    if isinstance(result, Picture):
        return import_image(result, origin, preview=preview, push_undo=True)
    return import_mesh(bpy.context.scene, result, origin, placement, picture=preview, as_asset=as_asset, push_undo=True)


def _of_kind(info: messages.JobInfo, word: str) -> messages.JobInfo:
    """Return the job, whose result must be a `mesh` or a `picture`."""
    if result_word(info.recipe) != word:
        sentence = f"The job {info.job_id} makes a {result_word(info.recipe)}, not a {word}."
        raise bad_field("job_id", sentence, "Use import_mesh for objects and import_image for pictures.")
    return info


def id_of(job: str | Job) -> str:
    """Return the id of a job that is given as such or as its id."""
    return job.job_id if isinstance(job, Job) else job


def placed(location: Any, size: Any) -> Placement:
    """Return the placement that a script names, not turned.

    Raises:
        LimbeckError: they are no numbers, or cannot be used.
    """
    try:
        return Placement(location=tuple(location), size=size)
    except TypeError as error:
        raise bad_field("location", "The location is no sequence of three numbers.", "Give x, y and z.") from error


def _remembered(job_id: str) -> Placement | None:
    """Return where this file wants the job's mesh; scripts may run without the add-on's fields on scenes."""
    found = destination(job_id) if hasattr(bpy.types.Scene, "limbeck") else None
    return found[1] if found else None
