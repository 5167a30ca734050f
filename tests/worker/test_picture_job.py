"""A picture's job from recipe to files: with the exact prior, with networks of random weights, with every generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.messages import (
    AnyWorkerEvent,
    ArtifactWritten,
    Finished,
    PhaseStarted,
    PreviewReady,
    WorkerProgress,
)
from limbeck_protocol.recipe import Image, Recipe, Settings, recipe_from_json
from limbeck_server import recipes, worker
from limbeck_server.scene.image import GENERATORS
from PIL import Image as Pictures

ARTIFACTS = ["image.png", "thumbnail.npy", "recipe.json", "metrics.json"]
ALWAYS = {"size", "steps", "seconds", "prior_evaluations", "image_digest"}
SEEN = {"seen_shape", "seen_colour", "shape_probability", "colour_probability"}


def picture_recipe(generator: str = "latents", size: int | None = 32, **fields: Any) -> Recipe:
    settings = {"threads": 1, "device": "cpu", "preview_every": 2, "steps": 4} | fields.pop("settings", {})
    given = {"prompt": "a red cube", "preset": "image", "image": Image(generator=generator, size=size)} | fields
    return recipes.complete(Recipe(**given, settings=Settings(**settings)))


@dataclass(frozen=True)
class Run:
    events: list[AnyWorkerEvent]
    folder: Path

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def metrics(self) -> dict[str, Any]:
        return self.of(Finished)[0].metrics

    def picture(self) -> np.ndarray:
        with Pictures.open(self.folder / "artifacts" / "image.png") as file:
            return np.asarray(file)


def run(recipe: Recipe, folder: Path) -> Run:
    return Run(list(worker.run(recipe, folder)), folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = picture_recipe(settings={"steps": 80, "learning_rate": 0.1, "timestep_max": [(0.0, 0.8), (1.0, 0.1)]})
    return run(recipe, tmp_path_factory.mktemp("job"))


def test_the_phases_are_those_of_a_picture(made: Run) -> None:
    assert [event.name for event in made.of(PhaseStarted)] == ["views", "optimise", "score"]
    assert isinstance(made.events[-1], Finished)


def test_the_files_come_whole_with_the_picture_first(made: Run) -> None:
    assert [event.name for event in made.of(ArtifactWritten)] == ARTIFACTS
    assert {path.name for path in (made.folder / "artifacts").iterdir()} == set(ARTIFACTS)
    picture = made.picture()
    assert picture.shape == (32, 32, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(np.load(made.folder / "artifacts" / "thumbnail.npy"), picture)
    recipe = recipe_from_json((made.folder / "artifacts" / "recipe.json").read_text())
    assert recipe.image == Image(generator="latents", size=32)
    assert json.loads((made.folder / "artifacts" / "metrics.json").read_text()) == made.metrics


def test_the_picture_shows_what_was_asked_for_and_the_metrics_say_so(made: Run) -> None:
    assert set(made.metrics) == ALWAYS | SEEN
    assert (made.metrics["seen_shape"], made.metrics["seen_colour"]) == ("cube", "red")
    assert made.metrics["shape_probability"] > 0.9
    assert made.metrics["colour_probability"] > 0.9
    assert (made.metrics["size"], made.metrics["steps"], made.metrics["prior_evaluations"]) == (32, 80, 160)


def test_previews_are_the_picture_without_a_view(made: Run) -> None:
    previews = made.of(PreviewReady)
    assert [preview.step for preview in previews] == list(range(0, 81, 2))
    assert all(preview.image.shape == (32, 32, 3) and preview.image.dtype == np.uint8 for preview in previews)
    assert all(preview.view is None and not preview.from_viewer for preview in previews)
    assert np.array_equal(previews[-1].image, made.picture())


def test_progress_ends_at_the_last_step_with_the_loss(made: Run) -> None:
    last = [event.progress for event in made.of(WorkerProgress) if event.progress.phase == "optimise"][-1]
    assert (last.step, last.steps, last.seconds_left, last.prior_evaluations) == (80, 80, 0.0, 160)
    assert last.loss is not None
    assert last.loss > 0.0


def test_the_same_recipe_gives_the_same_picture_and_another_seed_another(tmp_path: Path) -> None:
    runs = [run(picture_recipe(seed=seed), tmp_path / str(number)) for number, seed in enumerate((1, 1, 2))]
    first, again, other = (each.metrics["image_digest"] for each in runs)
    assert first == again != other
    assert np.array_equal(runs[0].picture(), runs[1].picture())


@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_makes_a_picture(generator: str, tmp_path: Path) -> None:
    found = run(picture_recipe(generator), tmp_path)
    assert found.metrics["size"] == 32
    assert found.picture().std() > 0.0


def test_a_job_is_cancelled_between_two_steps(tmp_path: Path) -> None:
    events = worker.run(picture_recipe(settings={"steps": 10_000}), tmp_path)
    for event in events:
        if isinstance(event, WorkerProgress) and event.progress.phase == "optimise":
            break
    events.close()
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_a_prompt_without_a_shape_is_judged_by_what_it_says(tmp_path: Path) -> None:
    metrics = run(picture_recipe(prompt="something red"), tmp_path).metrics
    assert "shape_probability" not in metrics
    assert set(metrics) == ALWAYS | SEEN - {"shape_probability"}


# --- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["sds", "nfsd", "vsd", "msd"])
def test_a_network_of_latents_makes_pictures_of_its_own_size(
    loss: str, tiny_stable_diffusion: Callable[[str], Path], tmp_path: Path
) -> None:
    prior = str(tiny_stable_diffusion("epsilon"))
    found = run(picture_recipe(loss=loss, prior=prior, size=None), tmp_path)
    # Nobody knows what a Stable Diffusion's pictures should look like.
    assert set(found.metrics) == ALWAYS
    assert found.metrics["size"] == len(found.picture()) >= 16
    terms = [event.progress.terms for event in found.of(WorkerProgress) if event.progress.phase == "optimise"][-1]
    assert ("particle" in terms) == (loss == "vsd")


def test_pixels_may_have_any_size(tiny_pixel_model: Path, tmp_path: Path) -> None:
    found = run(picture_recipe("pixels", size=40, prior=str(tiny_pixel_model)), tmp_path)
    assert found.picture().shape == (40, 40, 3)


def test_latents_of_another_size_than_the_prior_s_own_are_refused(tiny_pixel_model: Path, tmp_path: Path) -> None:
    with pytest.raises(LimbeckError, match="choose the generator pixels or mlp") as caught:
        run(picture_recipe("latents", size=40, prior=str(tiny_pixel_model)), tmp_path)
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert caught.value.remedy.field == "recipe.image.size"
