"""What a particle model refuses, each with a sentence that says what to do."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.prior import ParticleError, ParticleSettings, PromptError
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from torch import Tensor

CPU = torch.device("cpu")
TEXTS = ["a yellow duck"] * 2
CAMERAS = torch.eye(4).repeat(2, 1, 1)


@pytest.fixture
def prior(tiny_stable_diffusion: Callable[[str], Path]) -> StableDiffusionPrior:
    return load_stable_diffusion(str(tiny_stable_diffusion("epsilon")), CPU, torch.float32)


@pytest.fixture
def latents() -> Tensor:
    return 0.5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_the_exact_prior_says_why_it_has_none(library: Callable[..., Any]) -> None:
    with pytest.raises(ParticleError, match=r"no network to adapt.*equals SDS draw by draw.*Choose another loss"):
        ExactPrior(library(5, 6, 0)).particle_model(ParticleSettings())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {
                "down_block_types": ("DownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "UpBlock2D"),
                "mid_block_type": "UNetMidBlock2D",
            },
            "LoRA on the attention layers of the prior's UNet, and this UNet has none .*Choose another loss",
        ),
        ({"num_class_embeds": 3}, "already conditioned on classes. Choose another loss"),
    ],
    ids=["no attention", "classes"],
)
def test_a_unet_that_cannot_be_adapted_is_refused(
    prior: StableDiffusionPrior,
    tiny_stable_diffusion: Callable[[str], Path],
    tmp_path: Path,
    config: dict[str, Any],
    message: str,
) -> None:
    source, folder = tiny_stable_diffusion("epsilon"), tmp_path / "model"
    shutil.copytree(source, folder)
    shutil.rmtree(folder / "unet")
    with torch.random.fork_rng():
        UNet2DConditionModel.from_config({**prior._networks.unet.config, **config}).save_pretrained(folder / "unet")
    changed = load_stable_diffusion(str(folder), CPU, torch.float32)
    with pytest.raises(ParticleError, match=message):
        changed.particle_model(ParticleSettings())


@pytest.mark.parametrize(
    ("texts", "cameras", "error", "message"),
    [
        (["a duck"], CAMERAS, ValueError, "one text for each of 2 views, but got 1"),
        (TEXTS, CAMERAS[:1], ValueError, r"camera poses \(2, 4, 4\), but got \(1, 4, 4\)"),
        (TEXTS, CAMERAS[:, :3], ValueError, r"camera poses \(2, 4, 4\), but got \(2, 3, 4\)"),
        (["a duck " * 100] * 2, CAMERAS, PromptError, "shorten the prompt"),
    ],
)
def test_what_does_not_fit_is_refused(
    prior: StableDiffusionPrior,
    latents: Tensor,
    texts: list[str],
    cameras: Tensor,
    error: type[ValueError],
    message: str,
) -> None:
    model = prior.particle_model(ParticleSettings())
    with pytest.raises(error, match=message):
        model.train_step(latents, texts, cameras, torch.Generator().manual_seed(0))
    with pytest.raises(error, match=message):
        model.predict_noise(latents, torch.tensor([30, 700]), texts, cameras)
    assert (model.evaluations, model.training_passes) == (0, 0)


def test_latents_that_are_not_numbers_do_it_no_harm(prior: StableDiffusionPrior, latents: Tensor) -> None:
    model = prior.particle_model(ParticleSettings())
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        model.train_step(latents, TEXTS, CAMERAS, generator)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(ParticleError, match=r"not finite at its update 3: .*Lower its learning rate"):
        model.train_step(torch.full_like(latents, math.nan), TEXTS, CAMERAS, generator)
    assert model.training_passes == 6
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank .* must be 1 or more, but is 0"),
        ({"learning_rate": 0.0}, "learning rate must be above 0, but is 0"),
        ({"learning_rate": math.nan}, "learning rate must be above 0, but is nan"),
        ({"camera_dropout": 1.5}, "a probability, 0 to 1, but is 1.5"),
        ({"warm_up_steps": -1}, "must not be negative, but are -1 and 0.01"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ParticleError, match=message):
        ParticleSettings(**settings)  # type: ignore[arg-type]
