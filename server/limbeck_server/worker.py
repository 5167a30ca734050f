"""One job in one process: recipe -> trainer -> mesh -> artifacts, told as a stream of events.

Pictures are made in `picture_job.py`.

`run` is a generator: the executor pulls events, and closing it between two of them is how a job is cancelled. Torch is
imported here and below, never in the server. Nothing here opens a socket.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError, as_sentence, remedy_for
from limbeck_protocol.messages import (
    ArtifactWritten,
    Finished,
    Notice,
    PhaseStarted,
    Progress,
    WorkerProgress,
)
from limbeck_protocol.recipe import Recipe, recipe_to_json

from limbeck_server import assembly, picture_job, results, starts
from limbeck_server.distillation.device import DeviceError, choose_device
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.job_progress import SECONDS_BETWEEN_PROGRESS, Clock, Steps, with_progress
from limbeck_server.meshing.mesh import NoSurfaceError, NotFiniteError
from limbeck_server.priors.prior import ModelError, ParticleError, Prior, PromptError
from limbeck_server.recipes import complete
from limbeck_server.viewer_pictures import ViewerPictures, as_view, own_picture


def run(recipe: Recipe, folder: Path) -> Steps:
    """Make the recipe's object, or its picture, and yield what happens on the way.

    What is sent into it is the camera of the viewer who asked last, if any; see `viewer_pictures`.

    Args:
        recipe: completed by `recipes.complete`: nothing unset.
        folder: the job's own; files appear whole in its `artifacts` folder.

    Yields:
        Phases, progress, previews, artifacts; at the end `Finished` with the metrics.

    Raises:
        LimbeckError: whatever a user can put right, with its remedy.
    """
    try:
        yield from _run(recipe, folder)
    except PromptError as error:
        raise LimbeckError(
            ErrorCode.UNKNOWN_WORD, as_sentence(error), remedy_for(ErrorCode.UNKNOWN_WORD, field="recipe.prompt")
        ) from error
    except ModelError as error:
        code = ErrorCode(error.code)
        raise LimbeckError(code, as_sentence(error), remedy_for(code, field="recipe.prior")) from error
    except ParticleError as error:
        code = ErrorCode.INVALID_FIELD
        raise LimbeckError(code, as_sentence(error), remedy_for(code, field="recipe.loss")) from error
    except DeviceError as error:
        raise LimbeckError(ErrorCode.DEVICE_UNAVAILABLE, as_sentence(error)) from error
    except (DivergedError, NotFiniteError) as error:
        raise LimbeckError(ErrorCode.NUMERIC_DIVERGED, as_sentence(error)) from error
    except NoSurfaceError as error:
        raise LimbeckError(ErrorCode.NO_SURFACE, as_sentence(error)) from error


def _run(recipe: Recipe, folder: Path) -> Steps:
    # A recipe that was queued before an upgrade lacks the settings that came with it.
    recipe = complete(recipe)
    clock = Clock()
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    settings = recipe.settings
    torch.set_num_threads(assembly.value(settings.threads))
    device = choose_device(assembly.value(settings.device))

    if recipe.image:
        yield from picture_job.make(recipe, artifacts, device, clock)
        return
    field = starts.read_field(recipe, folder, device)
    yield PhaseStarted(name="views", title="Preparing the prior")
    prior: Prior = yield from with_progress(lambda report: assembly.load_prior(recipe, device, report), "views", clock)
    starts.check_prompt(recipe, prior)
    judge = yield from with_progress(lambda report: assembly.load_judge(recipe, prior, report), "views", clock)
    trainer = Trainer(prior, assembly.camera_rig(recipe), assembly.trainer_settings(recipe, prior, field), field)

    beginning = starts.Beginning({}, None)
    if starts.needs_measuring(recipe, judge):
        # Not the phase `score`: that is one of the export, which the job would then be in before it has begun.
        yield PhaseStarted(name="start", title="Measuring what it starts from")
        beginning = yield from with_progress(
            lambda report: starts.measure(recipe, trainer, judge, report), "start", clock
        )
    yield PhaseStarted(name="optimise", title=f"Distilling with {recipe.loss}")
    yield from _optimise(trainer, assembly.value(settings.preview_every), clock)

    yield PhaseStarted(name="mesh", title="Extracting the mesh")
    extracted = yield from with_progress(lambda progress: results.extract(recipe, trainer, progress), "mesh", clock)
    report = extracted.report
    if report.components_dropped:
        parts, dropped = report.components_found, report.components_dropped
        yield Notice(text=f"{parts} separate parts were found; {dropped} small or hidden ones were dropped.")
    for note in report.notes:
        yield Notice(text=note)

    yield PhaseStarted(name="score", title="Comparing with the truth")
    metrics: dict[str, Any] = results.metrics(recipe, trainer, judge, extracted)
    metrics |= yield from with_progress(
        lambda report: starts.edit_metrics(recipe, trainer, extracted.mesh, beginning, report), "score", clock
    )
    metrics["start"] = beginning.metrics
    metrics["seconds"] = round(clock.seconds(), 2)
    metrics["steps"] = trainer.steps_done
    metrics["prior_evaluations"] = prior.evaluations

    for name, media_type in results.write_artifacts(
        artifacts, recipe_to_json(recipe), trainer.field, extracted.mesh, metrics, own_picture(trainer).image
    ):
        yield ArtifactWritten(name=name, media_type=media_type)
    yield Finished(metrics=metrics)


def _optimise(trainer: Trainer, preview_every: int, clock: Clock) -> Steps:
    """Run the loop, with a preview now and then, progress a few times a second, and pictures for who looks on.

    Whoever takes the events sends in the camera of the viewer who asked last; there is no other way to one.
    """
    steps, begun, told = trainer.settings.steps, clock.seconds(), -1.0
    pictures = ViewerPictures()
    viewer = yield own_picture(trainer)
    while trainer.steps_done < steps:
        before = clock.seconds()
        report = trainer.step()
        now, last = clock.seconds(), trainer.steps_done == steps
        pictures.optimised(now - before)
        if last or now - told >= SECONDS_BETWEEN_PROGRESS:
            told = now
            viewer = yield WorkerProgress(
                progress=Progress(
                    phase="optimise",
                    step=report.step,
                    steps=steps,
                    loss=report.loss,
                    seconds=now,
                    seconds_left=(now - begun) / report.step * (steps - report.step),
                    prior_evaluations=trainer.prior.evaluations,
                    terms=dict(report.terms),
                ),
                view=as_view(report.views),
            )
        if last or report.step % preview_every == 0:
            viewer = yield own_picture(trainer)
        picture = pictures.answer(trainer, viewer)
        if picture is not None:
            viewer = yield picture
