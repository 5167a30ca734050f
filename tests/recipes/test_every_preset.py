"""Every preset completes for its loss and kind of prior, means one thing, and is refused to all others."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import (
    Cameras,
    Image,
    Orbit,
    Recipe,
    Rig,
    Settings,
    Start,
    recipe_from_json,
    recipe_to_json,
)
from limbeck_server import presets, recipes
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.presets.images import GENERATOR_OF
from msgspec import UNSET

EVERY_PRESET = sorted(presets.PRESETS)
PROMPT = "a red cube"


def model_of(kind: str) -> str:
    return "owner/name" if kind == presets.STABLE_DIFFUSION else kind


def recipe_of(preset: str, loss: str, kind: str, **more: Any) -> Recipe:
    """A recipe of a preset, for what it makes; losses that edit something are given what they edit."""
    start = (
        Start(job_id="01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt="a blue cube") if "reference" in LOSSES[loss].needs else UNSET
    )
    image = UNSET if presets.makes(preset) == "object" else Image(generator=GENERATOR_OF[preset])
    return Recipe(prompt=PROMPT, preset=preset, loss=loss, prior=model_of(kind), start=start, image=image, **more)


@pytest.mark.parametrize(("preset", "loss", "kind"), EVERY_PRESET)
def test_every_preset_completes_and_leaves_nothing_unset(preset: str, loss: str, kind: str) -> None:
    recipe = recipes.complete(recipe_of(preset, loss, kind))
    for name in recipe.settings.__struct_fields__:
        assert getattr(recipe.settings, name) is not UNSET, name
    assert set(recipe.settings.loss_parameters) == {p.name for p in LOSSES[loss].parameters}
    of_preset = presets.PRESETS[preset, loss, kind].threads
    assert recipe.settings.threads == (recipes.default_threads() if of_preset is UNSET else of_preset)
    assert (recipe.prompt, recipe.preset, recipe.loss, recipe.prior) == (PROMPT, preset, loss, model_of(kind))


@pytest.mark.parametrize(("preset", "loss", "kind"), EVERY_PRESET)
def test_every_preset_is_consistent(preset: str, loss: str, kind: str) -> None:
    settings = presets.PRESETS[preset, loss, kind]
    assert set(settings.regularizers) <= set(recipes.REGULARIZERS)
    # Total variation is of voxels only: a preset that named it beside a hash grid would promise what does not happen.
    assert settings.field == "voxels" or "total_variation" not in settings.regularizers
    schedules = [settings.timestep_max, settings.render_size, *settings.regularizers.values()]
    for points in schedules:
        shares = [share for share, _ in points]
        assert shares == sorted(shares)
        assert shares[0] == 0.0
    # Equal where a loss begins its own trajectories from one level (MSD).
    assert all(value >= settings.timestep_min for _, value in settings.timestep_max)
    # The types' own ranges, which Python does not look at.
    msgspec.convert(msgspec.to_builtins(settings), Settings, strict=False)


def test_quick_and_standard_come_together_and_every_loss_has_them_for_some_prior() -> None:
    made = {name: {key[1:] for key in presets.PRESETS if key[0] == name} for name in recipes.preset_names()}
    assert made["quick"] == made["standard"] == set().union(*made.values())
    assert {loss for loss, _ in made["quick"]} == set(LOSSES)
    # The losses of the papers have them wherever they can work: VSD needs a network.
    losses = ("sds", "nfsd", "csd", "msd", "sdi", "ism", "vsd", "dds")
    assert made["quick"] >= set(itertools.product(losses, recipes.PRIORS)) - {("vsd", presets.EXACT)}
    assert set(presets.PRESET_DESCRIPTIONS) == set(recipes.preset_names())
    assert recipes.preset_names()[:2] == ["quick", "standard"]


@pytest.mark.parametrize("preset", ["quick", "standard", "prolificdreamer"])
def test_a_loss_without_presets_for_the_prior_says_itself_why(preset: str) -> None:
    with pytest.raises(LimbeckError, match=r"has no network.*Choose sds") as caught:
        recipes.complete(Recipe(prompt=PROMPT, loss="vsd", preset=preset))
    assert caught.value.code is ErrorCode.INVALID_FIELD
    assert caught.value.remedy.field == "recipe.loss"


def test_a_published_preset_belongs_to_its_loss_and_prior() -> None:
    for changes, known in (
        ({"loss": "nfsd", "prior": "owner/name"}, "quick, standard, nfsd"),
        ({"loss": "sds", "prior": "exact"}, "quick, standard"),
    ):
        with pytest.raises(LimbeckError) as caught:
            recipes.complete(Recipe(prompt=PROMPT, preset="dreamfusion", **changes))
        assert caught.value.code is ErrorCode.UNKNOWN_PRESET
        assert caught.value.message.endswith(f"there are: {known}.")


def test_a_preset_that_is_not_made_for_the_loss_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    turbo = presets.PRESETS["quick", "sds", presets.EXACT]
    monkeypatch.setitem(presets.PRESETS, ("turbo", "sds", presets.EXACT), turbo)
    assert recipes.complete(Recipe(prompt=PROMPT, preset="turbo", loss="sds")).settings.steps == turbo.steps
    with pytest.raises(LimbeckError, match=r"not made for the loss 'nfsd'.*there are: quick, standard") as caught:
        recipes.complete(Recipe(prompt=PROMPT, preset="turbo", loss="nfsd"))
    assert caught.value.code is ErrorCode.UNKNOWN_PRESET
    assert caught.value.remedy.field == "recipe.preset"


@pytest.mark.parametrize(("preset", "loss", "kind"), EVERY_PRESET)
def test_completing_twice_changes_nothing(preset: str, loss: str, kind: str) -> None:
    matrices = np.eye(4, dtype=np.float32)[None]
    lens, weight = np.array([[1.3, 0.0, 0.0]], np.float32), np.ones(1, np.float32)
    camera = Cameras(camera_to_world=matrices, lens=lens, weight=weight, prompt_suffix=[", back view"])
    rig = Rig(orbit=Orbit(), cameras=camera)
    once = recipes.complete(recipe_of(preset, loss, kind, rig=rig))
    twice = recipes.complete(once)
    assert recipe_to_json(twice) == recipe_to_json(once)
    # Also by way of the file that lies beside every result.
    assert recipe_to_json(recipes.complete(recipe_from_json(recipe_to_json(once)))) == recipe_to_json(once)


def test_what_the_catalog_shows_of_a_preset_can_be_sent_back() -> None:
    for info in recipes.catalog().presets:
        settings = msgspec.convert(info.settings, Settings, strict=False)
        recipe = recipe_of(info.name, info.loss, info.prior)
        explicit = msgspec.structs.replace(recipe, settings=settings)
        assert recipes.complete(explicit) == recipes.complete(recipe)
