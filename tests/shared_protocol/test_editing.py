"""The recipe of an edit, and which jobs can be started from."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from limbeck_protocol.editing import check_start, edit_recipe
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import JobState
from limbeck_protocol.messages import Artifact, JobInfo, Welcome
from limbeck_protocol.recipe import (
    FIELD_FILE,
    Image,
    Orbit,
    Recipe,
    Rig,
    Settings,
    Start,
    recipe_from_json,
    recipe_to_json,
)

JOB = "01JD4ZK7Q5R8M2N3P4S5T6V7W8"
MADE_BY = Recipe(
    prompt="a red mug",
    negative_prompt="",
    preset="quick",
    seed=5,
    rig=Rig(orbit=Orbit(elevation_deg=(0.0, 30.0))),
    settings=Settings(steps=300, learning_rate=0.05, field="voxels", texture_size=512, density_level=None, threads=1),
    versions={"torch": "2"},
)


def job(
    state: JobState = JobState.SUCCEEDED, files: tuple[str, ...] = (FIELD_FILE,), recipe: Recipe = MADE_BY
) -> JobInfo:
    artifacts = [Artifact(name=name, size_bytes=1, digest="", media_type="") for name in files]
    return JobInfo(job_id=JOB, state=state, recipe=recipe, created=0.0, artifacts=artifacts)


def test_an_edit_keeps_where_from_and_what_the_mesh_is_like_and_leaves_the_rest_to_the_preset() -> None:
    recipe = edit_recipe(job(), "a blue mug")
    assert recipe == msgspec.structs.replace(
        MADE_BY,
        prompt="a blue mug",
        loss="dds",
        settings=Settings(texture_size=512, density_level=None, threads=1),
        start=Start(job_id=JOB, prompt="a red mug"),
        versions={},
    )


def test_changes_go_before_all_else() -> None:
    recipe = edit_recipe(job(), "a duck", loss="sds", seed=9, settings=Settings(steps=10, texture_size=64))
    assert (recipe.loss, recipe.seed) == ("sds", 9)
    assert recipe.settings == Settings(steps=10, texture_size=64, density_level=None, threads=1)
    assert edit_recipe(job(), "a duck", start=Start(job_id=JOB, prompt="a cup")).start == Start(
        job_id=JOB, prompt="a cup"
    )


@pytest.mark.parametrize(
    ("made_with", "edited_with"),
    [("quick", "quick"), ("standard", "standard"), ("dreamfusion", "standard"), ("nfsd", "standard")],
)
def test_a_preset_that_is_for_one_loss_is_not_kept(made_with: str, edited_with: str) -> None:
    made = job(recipe=msgspec.structs.replace(MADE_BY, preset=made_with))
    assert edit_recipe(made, "a blue mug").preset == edited_with
    assert edit_recipe(made, "a blue mug", preset="dds").preset == "dds"


def test_a_server_that_knows_no_starts_is_the_reason_and_not_the_job() -> None:
    made = job(files=("mesh.glb",))
    older = Welcome(major=1, minor=1, server="limbeck-server 0.2", store_id="s", boot_id="b", limits={})
    with pytest.raises(LimbeckError) as caught:
        edit_recipe(made, "a blue mug", welcome=older)
    assert "This server (limbeck-server 0.2, protocol 1.1) is older than the recipe" in caught.value.message
    assert "start it again" in caught.value.remedy.label
    with pytest.raises(LimbeckError, match="an older release made it"):
        edit_recipe(made, "a blue mug", welcome=msgspec.structs.replace(older, minor=2))


def test_an_edit_of_an_edit_starts_from_the_second() -> None:
    first = edit_recipe(job(), "a blue mug")
    second = edit_recipe(job(recipe=first), "a green mug")
    assert second.start == Start(job_id=JOB, prompt="a blue mug")


def test_a_start_survives_json_and_none_is_left_out() -> None:
    recipe = edit_recipe(job(), "a blue mug")
    assert recipe_from_json(recipe_to_json(recipe)) == recipe
    # What was written before there were starts is written in the same bytes today, so digests stay.
    assert "start" not in json.loads(recipe_to_json(MADE_BY))
    assert not recipe_from_json(recipe_to_json(MADE_BY)).start


UNFIT: dict[str, tuple[dict[str, Any], ErrorCode, str]] = {
    "queued": ({"state": JobState.QUEUED}, ErrorCode.BAD_STATE, "still queued"),
    "running": ({"state": JobState.RUNNING}, ErrorCode.BAD_STATE, "still running"),
    "failed": ({"state": JobState.FAILED}, ErrorCode.BAD_STATE, "failed and left no result"),
    "cancelled": ({"state": JobState.CANCELLED}, ErrorCode.BAD_STATE, "was cancelled and left no result"),
    "a picture": (
        {"files": ("image.png",), "recipe": Recipe(prompt="a red mug", image=Image())},
        ErrorCode.BAD_STATE,
        "makes a picture, which has no field",
    ),
    "without its field": ({"files": ("mesh.glb",)}, ErrorCode.ARTIFACT_NOT_FOUND, "an older release made it"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_job_that_cannot_be_started_from_is_a_sentence_with_the_field(name: str) -> None:
    arguments, code, words = UNFIT[name]
    for act in (check_start, lambda unfit: edit_recipe(unfit, "a blue mug")):
        with pytest.raises(LimbeckError) as caught:
            act(job(**arguments))
        assert caught.value.code == code
        assert words in caught.value.message
        assert JOB in caught.value.message
        assert caught.value.remedy.field == "recipe.start.job_id"


def test_an_edit_makes_no_picture() -> None:
    with pytest.raises(LimbeckError, match="a picture begins with nothing") as caught:
        edit_recipe(job(), "a blue mug", image=Image())
    assert caught.value.remedy.field == "recipe.start"


def test_an_image_survives_json_and_none_is_left_out() -> None:
    recipe = Recipe(prompt="a red mug", image=Image(generator="pixels"))
    assert recipe_from_json(recipe_to_json(recipe)) == recipe
    assert "image" not in json.loads(recipe_to_json(MADE_BY))
    assert not recipe_from_json(recipe_to_json(MADE_BY)).image


@pytest.mark.parametrize("prompt", ["", "   ", "a\nmug"])
def test_an_edit_to_nothing_is_refused(prompt: str) -> None:
    with pytest.raises(LimbeckError) as caught:
        edit_recipe(job(), prompt)
    assert caught.value.remedy.field == "recipe.prompt"
