"""Timesteps, noise, and the injection of a gradient into autograd."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from limbeck_server.distillation.injection import DivergedError, inject
from limbeck_server.distillation.noising import (
    add_noise,
    draw_noise,
    draw_timesteps,
    schedule_values,
    timestep_bounds,
)
from limbeck_server.priors.prior import NoiseSchedule


def test_timesteps_are_uniform_over_the_range_with_both_ends(generator: torch.Generator) -> None:
    drawn = draw_timesteps(20, 25, 60_000, generator)
    assert drawn.dtype == torch.int64
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == [20, 21, 22, 23, 24, 25]
    # 10,000 expected of each, with a standard deviation of 91.
    assert (counts - 10_000).abs().max() < 4 * 91.3


def test_the_same_seed_draws_the_same_timesteps_and_noise() -> None:
    def draw() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(3)
        return [draw_timesteps(0, 999, 5, generator), draw_noise(torch.zeros(2, 4, 3, 3), generator)]

    assert all(torch.equal(one, two) for one, two in zip(draw(), draw(), strict=True))


def test_a_range_of_one_timestep_draws_it(generator: torch.Generator) -> None:
    assert draw_timesteps(7, 7, 3, generator).tolist() == [7, 7, 7]


@pytest.mark.parametrize(("minimum", "maximum"), [(5, 4), (-1, 4)])
def test_an_impossible_range_is_refused(minimum: int, maximum: int, generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match=f"0 <= minimum <= maximum, got {minimum} and {maximum}"):
        draw_timesteps(minimum, maximum, 1, generator)


@pytest.mark.parametrize(
    ("minimum", "maximum", "timesteps", "bounds"),
    [(0.02, 0.98, 1000, (20, 980)), (0.0, 1.0, 1000, (0, 999)), (0.29, 0.29, 100, (29, 29)), (1.0, 1.0, 10, (9, 9))],
)
def test_shares_become_timesteps_of_the_schedule(
    minimum: float, maximum: float, timesteps: int, bounds: tuple[int, int]
) -> None:
    assert timestep_bounds(minimum, maximum, timesteps) == bounds


@given(shares=st.tuples(st.floats(0, 1), st.floats(0, 1)), timesteps=st.integers(1, 2000))
def test_bounds_always_lie_in_the_schedule(shares: tuple[float, float], timesteps: int) -> None:
    lowest, highest = timestep_bounds(min(shares), max(shares), timesteps)
    assert 0 <= lowest <= highest < timesteps


@pytest.mark.parametrize(("minimum", "maximum"), [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_shares_that_are_no_range_are_refused(minimum: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="timestep range"):
        timestep_bounds(minimum, maximum, 1000)


def test_schedule_values_are_the_schedules_and_preserve_variance() -> None:
    schedule = NoiseSchedule.stable_diffusion()
    timesteps = torch.tensor([0, 500, 999])
    scale, std = schedule_values(schedule, timesteps, torch.device("cpu"), torch.float32)
    assert scale.shape == std.shape == (3, 1, 1, 1)
    assert scale.dtype == torch.float32
    torch.testing.assert_close(scale.flatten().double(), schedule.signal_scales[timesteps], rtol=1e-6, atol=0)
    torch.testing.assert_close((scale**2 + std**2).flatten(), torch.ones(3))


def test_noisy_latents_are_the_stated_mixture(generator: torch.Generator) -> None:
    latents, noise = torch.randn(2, 2, 4, 3, 3, generator=generator)
    scale, std = torch.tensor([0.6, 1.0]).view(2, 1, 1, 1), torch.tensor([0.8, 0.0]).view(2, 1, 1, 1)
    noisy = add_noise(latents, noise, scale, std)
    torch.testing.assert_close(noisy[0], 0.6 * latents[0] + 0.8 * noise[0])
    torch.testing.assert_close(noisy[1], latents[1])


def test_noise_is_standard_normal_and_follows_the_latents(generator: torch.Generator) -> None:
    noise = draw_noise(torch.zeros(4, 4, 64, 64, dtype=torch.float64), generator)
    assert noise.dtype == torch.float64
    assert noise.mean().abs() < 4 / 256
    assert abs(noise.std() - 1) < 4 / 256


@settings(max_examples=30, deadline=None)
@given(views=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_autograd_of_the_injection_is_the_gradient_over_the_views(views: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    latents, gradient = torch.randn(2, views, 4, 3, 3, generator=generator, dtype=torch.float64)
    latents.requires_grad_()
    injected = inject(latents, gradient)
    assert injected.shape == ()
    torch.testing.assert_close(torch.autograd.grad(injected, latents)[0], gradient / views, rtol=0, atol=1e-15)


def test_the_injected_gradient_reaches_parameters_through_the_chain_rule() -> None:
    parameter = torch.tensor([2.0, 3.0], requires_grad=True)
    latents = (parameter**2).view(1, 2, 1, 1)
    inject(latents, torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)).backward()
    assert parameter.grad.tolist() == [4.0, -6.0]


def test_a_gradient_with_a_graph_of_its_own_is_cut_off() -> None:
    latents = torch.ones(1, 1, 1, 1, requires_grad=True)
    inject(latents, 3 * latents).backward()
    assert latents.grad.item() == 3.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_gradient_that_is_not_finite_stops_the_run_with_its_facts(bad: float) -> None:
    latents, gradient = torch.full((2, 4, 1, 1), 2.5, requires_grad=True), torch.zeros(2, 4, 1, 1)
    gradient[1, 2] = bad
    with pytest.raises(DivergedError, match=r"1 of 8 values .* at step 12, timestep \[300, 20\] \(views \[1\]\).*2.5"):
        inject(latents, gradient, step=12, timestep=[300, 20])


def test_latents_that_are_not_finite_are_named_as_the_cause() -> None:
    latents = torch.tensor([float("nan"), 1.0]).view(1, 2, 1, 1)
    with pytest.raises(DivergedError, match="1 values of the latents are not finite either"):
        inject(latents, latents)


def test_a_gradient_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="must be shaped like the latents"):
        inject(torch.zeros(2, 4, 3, 3), torch.zeros(1, 4, 3, 3))
