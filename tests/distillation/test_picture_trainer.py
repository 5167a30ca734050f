"""The loop of a picture, step by step: every generator, VSD's own model, and what whole runs make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from limbeck_server.distillation.picture import PictureSettings, PictureTrainer, optimise_picture, start_image
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior, degraded_views
from limbeck_server.priors.prior import ParticleError
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.scene.image import GENERATORS, Latents

SETTINGS = PictureSettings(
    loss="sds",
    guidance_scale=2.0,
    timestep_min=0.02,
    timestep_max=((0.0, 0.98), (1.0, 0.1)),
    weighting="noise_variance",
    steps=4,
    learning_rate=0.05,
)
VSD = {"lora_rank": 2.0, "lora_learning_rate": 1e-3, "lora_warmup": 0.0}


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> ExactPrior:
    library = load_library({"cube": 24, "sphere": 12}, 16, tmp_path_factory.mktemp("views"))
    return ExactPrior(library, degraded_views(library, 4))


@pytest.fixture(scope="module")
def network(tiny_stable_diffusion: Callable[[str], Path]) -> StableDiffusionPrior:
    folder = str(tiny_stable_diffusion("epsilon"))
    return load_stable_diffusion(folder, torch.device("cpu"), torch.float32, allow_download=False)


def trainer_of(
    prior: ExactPrior | StableDiffusionPrior, kind: str, size: int = 16, **changes: object
) -> PictureTrainer:
    settings = replace(SETTINGS, **changes)
    draws = torch.Generator().manual_seed(settings.seed)
    return PictureTrainer(prior, settings, start_image(prior, kind, size, draws), "a red cube", draws)


def test_steps_of_the_trainer_are_a_run_of_optimise_picture(prior: ExactPrior) -> None:
    trainer = trainer_of(prior, "latents")
    for number in range(SETTINGS.steps):
        assert trainer.step().step == number + 1 == trainer.steps_done
    assert torch.equal(trainer.latents(), optimise_picture(prior, SETTINGS, "a red cube", 16))
    assert torch.equal(trainer.image(), prior.decode_latents(trainer.latents()))


@pytest.mark.parametrize("kind", GENERATORS)
def test_every_generator_moves_and_shows_a_picture(kind: str, prior: ExactPrior) -> None:
    trainer = trainer_of(prior, kind)
    before = trainer.image()
    step = trainer.step()
    after = trainer.image()
    assert before.shape == after.shape == (1, 3, 16, 16)
    assert 0.0 <= float(after.min()) <= float(after.max()) <= 1.0
    assert not after.requires_grad
    assert not torch.equal(before, after)
    assert step.latents.shape == (1, 3, 16, 16)
    assert step.loss > 0.0


@pytest.mark.parametrize(("kind", "rate"), [("latents", 0.1), ("pixels", 0.2), ("mlp", 0.01)])
def test_every_generator_becomes_the_red_cube(kind: str, rate: float, prior: ExactPrior) -> None:
    trainer = trainer_of(prior, kind, steps=80, learning_rate=rate)
    for _ in range(80):
        trainer.step()
    words, probabilities = prior.posterior(trainer.image(), 0.25, over="colour")
    assert words[int(probabilities.argmax())] == "red"
    words, probabilities = prior.posterior(trainer.image(), 0.25, over="shape")
    assert words[int(probabilities.argmax())] == "cube"


def test_pixels_of_another_size_are_shown_as_they_are(prior: ExactPrior) -> None:
    trainer = trainer_of(prior, "pixels", size=48)
    assert trainer.step().latents.shape == (1, 3, 16, 16)
    assert trainer.image().shape == (1, 3, 48, 48)


def test_vsd_trains_its_own_model_on_the_picture_without_a_camera(network: StableDiffusionPrior) -> None:
    trainer = trainer_of(network, "latents", loss="vsd", loss_parameters=VSD)
    assert trainer.particle is not None
    seen: list[torch.Tensor] = []
    teach = trainer.particle.train_step

    def listen(latents: torch.Tensor, texts: list[str], poses: torch.Tensor, generator: torch.Generator) -> float:
        seen.append(poses)
        assert texts == ["a red cube"]
        return teach(latents, texts, poses, generator)

    trainer.particle.train_step = listen  # type: ignore[method-assign]
    before = [parameter.detach().clone() for parameter in trainer.particle.parameters()]
    terms = [trainer.step().distilled.terms for _ in range(3)]
    assert all(term["particle"] > 0.0 for term in terms)
    assert all(poses.shape == (1, 4, 4) and float(poses.abs().max()) == 0.0 for poses in seen)
    assert trainer.particle.training_passes == 3
    after = list(trainer.particle.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_vsd_s_first_step_is_guidance_alone(network: StableDiffusionPrior) -> None:
    # A fresh particle model predicts what the prior does, so that at a scale of 1 nothing is left to be done.
    trainer = trainer_of(network, "latents", loss="vsd", loss_parameters=VSD, guidance_scale=1.0)
    assert float(trainer.step().distilled.gradient.abs().max()) < 1e-5


def test_vsd_says_why_the_exact_prior_is_not_for_it(prior: ExactPrior) -> None:
    with pytest.raises(ParticleError, match="no network to adapt"):
        trainer_of(prior, "latents", loss="vsd", loss_parameters=VSD)


def test_a_loss_that_edits_needs_a_picture_to_begin_with(prior: ExactPrior) -> None:
    with pytest.raises(ValueError, match="edits a picture that exists"):
        PictureTrainer(prior, replace(SETTINGS, loss="dds"), Latents(torch.zeros(1, 3, 16, 16)), "a red cube")


@pytest.mark.parametrize("kind", GENERATORS)
def test_msd_s_chain_starts_from_the_picture_whatever_it_is_made_of(kind: str, prior: ExactPrior) -> None:
    # Decision 0012: under a kernel far narrower than the noise y is the picture itself, so that nothing moves.
    narrow = {"kernel_time": "variance", "bandwidth": 1e-3, "bandwidth_min": 1e-3, "sampling_steps": 4.0}
    narrow |= {"kernel_low": 0.0, "kernel_high": 1.0, "centre": "mean"}
    trainer = trainer_of(
        prior,
        kind,
        loss="msd",
        loss_parameters=narrow,
        weighting="uniform",
        guidance_scale=1.0,
        timestep_min=0.98,
        timestep_max=((0.0, 0.98),),
    )
    step = trainer.step()
    assert step.loss < 0.1 * float(step.latents.square().mean().sqrt())
