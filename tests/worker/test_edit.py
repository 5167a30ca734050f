"""Jobs that begin with another job's field, and edits by DDS, in one process with the exact prior."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_protocol.editing import edit_recipe
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import JobState
from limbeck_protocol.messages import Artifact, Finished, JobInfo, PhaseStarted, WorkerProgress
from limbeck_protocol.recipe import FIELD_FILE, Recipe, Settings, Start
from limbeck_server import recipes, results, worker
from limbeck_server.scene.field_file import load_field
from limbeck_server.starts import hue_error_deg, read_field
from safetensors.torch import save_file

JOB = "job-0001"
SMALL: dict[str, Any] = {
    "mesh_resolution": 32,
    "texture_size": 64,
    "face_budget": 500,
    "threads": 1,
    "device": "cpu",
    "preview_every": 10_000,
}


@dataclass(frozen=True)
class Made:
    """What came of a job."""

    recipe: Recipe
    folder: Path
    metrics: dict[str, Any]
    bytes_of_field: bytes
    """As they were when the job ended."""

    @property
    def field_path(self) -> Path:
        return self.folder / "artifacts" / FIELD_FILE

    @property
    def job(self) -> JobInfo:
        artifact = Artifact(name=FIELD_FILE, size_bytes=1, digest="", media_type="")
        return JobInfo(
            job_id=self.folder.name, state=JobState.SUCCEEDED, recipe=self.recipe, created=0.0, artifacts=[artifact]
        )


def run(recipe: Recipe, folder: Path) -> Made:
    (finished,) = (event for event in worker.run(recipe, folder) if isinstance(event, Finished))
    return Made(recipe, folder, finished.metrics, (folder / "artifacts" / FIELD_FILE).read_bytes())


@pytest.fixture(scope="module")
def red(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A red sphere, small and quick."""
    settings = Settings(**(SMALL | {"field_resolution": 24, "steps": 60}))
    recipe = recipes.complete(Recipe(prompt="a red sphere", preset="quick", settings=settings))
    return run(recipe, tmp_path_factory.mktemp("jobs") / JOB)


def edited(made: Made, name: str, prompt: str, **changes: Any) -> Made:
    """What an edit makes of it. As the server does, the field's kind and resolution are taken over."""
    settings = {"steps": 60, "field": "voxels", "field_resolution": 24} | changes.pop("settings", {})
    recipe = recipes.complete(edit_recipe(made.job, prompt, settings=Settings(**settings), **changes))
    return run(recipe, made.folder.parent / name)


def test_every_job_leaves_its_field(red: Made) -> None:
    field = load_field(red.field_path)
    assert (field.settings.kind, field.settings.resolution) == ("voxels", 24)
    grid = field.grid.values  # type: ignore[union-attr]
    assert float(grid.detach().std()) > 0.1


@pytest.fixture(scope="module")
def blue(red: Made) -> Made:
    return edited(red, "job-blue", "a blue sphere")


def test_an_edit_changes_what_the_prompt_changes_and_keeps_the_rest(blue: Made, red: Made) -> None:
    assert blue.recipe.start == Start(job_id=JOB, prompt="a red sphere")
    assert blue.metrics["hue_error_deg"] <= 15.0
    assert blue.metrics["iou_with_start"] >= 0.85
    assert blue.metrics["prior_evaluations"] == 4 * 60
    assert blue.metrics["start"]["colour_error"] > blue.metrics["colour_error"]


def test_an_edit_changes_nothing_in_the_job_that_it_starts_from(blue: Made, red: Made) -> None:
    assert red.field_path.read_bytes() == red.bytes_of_field
    assert blue.field_path.read_bytes() != red.bytes_of_field


def test_an_edit_to_the_same_prompt_changes_nothing(red: Made) -> None:
    """With the preset's own regularisers, and a mesh that is cut otherwise than the start's was."""
    same = edited(red, "job-same", "a red sphere", settings={"steps": 10, "mesh_resolution": 48})
    assert same.metrics["iou_with_start"] == 1.0
    assert same.metrics["hue_error_deg"] <= 15.0
    before, after = (load_field(made.field_path) for made in (red, same))
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.7
    with torch.no_grad():
        (density, colour), (new_density, new_colour) = (f.density_and_colour(points) for f in (before, after))
    assert torch.equal(colour, new_colour)
    # Another pace stores the same density in other units.
    torch.testing.assert_close(density, new_density, rtol=1e-4, atol=1e-4)


def test_the_start_is_measured_in_a_phase_of_its_own_that_tells_how_far_it_is(red: Made) -> None:
    settings = Settings(steps=2, field="voxels", field_resolution=24)
    recipe = recipes.complete(edit_recipe(red.job, "a blue sphere", settings=settings))
    events = list(worker.run(recipe, red.folder.parent / "job-told"))
    phases = [event.title for event in events if isinstance(event, PhaseStarted)]
    assert phases[:2] == ["Preparing the prior", "Measuring what it starts from"]
    titles = [event.title if isinstance(event, PhaseStarted) else "" for event in events]
    first, last = titles.index("Measuring what it starts from"), titles.index("Distilling with dds")
    told = [event.progress for event in events[first:last] if isinstance(event, WorkerProgress)]
    assert told
    assert all(progress.phase == "start" and 0 <= progress.step <= progress.steps == 1000 for progress in told)
    assert [progress.step for progress in told] == sorted(progress.step for progress in told)


def test_how_much_is_kept_is_measured_alike_however_finely_the_mesh_is_cut(
    red: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[int] = []
    real = results.find_surface

    def noted(density: Any, views: Any, settings: Any, progress: Any = None) -> Any:
        cuts.append(settings.resolution)
        return real(density, views, settings, progress)

    monkeypatch.setattr(results, "find_surface", noted)
    edited(red, "job-cut", "a blue sphere", settings={"steps": 2, "mesh_resolution": 96})
    # Volume and score of the start; the mesh itself; volume of the result.
    assert cuts == [64, 64, 96, 64]


def test_another_loss_just_begins_there(red: Made) -> None:
    further = edited(red, "job-further", "a red sphere", loss="sds", settings={"steps": 5})
    assert further.metrics["start"]["iou"] > 0.5  # a sphere already, not the ball of the beginning
    assert further.metrics["iou_with_start"] > 0.7


def test_jobs_without_a_start_have_no_metrics_of_one(red: Made) -> None:
    assert not {"iou_with_start", "hue_error_deg"} & set(red.metrics)


def gone(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (gone, ErrorCode.ARTIFACT_NOT_FOUND, "not there any more"),
        (cut_short, ErrorCode.CANNOT_READ, "damaged"),
        (foreign, ErrorCode.CANNOT_READ, "something else"),
    ],
)
def test_a_field_that_cannot_be_used_ends_the_job_with_a_sentence(
    spoil: Any, code: ErrorCode, words: str, red: Made, tmp_path: Path
) -> None:
    shutil.copytree(red.folder, tmp_path / JOB)
    spoil(tmp_path / JOB / "artifacts" / FIELD_FILE)
    recipe = recipes.complete(edit_recipe(red.job, "a blue sphere", settings=Settings(steps=5, field_resolution=24)))
    with pytest.raises(LimbeckError, match=words) as caught:
        list(worker.run(recipe, tmp_path / "job-0002"))
    assert caught.value.code == code
    assert caught.value.remedy.field == "recipe.start.job_id"
    assert str(tmp_path) not in str(caught.value)


def test_a_recipe_without_a_start_reads_nothing(tmp_path: Path) -> None:
    recipe = recipes.complete(Recipe(prompt="a red cube", preset="quick"))
    assert read_field(recipe, tmp_path / "nowhere", torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("colour", "wanted", "error"),
    [
        ((1.0, 0.0, 0.0), (0.5, 0.0, 0.0), 0.0),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), 120.0),
        ((1.0, 0.0, 1.0), (1.0, 1.0, 0.0), 120.0),
        ((1.0, 0.0, 0.1), (1.0, 0.1, 0.0), 12.0),
        ((0.0, 1.0, 1.0), (1.0, 0.0, 0.0), 180.0),
    ],
)
def test_hues_are_compared_around_the_colour_wheel(
    colour: tuple[float, float, float], wanted: tuple[float, float, float], error: float
) -> None:
    assert hue_error_deg(colour, wanted) == pytest.approx(error, abs=1e-9)
    assert hue_error_deg(wanted, colour) == pytest.approx(error, abs=1e-9)
