"""Limbeck for scripts: blocking, in the `bpy` module, in `blender --background` and in Blender's own console.

    from limbeck import api            # or from the installed extension: bl_ext.<repository>.limbeck
    duck = api.generate("a yellow duck", cameras=[front, left], orbit=True, location=(0, 0, 1))

    job = api.submit("a yellow duck", seed=3)      # returns at once; the job is stored and safe
    job.wait(progress=lambda progress: print(progress.step, "of", progress.steps))
    duck = job.import_mesh()
    mug = api.image("a red mug", generator="mlp")  # a picture: an image data-block, no mesh
    blue = api.edit(duck, "a blue duck")          # the same duck, but blue, beside it

Everything raises `LimbeckError`: a sentence and a remedy. Bad input is refused before anything is sent or made.
`docs/scripting.md` has more examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import bpy
from limbeck_protocol.client import Client
from limbeck_protocol.editing import edit_recipe
from limbeck_protocol.recipe import Recipe

from .recipe.recipe_comparison import compare_recipes, comparison_text
from .recipe.recipe_form import bad_field, check_prompt, settings_from_mapping
from .results.recipe_on_object import fresh_recipe, read_origin
from .results.submitted_jobs import remember
from .results.variants import beside, in_a_row, loss_variants, seed_variants
from .rig.placement import Placement
from .scripted_job import Job, OnPreview, OnProgress, connect, id_of, import_result, placed, wait
from .scripted_recipe import OrbitLike, recipe_for

__all__ = [
    "Job",
    "compare",
    "connect",
    "edit",
    "generate",
    "generate_variants",
    "image",
    "import_job",
    "recipe_for",
    "recipe_of",
    "submit",
    "wait",
]


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
    as_asset: bool = False,
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
        as_asset: mark the object as an asset, its last preview as thumbnail.
        start_server: start a server where none runs; it goes on afterwards.
        timeout_s: how long to wait for the job; when it is over, the job goes on, and `Job` takes it up again later.

    Raises:
        LimbeckError: bad input, no server, a failed or cancelled job, a mesh that cannot be used, or TIMEOUT. Nothing
            half-made stays in the file.
    """
    placement = placed(location, size)
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
        return import_result(client, info, placement, as_asset=as_asset)


def image(
    prompt: str,
    *,
    generator: str | None = None,
    size: int | None = None,
    loss: str = "sds",
    prior: str = "exact",
    preset: str = "image",
    seed: int = 0,
    negative_prompt: str | None = None,
    settings: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    on_preview: OnPreview | None = None,
    start_server: bool = True,
    timeout_s: float = 3600.0,
) -> bpy.types.Image:
    """Return the finished picture as an image data-block: packed, named after the prompt, its recipe on it.

    Args:
        prompt: what to make.
        generator: what is optimised: `latents` (what the prior diffuses), `pixels`, or `mlp` (a small network that
            gives each place its colour); None: what the preset is made for.
        size: side in pixels, 16 to 2048; None: that of the prior's own pictures.
        loss: name of a distillation loss; `connect().catalog()` lists them.
        prior: name of a prior, a hub id or a folder on the server.
        preset: name of a preset that makes images.
        seed: the same recipe with the same seed gives the same result.
        negative_prompt: what to keep away from; None lets the prior choose.
        settings: fields of the protocol's `Settings`, such as `{"steps": 100}`; the preset decides the others.
        on_progress: called with the latest progress about twice a second.
        on_preview: called with each new picture, (h, w, 3) uint8 in `preview.image`, first row on top.
        start_server: start a server where none runs; it goes on afterwards.
        timeout_s: how long to wait for the job; when it is over, the job goes on, and `Job` takes it up again later.

    Raises:
        LimbeckError: bad input, no server or one that makes no images, a failed or cancelled job, a picture that cannot
            be used, or TIMEOUT. Nothing half-made stays in the file.
    """
    recipe = recipe_for(
        prompt,
        loss=loss,
        prior=prior,
        preset=preset,
        seed=seed,
        negative_prompt=negative_prompt,
        settings=settings,
        image={"generator": generator, "size": size},
    )
    with connect(start_server=start_server) as client:
        job = client.submit(recipe)
        info = wait(job.job_id, client=client, on_progress=on_progress, on_preview=on_preview, timeout_s=timeout_s)
        return import_result(client, info, Placement())


def submit(
    what: str | Recipe,
    *,
    job_id: str | None = None,
    location: Sequence[float] = (0.0, 0.0, 0.0),
    size: float = 1.0,
    start_server: bool = True,
    **recipe: Any,
) -> Job:
    """Hand in a job and return it at once, stored and safe: it goes on without this Blender.

    Args:
        what: a prompt, or a whole recipe such as `recipe_for` and `recipe_of` return.
        job_id: an id of your own, so that the same call may be repeated without harm; None makes a new one.
        location: where the object's centre will lie; cameras are understood relative to it.
        size: scene units of the object's largest dimension, roughly.
        start_server: start a server where none runs.
        **recipe: with a prompt, the other arguments of `recipe_for`: `loss`, `seed`, `cameras`, `settings`, `image`.

    Raises:
        LimbeckError: bad input, the server refuses it, or there is none.
    """
    placement = placed(location, size)
    if isinstance(what, Recipe) and recipe:
        label = "Change the recipe itself, or give a prompt."
        raise bad_field("recipe", f"A whole recipe came, and {', '.join(recipe)} beside it.", label)
    whole = what if isinstance(what, Recipe) else recipe_for(what, placement=placement, **recipe)
    with connect(start_server=start_server) as client:
        return _submit(client, whole, placement, job_id)


def edit(
    what: bpy.types.Object | Job | str,
    prompt: str,
    *,
    location: Sequence[float] | None = None,
    size: float | None = None,
    settings: Mapping[str, Any] | None = None,
    timeout_s: float = 3600.0,
    **changes: Any,
) -> bpy.types.Object:
    """Return a new object: what a finished job has made, turned into what another prompt says, the rest kept.

    Args:
        what: a result, a job or its id; the job must be on the server, with the field that it left there.
        prompt: what to make of it.
        location: where the new object's centre will lie, in scene units; None: beside a result, else the origin.
        size: scene units of its largest dimension, roughly; None: a result's own, else 1.
        settings: fields of the protocol's `Settings`; those of the mesh are the job's, the preset decides the others.
        timeout_s: how long to wait for the job.
        **changes: other fields of the recipe, such as `seed` or `preset`; they are the job's unless given.

    Raises:
        LimbeckError: bad input, no server, a job that cannot be started from, or one that failed.
    """
    check_prompt(prompt)
    is_object = isinstance(what, bpy.types.Object)
    job_id = read_origin(what).job_id if isinstance(what, bpy.types.ID) else id_of(what)
    place = beside(what) if is_object else Placement()
    asked = placed(place.location if location is None else location, place.size if size is None else size)
    placement = replace(asked, rotation=place.rotation)
    with connect(start_server=False) as client:
        start, own = client.job(job_id), settings_from_mapping(settings or {})
        recipe = edit_recipe(start, prompt.strip(), welcome=client.welcome, settings=own, **changes)
        job = client.submit(recipe)
        return import_result(client, wait(job.job_id, client=client, timeout_s=timeout_s), placement)


def generate_variants(
    prompt: str,
    *,
    count: int = 4,
    losses: Sequence[str] = (),
    location: Sequence[float] = (0.0, 0.0, 0.0),
    size: float = 1.0,
    start_server: bool = True,
    timeout_s: float = 3600.0,
    **recipe: Any,
) -> list[bpy.types.Object | bpy.types.Image]:
    """Return finished objects in a row, or images: one recipe with `count` seeds, or with each of the `losses`.

    All jobs are handed in before the first is waited for.

    Args:
        prompt: what to make.
        count: how many seeds, beginning with `seed`; not used with `losses`.
        losses: names of losses.
        location: centre of the first object; the others follow along +X.
        size: scene units of an object's largest dimension, roughly.
        start_server: start a server where none runs.
        timeout_s: how long to wait for each job.
        **recipe: the other arguments of `recipe_for`.

    Raises:
        LimbeckError: bad input; or the first job that fails. Objects that were finished before it stay in the scene.
    """
    placement = placed(location, size)
    whole = recipe_for(prompt, placement=placement, **recipe)
    recipes = loss_variants(whole, losses) if losses else seed_variants(whole, count)
    with connect(start_server=start_server) as client:
        row = in_a_row(placement, len(recipes))
        jobs = [_submit(client, variant, place) for variant, place in zip(recipes, row, strict=True)]
        return [
            import_result(client, wait(job, client=client, timeout_s=timeout_s), job.placement or placement)
            for job in jobs
        ]


def import_job(
    job_id: str | Job,
    *,
    location: Sequence[float] = (0.0, 0.0, 0.0),
    size: float = 1.0,
    client: Client | None = None,
) -> bpy.types.Object | bpy.types.Image:
    """Return a new object made from a finished job, like `Job.import_mesh`, with a place of your own; or its image.

    Raises:
        LimbeckError: there is no such job, it has not succeeded, or its mesh or picture cannot be used.
    """
    placement = placed(location, size)
    if client is None:
        with connect(start_server=False) as own:
            return import_result(own, own.job(id_of(job_id)), placement)
    return import_result(client, client.job(id_of(job_id)), placement)


def recipe_of(thing: bpy.types.Object | bpy.types.Image) -> Recipe:
    """Return the recipe on a result, ready to be handed in again: `submit(recipe_of(duck))` is *Re-run*.

    Raises:
        LimbeckError: it carries no recipe that can be read.
    """
    return fresh_recipe(read_origin(thing).recipe)


def compare(first: bpy.types.ID, second: bpy.types.ID) -> str:
    """Return the fields in which the recipes on two results differ, a line each: `seed: 0 -> 1`.

    Raises:
        LimbeckError: an object carries no recipe that can be read.
    """
    differences = compare_recipes(read_origin(first).recipe, read_origin(second).recipe)
    return comparison_text(first.name, second.name, differences)


def _submit(client: Client, recipe: Recipe, placement: Placement, job_id: str | None = None) -> Job:
    info = client.submit(recipe, job_id)
    if hasattr(bpy.types.Scene, "limbeck"):  # a script may use the API without the add-on being switched on
        remember(bpy.context.scene, info.job_id, recipe.prompt, placement)
    return Job(info.job_id, placement)
