"""VSD's particle model on a tiny Stable Diffusion of random weights: what it learns, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_server.priors.particle_model import LoraParticleModel
from limbeck_server.priors.prior import NoiseSchedule, ParticleModel, ParticleSettings
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from torch import Tensor

CPU = torch.device("cpu")
TEXTS = ["a yellow duck"] * 2
TIMESTEPS = torch.tensor([30, 700])
FAST = ParticleSettings(learning_rate=1e-2)

Load = Callable[..., StableDiffusionPrior]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poses(*shifts: float) -> Tensor:
    """Cameras on the x axis."""
    cameras = torch.eye(4).repeat(len(shifts), 1, 1)
    cameras[:, 0, 3] = torch.tensor(shifts)
    return cameras


CAMERAS = poses(-1.5, 1.5)


@pytest.fixture(scope="module")
def load(tiny_stable_diffusion: Callable[[str], Path]) -> Load:
    def loaded(prediction_type: str = "epsilon", dtype: torch.dtype = torch.float32) -> StableDiffusionPrior:
        return load_stable_diffusion(str(tiny_stable_diffusion(prediction_type)), CPU, dtype)

    return loaded


@pytest.fixture
def prior(load: Load) -> StableDiffusionPrior:
    return load()


@pytest.fixture
def latents() -> Tensor:
    return 0.5 * torch.randn(2, 4, 8, 8, generator=seeded(1))


@pytest.fixture
def noisy() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=seeded(5))


def train(model: ParticleModel, latents: Tensor, steps: int, seed: int | None = None) -> list[float]:
    """Errors before each step: of one noise again and again if a seed is given, else of fresh noise."""
    generator = seeded(0)
    return [
        model.train_step(latents, TEXTS, CAMERAS, generator if seed is None else seeded(seed)) for _ in range(steps)
    ]


def squared_error(model: ParticleModel, schedule: NoiseSchedule, latents: Tensor, cameras: Tensor) -> float:
    """The mean squared error of the noise over 32 draws that no training has seen, the same every time."""
    generator, clean = seeded(1234), latents.repeat(32, 1, 1, 1)
    timesteps = torch.randint(1000, (len(clean),), generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    alpha, sigma = schedule.at(timesteps, clean)
    found = model.predict_noise(alpha * clean + sigma * noise, timesteps, TEXTS * 32, cameras.repeat(32, 1, 1))
    return float((found - noise).square().mean())


def trained_bits(model: ParticleModel) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_its_error_falls_within_20_steps_at_the_published_rate(
    load: Load, latents: Tensor, prediction_type: str, dtype: torch.dtype
) -> None:
    model = load(prediction_type, dtype).particle_model(ParticleSettings())
    # The same noise every time: what falls is what was learnt, not luck.
    errors = train(model, latents, 20, seed=3)
    assert sum(errors[-5:]) < sum(errors[:5]) * (1 - 5e-4)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_it_learns_the_renders_for_noise_that_it_never_saw(load: Load, latents: Tensor, prediction_type: str) -> None:
    prior = load(prediction_type)
    model = prior.particle_model(FAST)
    before = squared_error(model, prior.schedule, latents, CAMERAS)
    train(model, latents, 60)
    assert squared_error(model, prior.schedule, latents, CAMERAS) < 0.95 * before


def test_it_learns_which_camera_sees_what(load: Load) -> None:
    # In heavy noise v is almost -z, which only the camera can tell.
    prior, latents = load("v_prediction"), torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 4, 8, 8)
    model = prior.particle_model(FAST)
    train(model, latents, 60)
    own = squared_error(model, prior.schedule, latents, CAMERAS)
    assert own < 0.97 * squared_error(model, prior.schedule, latents, CAMERAS.flip(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_fresh_one_predicts_the_priors_very_bits(
    load: Load, noisy: Tensor, prediction_type: str, dtype: torch.dtype
) -> None:
    prior = load(prediction_type, dtype)
    model = prior.particle_model(ParticleSettings())
    expected = prior.predict_noise(noisy, TIMESTEPS, {"conditional": TEXTS})["conditional"]
    found = model.predict_noise(noisy, TIMESTEPS, TEXTS, CAMERAS)
    assert torch.equal(found, expected)
    assert found.dtype == noisy.dtype
    assert not found.requires_grad


def test_only_lora_and_the_camera_embedding_train(prior: StableDiffusionPrior, latents: Tensor) -> None:
    unet = prior._networks.unet
    names, before = list(unet.state_dict()), [weight.clone() for weight in unet.state_dict().values()]
    model = prior.particle_model(ParticleSettings())
    start = trained_bits(model)
    train(model, latents, 4)
    assert list(unet.state_dict()) == names
    assert same(before, list(unet.state_dict().values()))
    assert not any(weight.requires_grad or weight.grad is not None for weight in unet.parameters())
    # Two attention layers in each of three blocks (down, middle, up twice), four projections, two factors each.
    assert len(start) == 4 * 2 * 4 * 2 + 4
    # Everything that trains has moved, the layers before those that start as zero from the second step on.
    assert not any(torch.equal(a, b) for a, b in zip(start, trained_bits(model), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_prior_predicts_the_same_bits_before_and_after(
    prior: StableDiffusionPrior, latents: Tensor, noisy: Tensor
) -> None:
    def bits() -> Tensor:
        return prior.predict_noise(noisy, TIMESTEPS, {"conditional": TEXTS})["conditional"]

    before = bits()
    model = prior.particle_model(FAST)
    assert torch.equal(bits(), before)
    train(model, latents, 5)
    assert not torch.equal(model.predict_noise(noisy, TIMESTEPS, TEXTS, CAMERAS), before)
    assert torch.equal(bits(), before)
    # A second one starts where the prior stands, not where the first one went.
    second = prior.particle_model(FAST)
    assert torch.equal(second.predict_noise(noisy, TIMESTEPS, TEXTS, CAMERAS), before)


def test_it_shares_the_weights_and_copies_none(prior: StableDiffusionPrior) -> None:
    model = prior.particle_model(ParticleSettings())
    assert isinstance(model, LoraParticleModel)
    shared = {weight.data_ptr() for weight in prior._networks.unet.parameters()}
    own = [weight for weight in model._unet.parameters() if weight.data_ptr() not in shared]
    assert {id(weight) for weight in own} == {id(weight) for weight in model.parameters()}


def test_predictions_depend_on_the_camera_once_trained(
    prior: StableDiffusionPrior, latents: Tensor, noisy: Tensor
) -> None:
    model = prior.particle_model(FAST)
    fresh = [model.predict_noise(noisy, TIMESTEPS, TEXTS, cameras) for cameras in (CAMERAS, CAMERAS.flip(0))]
    assert torch.equal(*fresh)
    train(model, latents, 5)
    one, other, again = (
        model.predict_noise(noisy, TIMESTEPS, TEXTS, cameras) for cameras in (CAMERAS, CAMERAS.flip(0), CAMERAS)
    )
    assert not torch.equal(one, other)
    assert torch.equal(one, again)


def test_one_seed_means_one_result(prior: StableDiffusionPrior, latents: Tensor) -> None:
    def result(seed: int) -> list[Tensor]:
        model = prior.particle_model(ParticleSettings(seed=seed))
        train(model, latents, 3)
        return trained_bits(model)

    torch.manual_seed(1)
    one = result(0)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert same(one, result(0))
    assert not same(one, result(1))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_first_error_is_the_networks_own(load: Load, latents: Tensor, prediction_type: str) -> None:
    prior = load(prediction_type)
    found = prior.particle_model(ParticleSettings()).train_step(latents, TEXTS, CAMERAS, seeded(3))
    generator = seeded(3)
    timesteps = torch.randint(1000, (2,), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    alpha, sigma = prior.schedule.at(timesteps, latents)
    answer = prior._networks.unet(
        alpha * latents + sigma * noise, timesteps, encoder_hidden_states=torch.cat([prior._embed(TEXTS[0])] * 2)
    ).sample
    # Salimans & Ho (2022), appendix D.
    target = noise if prediction_type == "epsilon" else alpha * noise - sigma * latents
    assert found == pytest.approx(float((answer - target).square().mean().detach()), rel=1e-5)


def test_timesteps_cover_the_schedule_and_a_tenth_of_the_poses_is_forgotten(prior: StableDiffusionPrior) -> None:
    model = prior.particle_model(ParticleSettings())
    assert isinstance(model, LoraParticleModel)
    seen: list[tuple[Tensor, Tensor]] = []

    def look(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append((arguments[1], named["class_labels"]))

    model._unet.register_forward_pre_hook(look, with_kwargs=True)
    model.train_step(torch.zeros(500, 4, 8, 8), ["a duck"] * 500, poses(*[1.0] * 500), seeded(0))
    ((timesteps, labels),) = seen
    assert timesteps.min() < 20
    assert timesteps.max() > 979
    # A mean of 499.5 with a standard error of 13.
    assert abs(float(timesteps.double().mean()) - 499.5) < 4 * 13
    forgotten = (labels == 0).all(dim=1)
    assert 0.1 - 4 * 0.0134 < float(forgotten.double().mean()) < 0.1 + 4 * 0.0134
    assert torch.equal(labels[~forgotten], poses(1.0).flatten(1).expand(int((~forgotten).sum()), 16))


def test_it_counts_its_own_passes_and_none_of_the_priors(
    prior: StableDiffusionPrior, latents: Tensor, noisy: Tensor
) -> None:
    model = prior.particle_model(ParticleSettings())
    assert (model.evaluations, model.training_passes) == (0, 0)
    model.predict_noise(noisy, TIMESTEPS, TEXTS, CAMERAS)
    train(model, latents, 3)
    assert (model.evaluations, model.training_passes) == (2, 6)
    assert prior.evaluations == 0


def test_recomputing_activations_changes_no_result(prior: StableDiffusionPrior, latents: Tensor) -> None:
    models = [prior.particle_model(ParticleSettings(recompute=recompute)) for recompute in (True, False)]
    errors = [train(model, latents, 3) for model in models]
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)
    for one, other in zip(*map(trained_bits, models), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_learning_rate_warms_up_linearly(prior: StableDiffusionPrior, latents: Tensor) -> None:
    model = prior.particle_model(ParticleSettings(warm_up_steps=3, weight_decay=0.0))
    assert isinstance(model, LoraParticleModel)
    bias = model._unet.class_embedding.last.bias.data
    # Adam's first step is the learning rate itself, whatever the gradient: a quarter of it, with three steps to go.
    train(model, latents, 1)
    assert float(bias.abs().median()) == pytest.approx(0.25e-4, rel=1e-2)
    rates = []
    for _ in range(4):
        train(model, latents, 1)
        rates.append(model._optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.5e-4, 0.75e-4, 1e-4, 1e-4])


def test_the_training_ignores_the_callers_no_grad(prior: StableDiffusionPrior, latents: Tensor) -> None:
    model = prior.particle_model(ParticleSettings())
    before = trained_bits(model)
    with torch.no_grad():
        train(model, latents.requires_grad_(), 2)
    assert not same(before, trained_bits(model))
    assert latents.grad is None
