"""Jobs that begin with what another job has made: its field, and how much of it an edit has kept.

The folders of a server's jobs lie side by side; a worker reads the field of its neighbour and changes nothing there.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError, as_sentence, remedy_for
from limbeck_protocol.recipe import FIELD_FILE, Recipe
from torch import Tensor

from limbeck_server import assembly, results
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.known_world.captions import parse_caption
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.meshing.mesh import Mesh
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.kinds import STABLE_DIFFUSION, prior_kind
from limbeck_server.priors.prior import Prior, PromptError
from limbeck_server.scene.field import Field
from limbeck_server.scene.field_file import FieldFileError, load_field

HUELESS = frozenset({"white", "grey", "black"})
"""Colour words whose hue means nothing."""


@dataclass(frozen=True)
class Beginning:
    """What is measured before the first step.

    Attributes:
        metrics: of the start against the truth; empty where there is none.
        enclosed: (r, r, r) bool, what the field of the job that it starts from encloses; None without one, or when
            that has no surface.
    """

    metrics: dict[str, float]
    enclosed: Tensor | None


def read_field(recipe: Recipe, folder: Path, device: torch.device) -> Field | None:
    """Return the field of the job that the recipe starts from, to learn at the recipe's pace; None without a start.

    Args:
        recipe: completed.
        folder: this job's own; the other job's lies beside it.
        device: where the field shall live.

    Raises:
        LimbeckError: the file is gone or damaged.
    """
    if not recipe.start:
        return None
    job_id = recipe.start.job_id
    try:
        field = load_field(folder.parent / job_id / "artifacts" / FIELD_FILE, device)
        field.set_density_pace(assembly.value(recipe.settings.density_pace))
        return field
    except FileNotFoundError as error:
        code, message = (
            ErrorCode.ARTIFACT_NOT_FOUND,
            f"The field of job {job_id}, to start from, is not there any more.",
        )
        cause: Exception = error
    except FieldFileError as error:
        code, message = ErrorCode.CANNOT_READ, f"The field of job {job_id} cannot be used: {as_sentence(error)}"
        cause = error
    label = "Run that job's recipe again, and start from the new job."
    raise LimbeckError(code, message, remedy_for(code, label=label, field="recipe.start.job_id")) from cause


def check_prompt(recipe: Recipe, prior: Prior) -> None:
    """See that the prior understands what the start was made of.

    Raises:
        LimbeckError: it does not.
    """
    try:
        if recipe.start:
            prior.check_prompt(recipe.start.prompt)
    except PromptError as error:
        code = ErrorCode.UNKNOWN_WORD
        raise LimbeckError(code, as_sentence(error), remedy_for(code, field="recipe.start.prompt")) from error


def needs_measuring(recipe: Recipe, judge: ExactPrior | None) -> bool:
    """Return whether `measure` has anything to find."""
    return bool(recipe.start) or results.has_truth(recipe, judge)


def measure(
    recipe: Recipe, trainer: Trainer, judge: ExactPrior | None, progress: Callable[[int, int], None]
) -> Beginning:
    """Return what the metrics will need of the field before its first step.

    Args:
        recipe: completed.
        trainer: before its first step.
        judge: see `assembly.load_judge`; without one there is no truth to compare with.
        progress: told (done, total) in thousandths.
    """
    share = 500 if recipe.start else 0
    enclosed = results.coarse_volume(recipe, trainer, _within(progress, 0, share)) if recipe.start else None
    return Beginning(results.score_start(recipe, trainer, judge, _within(progress, share, 1000)), enclosed)


def edit_metrics(
    recipe: Recipe,
    trainer: Trainer,
    mesh: Mesh,
    beginning: Beginning,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return how an edit went: `iou_with_start` (1 kept the shape), and `hue_error_deg` where the prompt names a hue.

    Args:
        recipe: completed.
        trainer: at rest.
        mesh: the result.
        beginning: what `measure` returned before the first step.
        progress: told (done, total) in thousandths.
    """
    found: dict[str, float] = {}
    start = beginning.enclosed
    if start is not None:
        # Cut as the start was: how finely the mesh itself is cut must not look like a change.
        now = results.coarse_volume(recipe, trainer, progress)
        found["iou_with_start"] = 0.0 if now is None else int((now & start).sum()) / int((now | start).sum())
    # Only the known world says what a colour word looks like.
    known = bool(recipe.start) and prior_kind(recipe.prior) != STABLE_DIFFUSION
    colour = parse_caption(recipe.prompt).colour if known else None
    if colour is not None and colour not in HUELESS:
        found["hue_error_deg"] = hue_error_deg(mean_colour(mesh), COLOURS[colour])
    return found


def _within(progress: Callable[[int, int], None], low: int, high: int) -> Callable[[int, int], None]:
    """Return a progress that goes from `low` to `high` of 1000."""
    return lambda done, total: progress(low + (high - low) * done // total, 1000)


def mean_colour(mesh: Mesh) -> tuple[float, float, float]:
    """Return the mean colour of a mesh's surface, RGB in 0..1: every face counts by its area."""
    assert mesh.vertex_colours is not None
    corners = torch.from_numpy(mesh.vertices)[torch.from_numpy(mesh.faces).long()].double()
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1)
    colours = torch.from_numpy(mesh.vertex_colours)[torch.from_numpy(mesh.faces).long()].double().mean(dim=1)
    red, green, blue = ((area[:, None] * colours).sum(dim=0) / area.sum()).tolist()
    return red, green, blue


def hue_error_deg(colour: tuple[float, float, float], wanted: tuple[float, float, float]) -> float:
    """Return the angle between the hues of two RGB colours on the colour wheel, 0..180 degrees."""
    apart = abs(colorsys.rgb_to_hsv(*colour)[0] - colorsys.rgb_to_hsv(*wanted)[0]) * 360.0
    return min(apart, 360.0 - apart)
