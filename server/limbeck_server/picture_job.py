"""A job that makes a picture: recipe -> picture trainer -> image.png, told as a stream of events like any job.

No cameras, no field and no mesh: the phases are `views` (the prior), `optimise` and `score`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.messages import ArtifactWritten, Finished, PhaseStarted, PreviewReady, Progress, WorkerProgress
from limbeck_protocol.recipe import Recipe, recipe_to_json
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from limbeck_server import assembly
from limbeck_server.distillation.picture_trainer import PictureTrainer, start_image
from limbeck_server.job_progress import SECONDS_BETWEEN_PROGRESS, Clock, ProgressCallback, Steps, with_progress
from limbeck_server.known_world.captions import parse_caption
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.kinds import STABLE_DIFFUSION, prior_kind
from limbeck_server.priors.prior import Prior
from limbeck_server.results import write_records

IMAGE_FILE = "image.png"
PREVIEW_SIDE = 512
"""The longest side of a preview in pixels: a message has room for 1024."""
LOOKED_AT_SIDE = 64
"""Of the blank picture by which a prior shows how large its own are; it resizes what it is given."""
JUDGE_SIZE = 32
JUDGE_VIEWS = 96
"""How large the views are by which pictures are judged, in pixels, and how many of each shape. As many of every shape:
the exact prior itself holds 25 times as many views of the prompt's as of any other, and would see it in any blob. Of
true pictures such a judge mistakes about one shape in ten; one of 960 views, which take minutes to render, one in a
hundred."""
FORGIVEN_STD = 0.5
"""Deviation from a perfect picture, in 0..1, that the judge forgives: views are far apart."""

Pixels = NDArray[np.uint8]


def make(recipe: Recipe, artifacts: Path, device: torch.device, clock: Clock) -> Steps:
    """Make the recipe's picture and yield what happens on the way.

    Args:
        recipe: completed, with an image.
        artifacts: where the files appear, each whole.
        device: where to compute.
        clock: of the job.

    Yields:
        Phases, progress, previews, artifacts; at the end `Finished` with the metrics.

    Raises:
        LimbeckError: the size is not one that the prior's latents have.
        PromptError, ModelError, ParticleError, DivergedError: what the worker words for the user.
    """
    assert recipe.image, "a job without an image is the worker's own"
    assert recipe.image.generator, "`recipes.complete` chooses one"
    yield PhaseStarted(name="views", title="Preparing the prior")
    prior: Prior = yield from with_progress(lambda report: assembly.load_prior(recipe, device, report), "views", clock)
    settings = assembly.picture_settings(recipe)
    draws = torch.Generator().manual_seed(recipe.seed)
    module = start_image(prior, recipe.image.generator, picture_size(recipe, prior), draws)
    trainer = PictureTrainer(prior, settings, module, recipe.prompt, draws)

    yield PhaseStarted(name="optimise", title=f"Distilling with {recipe.loss}")
    yield from _optimise(trainer, assembly.value(recipe.settings.preview_every), clock)

    # Written before it is looked at: no fault of the judge's can cost a finished picture.
    picture = trainer.image()
    pixels = as_pixels(picture)
    write_image(artifacts, pixels)
    yield ArtifactWritten(name=IMAGE_FILE, media_type="image/png")

    yield PhaseStarted(name="score", title="Looking at the picture")
    metrics: dict[str, Any] = yield from with_progress(
        lambda report: what_is_seen(recipe, picture, report), "score", clock
    )
    metrics |= {
        "size": len(pixels),
        "steps": trainer.steps_done,
        "prior_evaluations": prior.evaluations,
        "image_digest": hashlib.sha256(pixels.tobytes()).hexdigest(),
        "seconds": round(clock.seconds(), 2),
    }
    for name, media_type in write_records(artifacts, recipe_to_json(recipe), pixels, metrics):
        yield ArtifactWritten(name=name, media_type=media_type)
    yield Finished(metrics=metrics)


def picture_size(recipe: Recipe, prior: Prior) -> int:
    """Return the side of the recipe's picture in pixels: that of the prior's own pictures unless it says another.

    Raises:
        LimbeckError: another size was asked of latents, which have that of the prior's own pictures and no other.
    """
    assert recipe.image
    wanted = recipe.image.size
    if wanted is not None and recipe.image.generator != "latents":
        return wanted
    blank = torch.zeros(1, 3, LOOKED_AT_SIDE, LOOKED_AT_SIDE, device=prior.device)
    with torch.no_grad():
        own = prior.decode_latents(prior.encode_images(blank)).shape[-1]
    if wanted not in (None, own):
        code = ErrorCode.INVALID_FIELD
        message = (
            f"This prior's latents make pictures of {own} pixels, and {wanted} were asked for. Leave the size out, or "
            "choose the generator pixels or mlp."
        )
        raise LimbeckError(code, message, remedy_for(code, field="recipe.image.size"))
    return own


def what_is_seen(recipe: Recipe, picture: Tensor, progress: ProgressCallback | None = None) -> dict[str, Any]:
    """Return what an exact prior's posterior sees in a picture of the known world; of any other nothing.

    `seen_shape` and `seen_colour`, the most probable words; `shape_probability` and `colour_probability`, those of the
    prompt's own words, where it has such.

    Args:
        recipe: completed.
        picture: (1, 3, s, s) in 0..1.
        progress: called with (views done, views in all) as the judge's are rendered or read.
    """
    if prior_kind(recipe.prior) == STABLE_DIFFUSION:
        return {}
    judge = ExactPrior(load_library(dict.fromkeys(SHAPE_NAMES, JUDGE_VIEWS), JUDGE_SIZE, progress=progress))
    seen_at = judge.decode_latents(judge.encode_images(picture.float().cpu()))
    caption = parse_caption(recipe.prompt)
    found: dict[str, Any] = {}
    for over, wanted in (("shape", caption.shape), ("colour", caption.colour)):
        words, probabilities = judge.posterior(seen_at, FORGIVEN_STD, over)
        found[f"seen_{over}"] = words[int(probabilities[0].argmax())]
        if wanted is not None:
            found[f"{over}_probability"] = float(probabilities[0, words.index(wanted)])
    return found


def as_pixels(picture: Tensor) -> Pixels:
    """Return the first of some pictures (n, 3, h, w) in 0..1 as (h, w, 3) uint8."""
    rounded: Pixels = (picture[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return rounded


def write_image(folder: Path, pixels: Pixels) -> None:
    """Write the picture, whole or not at all."""
    part = folder / "image.part.png"
    Image.fromarray(pixels).save(part)
    part.replace(folder / IMAGE_FILE)


def _optimise(trainer: PictureTrainer, preview_every: int, clock: Clock) -> Steps:
    """Run the loop, with a preview now and then and progress a few times a second. Nobody can look from elsewhere."""
    steps, begun, told = trainer.settings.steps, clock.seconds(), -1.0
    yield _preview(trainer)
    while trainer.steps_done < steps:
        report = trainer.step()
        now, last = clock.seconds(), trainer.steps_done == steps
        if last or now - told >= SECONDS_BETWEEN_PROGRESS:
            told = now
            yield WorkerProgress(
                progress=Progress(
                    phase="optimise",
                    step=report.step,
                    steps=steps,
                    loss=report.loss,
                    seconds=now,
                    seconds_left=(now - begun) / report.step * (steps - report.step),
                    prior_evaluations=trainer.prior.evaluations,
                    terms=dict(report.distilled.terms),
                )
            )
        if last or report.step % preview_every == 0:
            yield _preview(trainer)


def _preview(trainer: PictureTrainer) -> PreviewReady:
    picture = trainer.image()
    if picture.shape[-1] > PREVIEW_SIDE:
        picture = interpolate(picture.float(), (PREVIEW_SIDE, PREVIEW_SIDE), mode="bilinear", antialias=True)
    return PreviewReady(step=trainer.steps_done, image=as_pixels(picture))
