"""A job may be edited whatever preset made it: the recipe of the edit names a preset that its loss has."""

from __future__ import annotations

import pytest
from limbeck_protocol.editing import EDIT_LOSS, edit_recipe
from limbeck_protocol.job_states import JobState
from limbeck_protocol.messages import Artifact, JobInfo
from limbeck_protocol.recipe import FIELD_FILE, Recipe
from limbeck_server import recipes
from limbeck_server.presets import PRESETS, makes

JOB = "01JD4ZK7Q5R8M2N3P4S5T6V7W8"


@pytest.mark.parametrize("key", [key for key in PRESETS if makes(key[0]) == "object"], ids="-".join)
def test_a_job_of_every_preset_can_be_edited(key: tuple[str, str, str]) -> None:
    preset, loss, prior = key
    made = Recipe(prompt="a red mug", loss=loss, prior=prior, preset=preset)
    field = Artifact(name=FIELD_FILE, size_bytes=1, digest="", media_type="")
    job = JobInfo(job_id=JOB, state=JobState.SUCCEEDED, recipe=made, created=0.0, artifacts=[field])
    recipe = recipes.complete(edit_recipe(job, "a blue mug"))
    assert (recipe.loss, recipe.prior) == (EDIT_LOSS, prior)
    assert recipe.preset == (preset if preset in ("quick", "standard") else "standard")
