"""One job in one process, from recipe to files: with the exact prior, and with a Stable Diffusion of random weights."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.messages import (
    AnyWorkerEvent,
    ArtifactWritten,
    Finished,
    PhaseStarted,
    PreviewReady,
    WorkerProgress,
)
from limbeck_protocol.recipe import Recipe, Settings, recipe_from_json, recipe_to_json
from limbeck_server import recipes, worker
from limbeck_server.distillation.trainer import StepReport, Trainer
from limbeck_server.meshing.arrays import read_mesh_arrays
from limbeck_server.meshing.mesh import mesh_digest
from limbeck_server.service.job_runner import EXPORT_PHASES
from limbeck_server.viewer_pictures import PREVIEW_SIZE
from PIL import Image
from safetensors.torch import load_file, save_file

ARTIFACTS = ["field.safetensors", "mesh.npz", "mesh.glb", "preview.png", "thumbnail.npy", "recipe.json", "metrics.json"]
ALWAYS = {
    *("density_level", "faces", "components_found", "components_dropped", "watertight", "euler_number", "volume"),
    *("mesh_digest", "start", "seconds", "steps", "prior_evaluations"),
}
AGAINST_TRUTH = {
    *("iou", "silhouette_iou", "mean_abs_signed_distance", "truth_to_mesh", "colour_error", "true_volume", "fronts"),
}
SMALL: dict[str, Any] = {
    "mesh_resolution": 32,
    "texture_size": 64,
    "face_budget": 500,
    "field_resolution": 24,
    "threads": 1,
    "device": "cpu",
}


def small_recipe(prior: str = "exact", prompt: str = "a red cube", loss: str = "sds", **settings: Any) -> Recipe:
    given = Settings(**(SMALL | settings))
    return recipes.complete(Recipe(prompt=prompt, preset="quick", prior=prior, loss=loss, settings=given))


@dataclass(frozen=True)
class Run:
    """What came of a job; `files` are those that lay in the folder when the event arrived."""

    recipe: Recipe
    folder: Path
    events: list[AnyWorkerEvent]
    files: list[set[str]]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def metrics(self) -> dict[str, Any]:
        return self.of(Finished)[0].metrics


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "artifacts").glob("*")}


def run(recipe: Recipe, folder: Path) -> Run:
    events, files = [], []
    for event in worker.run(recipe, folder):
        events.append(event)
        files.append(names(folder))
    return Run(recipe, folder, events, files)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(small_recipe(steps=15, preview_every=6), tmp_path_factory.mktemp("exact"))


@pytest.fixture(scope="module")
def tiny_settings() -> dict[str, Any]:
    # Random weights lead nowhere, so a few steps at a small rate leave the start blob: there is a surface to draw.
    return {"steps": 3, "render_size": [(0.0, 16)], "samples_per_ray": 24, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def network(
    tiny_stable_diffusion: Callable[[str], Path],
    tiny_settings: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    model = str(tiny_stable_diffusion("epsilon"))
    dressed = {"shading": "lambert", "regularizers": {"orientation": [(0.0, 0.1)]}}
    recipe = small_recipe(model, "a yellow duck", "nfsd", preview_every=2, **tiny_settings, **dressed)
    return run(recipe, tmp_path_factory.mktemp("network"))


@pytest.fixture(params=["exact", "network"])
def any_run(request: pytest.FixtureRequest) -> Run:
    return request.getfixturevalue(request.param)


def test_events_come_in_the_order_of_the_work(any_run: Run) -> None:
    measured = ["start"] if any_run.recipe.prior == "exact" else []  # where there is a truth, the start is scored too
    assert [phase.name for phase in any_run.of(PhaseStarted)] == ["views", *measured, "optimise", "mesh", "score"]
    # A phase of the export moves the job's state on, and nothing moves it back.
    names = [phase.name for phase in any_run.of(PhaseStarted)]
    assert EXPORT_PHASES.isdisjoint(names[: names.index("optimise") + 1])
    assert isinstance(any_run.events[0], PhaseStarted)
    assert isinstance(any_run.events[-1], Finished)
    assert len(any_run.of(Finished)) == 1
    phase = ""
    for event in any_run.events:
        if isinstance(event, PhaseStarted):
            phase = event.name
        elif isinstance(event, WorkerProgress):
            assert event.progress.phase == phase
        elif isinstance(event, PreviewReady):
            assert phase == "optimise"
        elif isinstance(event, ArtifactWritten):
            assert phase == "score"


def test_progress_only_grows_and_ends_at_the_last_step(any_run: Run) -> None:
    steps = any_run.recipe.settings.steps
    progress = [event.progress for event in any_run.of(WorkerProgress)]
    for phase in ("views", "optimise", "mesh"):
        done = [p.step for p in progress if p.phase == phase]
        assert done == sorted(done)
        assert all(0 <= p.step <= p.steps for p in progress if p.phase == phase)
    seconds = [p.seconds for p in progress]
    assert seconds == sorted(seconds)
    optimising = [p for p in progress if p.phase == "optimise"]
    assert (optimising[-1].step, optimising[-1].steps) == (steps, steps)
    assert optimising[-1].seconds_left == 0.0
    assert all(math.isfinite(p.loss) and p.loss > 0 for p in optimising)
    evaluations = [p.prior_evaluations for p in optimising]
    assert evaluations == sorted(evaluations)
    assert evaluations[-1] == any_run.metrics["prior_evaluations"]


def test_the_first_preview_shows_the_start_and_the_last_the_end(any_run: Run) -> None:
    previews = any_run.of(PreviewReady)
    steps, every = any_run.recipe.settings.steps, any_run.recipe.settings.preview_every
    assert [p.step for p in previews] == sorted({0, *range(every, steps + 1, every), steps})
    for preview in previews:
        assert preview.image.shape == (PREVIEW_SIZE, PREVIEW_SIZE, 3)
        assert preview.image.dtype == np.uint8
    assert not np.array_equal(previews[0].image, previews[-1].image)


def test_files_exist_whole_when_they_are_announced(any_run: Run) -> None:
    announced: list[str] = []
    for event, files in zip(any_run.events, any_run.files, strict=True):
        if isinstance(event, ArtifactWritten):
            announced.append(event.name)
        assert files == set(announced)
    assert announced == ARTIFACTS
    artifacts = any_run.folder / "artifacts"
    assert mesh_digest(read_mesh_arrays(artifacts / "mesh.npz")) == any_run.metrics["mesh_digest"]
    with Image.open(artifacts / "preview.png") as picture:
        assert np.array_equal(np.asarray(picture), any_run.of(PreviewReady)[-1].image)
    # The same pixels undecoded, for lists of jobs.
    thumbnail = np.load(artifacts / "thumbnail.npy", allow_pickle=False)
    assert np.array_equal(thumbnail, any_run.of(PreviewReady)[-1].image)


def test_the_recipe_beside_the_result_is_the_recipe(any_run: Run) -> None:
    text = (any_run.folder / "artifacts" / "recipe.json").read_text(encoding="utf-8")
    assert recipe_to_json(recipe_from_json(text)) == recipe_to_json(any_run.recipe)
    # It can be submitted again as it stands.
    assert recipe_to_json(recipes.complete(recipe_from_json(text))) == recipe_to_json(any_run.recipe)


def test_metrics_are_finite_plain_data_in_the_event_and_in_the_file(any_run: Run) -> None:
    text = json.dumps(any_run.metrics, allow_nan=False)
    assert json.loads((any_run.folder / "artifacts" / "metrics.json").read_text()) == json.loads(text)


def test_a_known_prompt_is_scored_beside_its_start_blob(exact: Run) -> None:
    assert set(exact.metrics) == ALWAYS | AGAINST_TRUTH
    assert set(exact.metrics["start"]) == AGAINST_TRUTH
    assert exact.metrics["steps"] == 15
    assert exact.metrics["prior_evaluations"] == 30
    for name in ("iou", "silhouette_iou"):
        assert 0.0 < exact.metrics[name] <= 1.0
    assert 0.0 <= exact.metrics["fronts"] <= 8.0
    # A cube of side 0.697: the volume is exact up to the grid that it is counted on.
    assert exact.metrics["true_volume"] == exact.metrics["start"]["true_volume"]
    assert exact.metrics["colour_error"] < exact.metrics["start"]["colour_error"]


def test_a_network_has_no_truth_to_be_compared_with(network: Run) -> None:
    assert set(network.metrics) == ALWAYS
    assert network.metrics["start"] == {}
    assert network.metrics["steps"] == 3
    assert network.metrics["faces"] > 0


def test_the_glb_is_textured_and_passes_the_khronos_validator(any_run: Run, gltf_issues: Callable[..., Any]) -> None:
    path = any_run.folder / "artifacts" / "mesh.glb"
    found = gltf_issues(path)[str(path)]
    assert (found["errors"], found["warnings"]) == (0, 0), found
    assert b'"baseColorTexture"' in path.read_bytes()


def test_the_same_recipe_gives_the_same_mesh(exact: Run, tmp_path: Path) -> None:
    # Without previews on the way, which do not belong to what determines the mesh.
    again = run(small_recipe(steps=15, preview_every=10_000), tmp_path)
    assert again.metrics["mesh_digest"] == exact.metrics["mesh_digest"]
    compared = AGAINST_TRUTH | {"density_level", "volume", "start"}
    assert {name: again.metrics[name] for name in compared} == {name: exact.metrics[name] for name in compared}


@pytest.mark.parametrize("last", ["optimise", "mesh", "mesh.npz", "recipe.json"])
def test_a_job_that_is_cancelled_leaves_whole_files_only(
    last: str, tiny_stable_diffusion: Callable[[str], Path], tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    recipe = small_recipe(str(tiny_stable_diffusion("epsilon")), "a yellow duck", **tiny_settings)
    events = worker.run(recipe, tmp_path)
    announced = set()
    for event in events:
        if isinstance(event, ArtifactWritten):
            announced.add(event.name)
            if event.name == last:
                break
        if isinstance(event, WorkerProgress) and event.progress.phase == last:
            break
    events.close()
    assert names(tmp_path) == announced
    assert list(events) == []


def refusal(recipe: Recipe, folder: Path) -> LimbeckError:
    with pytest.raises(LimbeckError) as caught:
        run(recipe, folder)
    assert names(folder) == set()
    assert not caught.value.message[0].islower()
    assert caught.value.message.endswith(".")
    return caught.value


def test_a_level_that_nothing_reaches_is_no_surface(
    tiny_stable_diffusion: Callable[[str], Path], tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    model = str(tiny_stable_diffusion("epsilon"))
    error = refusal(small_recipe(model, "a duck", density_level=1e6, **tiny_settings), tmp_path)
    assert error.code == ErrorCode.NO_SURFACE
    assert "density" in error.message


def test_a_model_that_is_not_here_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    # The library reads its environment once, when it is imported; most likely that was before this test.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty" / "hub"))
    error = refusal(small_recipe("stable-diffusion", "anything at all"), tmp_path)
    assert error.code == ErrorCode.MODEL_NOT_FOUND
    assert error.remedy.field == "recipe.prior"
    assert "hf download" in error.message


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refusal(small_recipe(device="cuda:99"), tmp_path)
    assert error.code == ErrorCode.DEVICE_UNAVAILABLE
    assert "'cuda:99'" in error.message


def test_a_prompt_too_long_for_the_network_is_refused_by_its_field(
    tiny_stable_diffusion: Callable[[str], Path], tmp_path: Path
) -> None:
    error = refusal(small_recipe(str(tiny_stable_diffusion("epsilon")), "duck " * 90), tmp_path)
    assert error.remedy.field == "recipe.prompt"
    assert "shorten" in error.message


def test_a_network_that_answers_nonsense_is_a_diverged_run(
    tiny_stable_diffusion: Callable[[str], Path], tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_stable_diffusion("epsilon"), tmp_path / "model")
    weights = load_file(model / "unet" / "diffusion_pytorch_model.safetensors")
    weights["conv_out.bias"].fill_(float("nan"))
    save_file(weights, model / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    error = refusal(small_recipe(str(model), "a duck", **tiny_settings), tmp_path / "job")
    assert error.code == ErrorCode.NUMERIC_DIVERGED
    assert "the prior's answer" in error.message


def test_a_scene_lost_in_its_very_last_step_is_a_diverged_run(
    tiny_stable_diffusion: Callable[[str], Path],
    tiny_settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole_step = Trainer.step

    def step(trainer: Trainer) -> StepReport:
        report = whole_step(trainer)
        if trainer.steps_done == trainer.settings.steps:
            with torch.no_grad():
                trainer.field.grid.values[10:12].fill_(float("nan"))
        return report

    monkeypatch.setattr(Trainer, "step", step)
    error = refusal(small_recipe(str(tiny_stable_diffusion("epsilon")), "a duck", **tiny_settings), tmp_path)
    assert error.code == ErrorCode.NUMERIC_DIVERGED


def test_a_run_at_an_absurd_rate_ends_in_a_mesh_or_in_an_error_with_a_remedy(
    tiny_stable_diffusion: Callable[[str], Path], tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    absurd = tiny_settings | {"learning_rate": 10.0, "guidance_scale": 1000.0, "steps": 10}
    recipe = small_recipe(str(tiny_stable_diffusion("v_prediction")), "a duck", **absurd)
    code, metrics = None, {}
    try:
        metrics = run(recipe, tmp_path).metrics
    except LimbeckError as error:
        code = error.code
    assert code in (None, ErrorCode.NUMERIC_DIVERGED, ErrorCode.NO_SURFACE)
    assert names(tmp_path) == (set(ARTIFACTS) if metrics else set())
    json.dumps(metrics, allow_nan=False)
