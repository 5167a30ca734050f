"""Recipes that begin with a finished job: which losses need one, what they say of it, what the trainer is told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import Recipe, Settings, Start, recipe_from_json, recipe_to_json
from limbeck_server import assembly, recipes
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.scene.field import FieldSettings, build_field

RED_MUG = Start(job_id="01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt="a red mug")


class Words:
    """What `trainer_settings` asks a prior."""

    default_negative_prompt = "degraded"


def completed(loss: str = "dds", start: Start = RED_MUG, **settings: Any) -> Recipe:
    recipe = Recipe(prompt="a blue mug", loss=loss, preset="quick", start=start, settings=Settings(**settings))
    return recipes.complete(recipe)


@pytest.mark.parametrize("loss", [name for name in LOSSES if "particle" not in LOSSES[name].needs])
def test_every_loss_may_begin_with_a_finished_job(loss: str) -> None:
    recipe = completed(loss)
    assert recipe.start == RED_MUG
    assert recipe_to_json(recipes.complete(recipe_from_json(recipe_to_json(recipe)))) == recipe_to_json(recipe)
    assert assembly.trainer_settings(recipe, Words()).start_prompt == "a red mug"  # type: ignore[arg-type]


def test_a_loss_that_edits_needs_something_to_edit() -> None:
    with pytest.raises(LimbeckError) as caught:
        recipes.complete(Recipe(prompt="a blue mug", loss="dds", preset="quick"))
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.remedy.field == "recipe.start"
    assert "edits something that exists" in caught.value.message
    assert "limbeck edit JOB 'a blue mug'" in caught.value.remedy.label


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        ("a red gryphon", ErrorCode.UNKNOWN_WORD, "gryphon"),
        ("a red mug, front view", ErrorCode.INVALID_FIELD, "from where"),
        ("a red duck mug", ErrorCode.INVALID_FIELD, "duck"),
    ],
)
def test_what_the_start_was_made_of_is_checked_like_a_prompt(prompt: str, code: ErrorCode, words: str) -> None:
    with pytest.raises(LimbeckError, match=words) as caught:
        completed(start=Start(job_id=RED_MUG.job_id, prompt=prompt))
    assert (caught.value.code, caught.value.remedy.field) == (code, "recipe.start.prompt")


def test_without_a_start_the_trainer_hears_of_none() -> None:
    recipe = recipes.complete(Recipe(prompt="a blue mug", preset="quick"))
    assert assembly.trainer_settings(recipe, Words()).start_prompt == ""  # type: ignore[arg-type]


def test_the_field_that_a_run_starts_from_is_the_one_it_goes_on_with() -> None:
    own = FieldSettings(kind="hash_grid", resolution=32, bound=0.8, hash_levels=2, hash_log2_table_size=8)
    start = build_field(own, "cpu", torch.Generator())
    settings = assembly.trainer_settings(completed(), Words(), start)  # type: ignore[arg-type]
    assert settings.scene == own
    # Total variation is of voxels only, whatever the recipe's preset says.
    assert "total_variation" not in settings.regularizers


@pytest.mark.parametrize(("pace", "scale"), [(1.0, None), (0.1, 1.0), (2.0, 20.0)])
def test_density_learns_at_the_recipes_pace(pace: float, scale: float | None) -> None:
    settings = assembly.trainer_settings(completed("sds", density_pace=pace), Words())  # type: ignore[arg-type]
    assert settings.scene.density_scale == (None if scale is None else pytest.approx(scale))
