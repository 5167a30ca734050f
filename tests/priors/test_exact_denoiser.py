"""The exact prior's answers against brute force, autograd, limits and its own slow path."""

from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.known_world.captions import NEGATIVE_PROMPT
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.exact import COLOUR_STD, ExactPrior
from torch import Tensor

BACKGROUND_MEAN, BACKGROUND_STD = 0.5, 0.35


def exact64(library: ViewLibrary, degraded: ViewLibrary | None = None) -> ExactPrior:
    return ExactPrior(library, degraded, dtype=torch.float64, dropped_mass=0.0)


def draw_pictures(library: ViewLibrary, words: tuple[str, ...], count: int, generator: torch.Generator) -> Tensor:
    """Pictures (count, 3, pixels) of the world, drawn as its definition says: shape, view of it, colour, background."""
    shape_count = torch.bincount(library.shape_index)
    mass = 1.0 / shape_count[library.shape_index].double()
    view = torch.multinomial(mass, count, replacement=True, generator=generator)
    means = torch.tensor([COLOURS[word] for word in words], dtype=torch.float64)
    word = torch.randint(len(words), (count,), generator=generator)
    normal = torch.randn(2, count, 3, 1, dtype=torch.float64, generator=generator)
    colour = means[word][:, :, None] + COLOUR_STD * normal[0]
    background = BACKGROUND_MEAN + BACKGROUND_STD * normal[1]
    values = library.buffers.flatten(2)[view].double() / 255
    return values[:, 1:4] + colour * values[:, :1] + background * (1 - values[:, 4:])


def noisy_latents(prior: ExactPrior, clean: Tensor, timestep: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    return prior.schedule.signal_scales[timestep] * clean + prior.schedule.noise_stds[timestep] * noise


def relative_error(came: Tensor, expected: Tensor) -> float:
    return float((came - expected).norm() / expected.norm())


@pytest.mark.parametrize(("text", "words"), [("", tuple(COLOURS)), ("something green", ("green",))])
@pytest.mark.parametrize("timestep", [400, 800])
def test_the_closed_form_is_the_limit_of_brute_force(library, text, words, timestep):
    world = library(5, 6, seed=1)
    prior = exact64(world)
    generator = torch.Generator().manual_seed(timestep)
    clean = 2 * draw_pictures(world, tuple(COLOURS), 1, generator) - 1
    noisy = noisy_latents(prior, clean, timestep, generator)
    signal, noise = prior.schedule.signal_scales[timestep], prior.schedule.noise_stds[timestep]
    at = torch.tensor([timestep])
    exact = prior.predict_noise(noisy.view(1, 3, 6, 6), at, {"conditional": [text]})["conditional"].view(1, 3, 36)

    counts = (1_000, 10_000, 100_000)
    errors = []
    for count in counts:
        squares = []
        for _ in range(8 if count < 100_000 else 4):
            latents = 2 * draw_pictures(world, words, count, generator) - 1
            log_weight = -(noisy - signal * latents).square().sum(dim=(1, 2)) / (2 * noise**2)
            mean = (torch.softmax(log_weight, dim=0)[:, None, None] * latents).sum(dim=0, keepdim=True)
            squares.append(relative_error((noisy - signal * mean) / noise, exact) ** 2)
        errors.append(math.sqrt(sum(squares) / len(squares)))
    assert errors[-1] <= 0.02
    slope = math.log(errors[-1] / errors[0]) / math.log(counts[-1] / counts[0])
    assert -0.7 <= slope <= -0.3  # 1 / sqrt(N)


@pytest.mark.parametrize("timestep", [20, 200, 500, 900])
@pytest.mark.parametrize("text", ["", "a red duck", "a duck, back view", NEGATIVE_PROMPT])
def test_noise_is_the_gradient_of_the_priors_own_log_density(library, timestep, text):
    """Tweedie's formula: eps = -sigma grad log p(z)."""
    world = library(40, 8, seed=2)
    prior = exact64(world, library(10, 8, seed=3, degraded=True))
    generator = torch.Generator().manual_seed(5)
    clean = 2 * draw_pictures(world, ("red", "blue"), 2, generator).view(2, 3, 8, 8) - 1
    noisy = noisy_latents(prior, clean, timestep, generator).requires_grad_()
    signal, noise = prior.schedule.signal_scales[timestep], prior.schedule.noise_stds[timestep]
    log_density = prior.log_likelihood((noisy / signal + 1) / 2, float(noise / (2 * signal)), text)
    (gradient,) = torch.autograd.grad(log_density.sum(), noisy)
    at = torch.full((2,), timestep)
    predicted = prior.predict_noise(noisy.detach(), at, {"conditional": [text] * 2})["conditional"]
    assert relative_error(predicted, -noise * gradient) <= 1e-9


def test_noise_that_vanishes_leaves_a_picture_of_the_world_as_it_is(library):
    world = library(20, 8, seed=4)
    prior = exact64(world, library(10, 8, seed=5, degraded=True))
    generator = torch.Generator().manual_seed(6)
    clean = 2 * draw_pictures(world, tuple(COLOURS), 4, generator).view(4, 3, 8, 8) - 1
    errors = []
    for timestep in (60, 20, 0):
        noisy = noisy_latents(prior, clean, timestep, generator)
        errors.append(relative_error(prior.denoise(noisy, torch.full((4,), timestep), [""] * 4), clean))
    # What remains is the noise along the picture's own colours: 6 directions of 192.
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
    assert errors[-1] < 0.1 * float(prior.schedule.noise_stds[60])


@pytest.mark.parametrize("text", ["", "a blue duck", "a cube"])
def test_noise_without_bound_leaves_the_mean_picture_of_the_caption(library, text):
    world = library(20, 8, seed=7)
    prior = exact64(world)
    explanation = prior._explain(torch.randn(1, 3, 8, 8, dtype=torch.float64) * 1e6, 1e6)
    log_joint = explanation.log_density + prior._captions.restrict(text).log_joint
    weights = torch.softmax(log_joint.flatten(1), dim=1).view_as(log_joint)
    came = prior._mixture.mean_pictures(explanation, torch.tensor([0]), weights, (8, 8))[0]

    words = [word for word in COLOURS if word in text] or list(COLOURS)
    shapes = [name for name in world.shape_names if name in text] or list(world.shape_names)
    colour = torch.tensor([COLOURS[word] for word in words], dtype=torch.float64).mean(dim=0)[:, None, None]
    values = world.buffers.double() / 255
    pictures = values[:, 1:4] + colour * values[:, :1] + BACKGROUND_MEAN * (1 - values[:, 4:])
    of_shape = [pictures[world.shape_index == world.shape_names.index(name)].mean(dim=0) for name in shapes]
    torch.testing.assert_close(came, torch.stack(of_shape).mean(dim=0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("timestep", [0, 20, 200, 500, 980])
@pytest.mark.parametrize("text", ["", "a duck", NEGATIVE_PROMPT])
def test_float32_with_views_dropped_agrees_with_float64_and_all_views(library, timestep, text):
    world, degraded = library(200, 32, seed=8), library(30, 32, seed=9, degraded=True)
    fast, slow = ExactPrior(world, degraded), exact64(world, degraded)
    generator = torch.Generator().manual_seed(timestep)
    of_world = 2 * draw_pictures(world, ("pink",), 2, generator).view(2, 3, 32, 32) - 1
    of_nothing = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4, generator=generator), size=(32, 32)).double()
    noisy = noisy_latents(slow, torch.cat([of_world, of_nothing]), timestep, generator).float()
    at = torch.full((4,), timestep)
    came = fast.predict_noise(noisy, at, {"conditional": [text] * 4})["conditional"]
    expected = slow.predict_noise(noisy.double(), at, {"conditional": [text] * 4})["conditional"]
    assert came.dtype == torch.float32
    assert relative_error(came.double(), expected) < 2e-5


@pytest.mark.parametrize("timestep", [20, 500, 980])
def test_views_of_negligible_weight_change_nothing_that_shows(library, timestep):
    world = library(200, 16, seed=10)
    cut, full = ExactPrior(world, dtype=torch.float64), exact64(world)
    generator = torch.Generator().manual_seed(11)
    clean = 2 * draw_pictures(world, tuple(COLOURS), 3, generator).view(3, 3, 16, 16) - 1
    noisy = noisy_latents(full, clean, timestep, generator)
    at, prompts = torch.full((3,), timestep), {"unconditional": [""] * 3}
    came = cut.predict_noise(noisy, at, prompts)["unconditional"]
    torch.testing.assert_close(came, full.predict_noise(noisy, at, prompts)["unconditional"], rtol=0, atol=1e-5)


def test_a_batch_of_views_and_branches_is_answered_like_each_alone(library):
    prior = exact64(library(30, 8, seed=12), library(10, 8, seed=13, degraded=True))
    generator = torch.Generator().manual_seed(14)
    noisy = torch.randn(3, 3, 8, 8, dtype=torch.float64, generator=generator)
    timesteps = torch.tensor([30, 400, 900])
    prompts = {
        "conditional": ["a red duck", "a torus", "something blue"],
        "unconditional": ["", "", ""],
        "negative": [NEGATIVE_PROMPT] * 3,
    }
    together = prior.predict_noise(noisy, timesteps, prompts)
    assert list(together) == list(prompts)
    for branch, texts in prompts.items():
        for row in range(3):
            one = slice(row, row + 1)
            alone = prior.predict_noise(noisy[one], timesteps[one], {branch: [texts[row]]})[branch]
            torch.testing.assert_close(together[branch][one], alone, rtol=1e-10, atol=1e-12)


def test_the_same_question_has_the_same_answer_bit_for_bit(library):
    noisy = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(15))
    timesteps, prompts = torch.tensor([100, 700]), {"conditional": ["a duck", ""]}
    answers = [
        ExactPrior(library(60, 16, seed=16)).predict_noise(noisy, timesteps, prompts)["conditional"] for _ in range(2)
    ]
    assert torch.equal(*answers)
