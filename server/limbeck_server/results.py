"""What a trained field becomes: mesh, metrics against the truth, files.

The truth exists for prompts of the known world that name a shape. Every metric is taken at the density level that the
product itself chose, without any alignment, and stands beside the score of the untouched start blob.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limbeck_protocol.recipe import FIELD_FILE, Recipe
from PIL import Image
from torch import Tensor

from limbeck_server import assembly
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.known_world import truth
from limbeck_server.known_world.captions import parse_caption
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.meshing.arrays import write_mesh_arrays
from limbeck_server.meshing.gltf import write_glb
from limbeck_server.meshing.level import max_density_along_rays
from limbeck_server.meshing.mesh import Array, Density, Mesh, NoSurfaceError, mesh_digest
from limbeck_server.meshing.pipeline import MeshReport, build_mesh
from limbeck_server.meshing.preparation import LevelViews, MeshSettings, Surface, find_surface
from limbeck_server.meshing.solidity import fill_cavities
from limbeck_server.meshing.surface import evaluate
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.scene.cameras import Views, orbit_views, rays, sample_views
from limbeck_server.scene.field import Field
from limbeck_server.scene.field_file import save_field

COARSE = 64
"""Grid points a side where a surface is only measured, not drawn."""
LEVEL_VIEWS = 12
LEVEL_VIEW_SIZE = 48
SILHOUETTE_SIZE = 64
FRONT_ELEVATION_DEG = 15.0
FRONT_NOISE_STD = 0.5
"""Deviation from a perfect picture of 32 pixels that the judge of fronts forgives, in 0..1; twice that at 64 pixels."""
THUMBNAIL_SIDE = 128
"""The longest side of `thumbnail.npy` in pixels, at most."""
TRUTH_GRID = 128
"""Cells a side for the true volume: at 64 a cube's faces fall so between cells that it seems 8 % too large."""
PHASE_SHARES = {"field": 0.3, "mesh": 0.4, "texture": 0.3}
PHASE_STARTS = {"field": 0.0, "mesh": 0.3, "texture": 0.7}


@dataclass(frozen=True)
class Extracted:
    """A mesh, what was done on the way, and the field whose level set it is."""

    mesh: Mesh
    report: MeshReport
    field: Density

    @property
    def surface(self) -> Surface:
        """The level set itself."""
        return Surface(self.field, self.report.level)


def extract(
    recipe: Recipe, trainer: Trainer, progress: Callable[[int, int], None] | None = None, **changes: Any
) -> Extracted:
    """Return the mesh of the trainer's field, with texture and colours.

    Args:
        recipe: completed.
        trainer: at rest.
        progress: told (done, total) in thousandths.
        changes: fields of `MeshSettings` that differ from the recipe's.

    Raises:
        NoSurfaceError: the field holds nothing that a surface could be drawn around.
    """

    def tell(phase: str, share: float) -> None:
        if progress is not None:
            progress(int(1000 * (PHASE_STARTS[phase] + PHASE_SHARES[phase] * share)), 1000)

    settings = _mesh_settings(recipe, trainer, **changes)
    density, colour = _field_functions(trainer)
    surface = find_surface(density, _level_views(trainer), settings, lambda share: tell("field", share))
    return Extracted(*build_mesh(surface, colour, settings, tell), surface.field)


def coarse_volume(
    recipe: Recipe, trainer: Trainer, progress: Callable[[int, int], None] | None = None
) -> Tensor | None:
    """Return what the field's surface encloses, (r, r, r) bool; None when there is no surface.

    Cut in `COARSE` steps whatever the recipe's mesh resolution: seconds less, and two fields are compared alike.
    """

    def tell(share: float) -> None:
        if progress is not None:
            progress(int(1000 * share), 1000)

    settings = _mesh_settings(recipe, trainer, resolution=COARSE)
    try:
        found = volume(find_surface(_field_functions(trainer)[0], _level_views(trainer), settings, tell))
    except NoSurfaceError:
        return None
    return found if bool(found.any()) else None


def score_start(
    recipe: Recipe, trainer: Trainer, judge: ExactPrior | None, progress: Callable[[int, int], None] | None = None
) -> dict[str, float]:
    """Return the metrics of the untouched start, or nothing where there is no truth to compare with."""
    if not has_truth(recipe, judge):
        return {}
    try:
        found = extract(recipe, trainer, progress, resolution=COARSE, texture_size=0)
    except NoSurfaceError:
        return {}
    return compare(recipe, trainer, judge, found)


def metrics(recipe: Recipe, trainer: Trainer, judge: ExactPrior | None, extracted: Extracted) -> dict[str, Any]:
    """Return what is known about the result: of the mesh always, against the truth where there is one."""
    report = extracted.report
    found: dict[str, Any] = {
        "density_level": report.level,
        "faces": report.faces,
        "components_found": report.components_found,
        "components_dropped": report.components_dropped,
        "watertight": report.watertight,
        "euler_number": report.euler_number,
        "volume": report.volume,
        "mesh_digest": mesh_digest(extracted.mesh),
    }
    if has_truth(recipe, judge):
        found |= compare(recipe, trainer, judge, extracted)
    return found


def has_truth(recipe: Recipe, judge: ExactPrior | None) -> bool:
    """Return whether the recipe's prompt names a shape whose geometry is known."""
    return judge is not None and parse_caption(recipe.prompt).shape is not None


def compare(recipe: Recipe, trainer: Trainer, judge: ExactPrior | None, extracted: Extracted) -> dict[str, float]:
    """Return the metrics of a mesh against the truth of the recipe's prompt.

    `iou`, `silhouette_iou` (1 is best); `mean_abs_signed_distance`, `truth_to_mesh`, `colour_error` (0 is best; the
    last only if the prompt names a colour); `fronts` (1 is best); `true_volume`.
    """
    caption = parse_caption(recipe.prompt)
    assert judge is not None
    assert caption.shape is not None
    shape = SHAPES[caption.shape]
    mesh = extracted.mesh
    assert mesh.vertex_colours is not None
    views = truth.scoring_views()
    found = truth.score(
        shape,
        torch.tensor(COLOURS[caption.colour or "grey"]),
        vertices=torch.from_numpy(mesh.vertices),
        faces=torch.from_numpy(mesh.faces).long(),
        vertex_colours=torch.from_numpy(mesh.vertex_colours),
        inside=volume(extracted.surface),
        masks=torch.from_numpy(_silhouettes(extracted, trainer.settings.scene.bound, views)),
        mask_views=views,
    )
    if caption.colour is None:
        del found["colour_error"]
    inside = shape.signed_distance(truth.grid_points(TRUTH_GRID)) < 0
    found["true_volume"] = float(inside.double().mean()) * (2 * truth.GRID_HALF_EXTENT) ** 3
    found["fronts"] = count_fronts(trainer, judge, recipe.prompt)
    return found


def count_fronts(trainer: Trainer, judge: ExactPrior, prompt: str) -> float:
    """Return the share of 8 azimuths that the exact prior's posterior calls front, times 8: 1 for one front.

    More means Janus faces.
    """
    views = orbit_views(torch.arange(8) * 45.0, torch.full((8,), FRONT_ELEVATION_DEG))
    pictures = trainer.render_still(views, judge.size).image.clamp(0, 1).to(judge.device)
    words, posterior = judge.posterior(pictures, FRONT_NOISE_STD * judge.size / 32, over="azimuth", given=prompt)
    return float(posterior[:, words.index("front")].sum())


def write_artifacts(
    folder: Path, recipe_json: str, field: Field, mesh: Mesh, found: dict[str, Any], preview: Array
) -> Iterator[tuple[str, str]]:
    """Write the job's files, each whole or not at all; yield (name, media type) of each."""
    prompt = json.loads(recipe_json)["prompt"]
    save_field(field, folder / FIELD_FILE)
    yield FIELD_FILE, "application/octet-stream"
    write_mesh_arrays(folder / "mesh.npz", mesh)
    yield "mesh.npz", "application/x-npz"
    write_glb(folder / "mesh.glb", mesh, prompt[:60])
    yield "mesh.glb", "model/gltf-binary"
    part = folder / "preview.part.png"
    Image.fromarray(preview).save(part)
    part.replace(folder / "preview.png")
    yield "preview.png", "image/png"
    yield from write_records(folder, recipe_json, preview, found)


def write_records(folder: Path, recipe_json: str, picture: Array, found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Write what every job leaves, whatever it made: a thumbnail of its picture, the recipe, the metrics.

    Each whole or not at all; yields (name, media type) of each.
    """
    part = folder / "thumbnail.part.npy"
    every = -(-max(picture.shape[:2]) // THUMBNAIL_SIDE)
    # Undecoded pixels: a list of jobs shows them without a pause.
    np.save(part, np.ascontiguousarray(picture[::every, ::every]), allow_pickle=False)
    part.replace(folder / "thumbnail.npy")
    yield "thumbnail.npy", "application/x-npy"
    for name, text in (("recipe.json", recipe_json), ("metrics.json", json.dumps(found, indent=2, sort_keys=True))):
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)
        yield name, "application/json"


def _mesh_settings(recipe: Recipe, trainer: Trainer, **changes: Any) -> MeshSettings:
    return replace(assembly.mesh_settings(recipe), bound=trainer.settings.scene.bound, **changes)


def _field_functions(trainer: Trainer) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return the field's density and colour as functions of numpy arrays."""
    device = trainer.prior.device

    @torch.no_grad()
    def density(points: Array) -> Array:
        found: Array = trainer.field.density(torch.from_numpy(points).to(device)).float().cpu().numpy()
        return found

    @torch.no_grad()
    def colour(points: Array) -> Array:
        found: Array = trainer.field.density_and_colour(torch.from_numpy(points).to(device))[1].float().cpu().numpy()
        return found

    return density, colour


def _level_views(trainer: Trainer) -> LevelViews:
    """Return what the rig's own views see of the field, for choosing the density level; always the same views."""
    views, _ = sample_views(trainer.rig, LEVEL_VIEWS, torch.Generator().manual_seed(0))
    opacity = [trainer.render_still(views[i : i + 1], LEVEL_VIEW_SIZE).opacity[0, 0] for i in range(len(views))]
    origins, directions = rays(views, LEVEL_VIEW_SIZE)
    return LevelViews(torch.stack(opacity).float().cpu().numpy(), origins.numpy(), directions.numpy())


def volume(surface: Surface) -> Tensor:
    """Return (r, r, r) bool: which cells of the comparison grid a surface encloses; meshes have no cavities."""
    points = truth.grid_points(TRUTH_GRID).numpy()
    found = (evaluate(surface.field, points) >= surface.level).reshape((TRUTH_GRID,) * 3)
    return torch.from_numpy(fill_cavities(found))


def _silhouettes(extracted: Extracted, bound: float, views: Views) -> Array:
    """Return (views, size, size) bool: which pixels the mesh covers."""
    origins, directions = rays(views, SILHOUETTE_SIZE)
    highest = max_density_along_rays(extracted.field, origins.numpy(), directions.numpy(), bound, samples=64)
    found: Array = highest >= extracted.report.level
    return found
