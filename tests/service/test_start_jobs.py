"""Recipes that begin with another job's field: taken, or refused at once with a sentence and the field."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from limbeck_protocol.client import Client
from limbeck_protocol.editing import edit_recipe
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import JobState
from limbeck_protocol.recipe import FIELD_FILE, Image, Recipe, Settings, Start
from limbeck_server.service.artifacts import describe
from limbeck_server.service.job_store import JobStore, recipe_digest
from limbeck_server.service.start_jobs import with_start_field

JOB = "job-0001"
MADE_BY = Recipe(prompt="a red mug", settings=Settings(field="voxels", field_resolution=40, steps=300))


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    return tmp_path / "jobs"


@pytest.fixture
def store(tmp_path: Path, jobs: Path) -> Iterator[JobStore]:
    """Holds one job that has succeeded and left a field."""
    opened = JobStore(tmp_path / "jobs.sqlite3")
    opened.submit(JOB, recipe_digest(MADE_BY), MADE_BY)
    (jobs / JOB / "artifacts").mkdir(parents=True)
    (jobs / JOB / "artifacts" / FIELD_FILE).write_bytes(b"a field")
    opened.add_artifact(JOB, describe(jobs / JOB, FIELD_FILE, "application/octet-stream"))
    opened.move(JOB, JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.SUCCEEDED)
    yield opened
    opened.close()


def edit_of(job_id: str = JOB, **settings: Any) -> Recipe:
    start = Start(job_id=job_id, prompt="a red mug")
    return Recipe(prompt="a blue mug", loss="dds", start=start, settings=Settings(**settings))


def test_the_field_is_what_it_is_in_the_job_that_it_comes_from(store: JobStore, jobs: Path) -> None:
    recipe = with_start_field(edit_of(steps=7), store, jobs)
    assert recipe.settings == Settings(steps=7, field="voxels", field_resolution=40)
    same = edit_of(field="voxels", field_resolution=40)
    assert with_start_field(same, store, jobs) == same


def test_a_recipe_without_a_start_is_left_as_it_is(store: JobStore, jobs: Path) -> None:
    assert with_start_field(MADE_BY, store, jobs) is MADE_BY


def unfinished(store: JobStore, jobs: Path) -> Recipe:
    store.submit("job-0002", recipe_digest(MADE_BY), MADE_BY)
    return edit_of("job-0002")


def without_field(store: JobStore, jobs: Path) -> Recipe:
    store.submit("job-0003", recipe_digest(MADE_BY), MADE_BY)
    store.move("job-0003", JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.SUCCEEDED)
    return edit_of("job-0003")


def a_picture(store: JobStore, jobs: Path) -> Recipe:
    recipe = Recipe(prompt="a red mug", image=Image())
    store.submit("job-0004", recipe_digest(recipe), recipe)
    store.move("job-0004", JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.SUCCEEDED)
    return edit_of("job-0004")


def deleted(store: JobStore, jobs: Path) -> Recipe:
    (jobs / JOB / "artifacts" / FIELD_FILE).unlink()
    return edit_of()


def replaced_by_a_link(store: JobStore, jobs: Path) -> Recipe:
    file = jobs / JOB / "artifacts" / FIELD_FILE
    file.rename(file.with_name("elsewhere"))
    file.symlink_to(file.with_name("elsewhere"))
    return edit_of()


REFUSED: dict[str, tuple[Callable[[JobStore, Path], Recipe], ErrorCode, str, str]] = {
    "unknown job": (
        lambda store, jobs: edit_of("job-9999"),
        ErrorCode.JOB_NOT_FOUND,
        "no job job-9999",
        "recipe.start.job_id",
    ),
    "unfinished": (unfinished, ErrorCode.BAD_STATE, "still queued", "recipe.start.job_id"),
    "without field": (without_field, ErrorCode.ARTIFACT_NOT_FOUND, "an older release", "recipe.start.job_id"),
    "a picture": (a_picture, ErrorCode.BAD_STATE, "makes a picture", "recipe.start.job_id"),
    "deleted": (deleted, ErrorCode.ARTIFACT_NOT_FOUND, "is not there", "recipe.start.job_id"),
    "a link": (replaced_by_a_link, ErrorCode.ARTIFACT_NOT_FOUND, "is not there", "recipe.start.job_id"),
    "another kind": (
        lambda store, jobs: edit_of(field="hash_grid"),
        ErrorCode.INVALID_FIELD,
        "asks for field hash_grid, but job job-0001, which it starts from, has voxels",
        "recipe.settings.field",
    ),
    "another resolution": (
        lambda store, jobs: edit_of(field_resolution=56),
        ErrorCode.INVALID_FIELD,
        "asks for field_resolution 56, but job job-0001, which it starts from, has 40",
        "recipe.settings.field_resolution",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_started_from_is_refused_with_a_sentence(name: str, store: JobStore, jobs: Path) -> None:
    make, code, words, field = REFUSED[name]
    recipe = make(store, jobs)
    with pytest.raises(LimbeckError) as caught:
        with_start_field(recipe, store, jobs)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.remedy.field == field
    assert str(jobs) not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="the toy server's processes")
def test_a_job_starts_from_a_finished_one_over_the_wire(server: Any, client: Client, tools: Any) -> None:
    first = client.submit(tools.make_recipe("leave a field", steps=2))
    with pytest.raises(LimbeckError, match="still"):
        client.submit(Recipe(prompt="a blue mug", loss="dds", start=Start(job_id=first.job_id, prompt="a red mug")))
    first = client.follow(first.job_id, timeout_s=20)
    second = client.submit(edit_recipe(first, "another field", settings=Settings(steps=2)))
    assert second.recipe.start == Start(job_id=first.job_id, prompt="leave a field")
    ended = client.follow(second.job_id, timeout_s=20)
    assert ended.state == "succeeded"
    # What was acknowledged once is acknowledged again, also when what it started from is gone by now.
    (server.folder(first.job_id) / "artifacts" / FIELD_FILE).unlink()
    again = client.submit(edit_recipe(first, "another field", settings=Settings(steps=2)), second.job_id)
    assert again.job_id == second.job_id
    with pytest.raises(LimbeckError) as caught:
        client.submit(edit_recipe(first, "yet another field", settings=Settings(steps=2)))
    assert caught.value.code == ErrorCode.ARTIFACT_NOT_FOUND
