"""Recipes of the network prior: its own presets, the known world's words, and folders of the same kind."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import Recipe, Settings, Start
from limbeck_server import assembly, presets, recipes
from limbeck_server.cli.generate import absolute_folder
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.priors import kinds
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.scene.field import FieldSettings, build_field
from msgspec import UNSET

PROMPT = "a red cube"


def refused(**changes: object) -> LimbeckError:
    with pytest.raises(LimbeckError) as caught:
        recipes.complete(Recipe(**({"prompt": PROMPT, "preset": "quick"} | changes)))
    return caught.value


def test_the_catalog_offers_it_as_installed_with_the_worlds_words() -> None:
    exact, network = ({p.name: p for p in recipes.catalog().priors}[name] for name in ("exact", "network"))
    assert network.installed
    assert network.vocabulary == exact.vocabulary
    assert "ships with Limbeck" in network.title


def test_it_has_presets_for_every_loss_and_they_are_its_own() -> None:
    for loss in LOSSES:
        for name in ("quick", "standard"):
            settings = presets.PRESETS[name, loss, "network"]
            assert settings != presets.PRESETS.get((name, loss, "exact"))
            # 32 pixels are what it was trained on; 64 are averaged to them, block by block.
            assert settings.render_size == [(0.0, 32 if name == "quick" else 64)]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a red zeppelin"},
        {"prompt": "a duck and a car"},
        {"prompt": "a red cube, front view"},
        {"negative_prompt": "gloomy zeppelins"},
    ],
)
def test_words_are_refused_as_the_exact_prior_refuses_them(changes: dict[str, object]) -> None:
    exact, network = (refused(prior=prior, **changes) for prior in ("exact", "network"))
    assert (network.message, network.code, network.remedy.field) == (exact.message, exact.code, exact.remedy.field)


def test_it_renders_at_any_size_and_is_no_closed_form() -> None:
    recipe = recipes.complete(Recipe(prompt=PROMPT, prior="network", settings=Settings(render_size=[(0.0, 48)])))
    assert recipe.settings.render_size == [(0.0, 48)]
    assert recipes.complete(Recipe(prompt=PROMPT, prior="network", loss="vsd")).loss == "vsd"
    product = Settings(loss_parameters={"sampler": "product"})
    assert "splitting" in refused(prior="network", loss="msd", settings=product).message


# --- every preset runs ------------------------------------------------------------------------------------------------

CPU = torch.device("cpu")
SMALL = Settings(steps=2, render_size=[(0.0, 16)], field_resolution=16, samples_per_ray=16, threads=1)
KEYS = sorted(key for key in presets.PRESETS if key[2] == "network" and presets.makes(key[0]) == "object")


@pytest.fixture(scope="module")
def prior(tiny_pixel_model: Path) -> StableDiffusionPrior:
    return load_stable_diffusion(str(tiny_pixel_model), CPU, torch.float32)


@pytest.mark.parametrize("key", KEYS, ids="-".join)
def test_a_preset_runs_on_a_network_of_pixels(key: tuple[str, str, str], prior: StableDiffusionPrior) -> None:
    preset, loss, _ = key
    edits = "reference" in LOSSES[loss].needs
    began = Start(job_id="01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt="a blue cube") if edits else UNSET
    named = {"prompt": PROMPT, "prior": "network", "loss": loss, "preset": preset, "start": began}
    recipe = recipes.complete(Recipe(**named, settings=SMALL))
    start = build_field(FieldSettings(resolution=16), CPU, torch.Generator().manual_seed(1)) if edits else None
    trainer = Trainer(prior, assembly.camera_rig(recipe), assembly.trainer_settings(recipe, prior, start), start)
    before = [parameter.detach().clone() for parameter in trainer.field.parameters()]
    reports = [trainer.step() for _ in range(2)]
    assert all(math.isfinite(report.loss) and report.loss > 0.0 for report in reports)
    after = list(trainer.field.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in after)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_is_of_the_kind_that_its_card_names(tiny_pixel_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_pixel_model, tmp_path / "mine"))
    assert kinds.prior_kind(str(folder)) == "network"
    recipe = recipes.complete(Recipe(prompt=PROMPT, prior=str(folder), preset="quick"))
    assert recipe.settings.steps == presets.PRESETS["quick", "sds", "network"].steps
    assert refused(prior=str(folder), prompt="a zeppelin").code is ErrorCode.UNKNOWN_WORD
    card = json.loads((folder / kinds.CARD).read_text())
    for content in (json.dumps(card | {"language": "any-text"}), "[]", "{", '{"language": 1}'):
        (folder / kinds.CARD).write_text(content)
        assert kinds.prior_kind(str(folder)) == "stable-diffusion", content
    (folder / kinds.CARD).unlink()
    assert kinds.prior_kind(str(folder)) == "stable-diffusion"
    for name in ("owner/name", "nowhere", "stable-diffusion"):
        assert kinds.prior_kind(name) == "stable-diffusion"


def test_names_of_priors_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "network").mkdir()
    monkeypatch.chdir(tmp_path)
    assert absolute_folder("network") == "network"
    assert absolute_folder("./network") == str(tmp_path / "network")


def test_a_server_without_the_files_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "SHIPPED_NETWORK", tmp_path / "network")
    error = refused(prior="network")
    assert error.code is ErrorCode.MODEL_NOT_FOUND
    assert error.remedy.field == "recipe.prior"
    assert "Install the package limbeck-server again" in error.message
