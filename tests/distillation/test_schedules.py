"""Schedules and weightings: known values, and the sentences of their errors."""

from __future__ import annotations

import doctest

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from limbeck_server.distillation import schedules
from limbeck_server.distillation.noising import schedule_values
from limbeck_server.distillation.schedules import piecewise_linear, step_schedule
from limbeck_server.distillation.weighting import WEIGHTINGS, choose_weighting
from limbeck_server.priors.prior import NoiseSchedule

POINTS = [(0.2, 1.0), (0.4, 3.0), (0.8, 1.0)]
SHARES = st.floats(0, 1)
SCHEDULES = st.lists(st.tuples(SHARES, st.floats(-1e3, 1e3)), min_size=1, max_size=6).map(
    lambda points: sorted(points, key=lambda point: point[0])
)


@pytest.mark.parametrize(
    ("share", "linear", "step"),
    [(0.0, 1.0, 1.0), (0.2, 1.0, 1.0), (0.3, 2.0, 1.0), (0.4, 3.0, 3.0), (0.6, 2.0, 3.0), (0.8, 1.0, 1.0), (1, 1, 1)],
)
def test_schedules_have_the_values_a_person_would_draw(share: float, linear: float, step: float) -> None:
    assert piecewise_linear(POINTS, share) == pytest.approx(linear, abs=1e-12)
    assert step_schedule(POINTS, share) == step


def test_two_points_at_one_share_make_a_jump() -> None:
    points = [(0.0, 0.98), (0.2, 0.98), (0.2, 0.5)]
    assert [piecewise_linear(points, share) for share in (0.0, 0.1999, 0.2, 1.0)] == [0.98, 0.98, 0.5, 0.5]
    assert step_schedule(points, 0.2) == 0.5


def test_a_single_point_is_a_constant() -> None:
    assert {f([(0.5, 7)], share) for f in (piecewise_linear, step_schedule) for share in (0.0, 0.5, 1.0)} == {7.0}


@given(points=SCHEDULES, share=SHARES)
def test_schedules_stay_between_their_points(points: list[tuple[float, float]], share: float) -> None:
    values = [value for _, value in points]
    slack = 1e-9 * max(map(abs, values))
    assert min(values) - slack <= piecewise_linear(points, share) <= max(values) + slack
    assert step_schedule(points, share) in values


@given(points=SCHEDULES)
def test_schedules_pass_through_the_last_point_of_every_share(points: list[tuple[float, float]]) -> None:
    for share, value in dict(points).items():
        assert piecewise_linear(points, share) == pytest.approx(value)
        assert step_schedule(points, share) == value


@pytest.mark.parametrize(
    ("points", "share", "sentence"),
    [
        ([], 0.5, "at least one point"),
        ([(0.5, 1.0), (0.2, 2.0)], 0.5, r"sorted by their share of the run, got \[0.5, 0.2\]"),
        ([(0.0, 1.0), (1.5, 2.0)], 0.5, "must lie in 0..1"),
        ([(float("nan"), 1.0)], 0.5, "must lie in 0..1"),
        ([(0.0, float("inf"))], 0.5, "must be finite"),
        ([(0.0, 1.0)], float("nan"), "must be a number"),
    ],
)
@pytest.mark.parametrize("schedule", [piecewise_linear, step_schedule])
def test_what_is_no_schedule_is_refused_with_a_sentence(schedule, points, share: float, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        schedule(points, share)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(schedules).failed == 0


@pytest.mark.parametrize(("timestep", "alpha_bar"), [(20, 0.9813), (200, 0.7537), (500, 0.2763), (980, 0.0058)])
def test_weightings_at_known_timesteps_of_stable_diffusion(timestep: int, alpha_bar: float) -> None:
    values = schedule_values(
        NoiseSchedule.stable_diffusion(), torch.tensor([timestep, timestep]), torch.device("cpu"), torch.float64
    )
    expected = {
        "noise_variance": 1 - alpha_bar,
        "uniform": 1.0,
        "signal_noise": alpha_bar**0.5 * (1 - alpha_bar),
        "noise_to_signal": ((1 - alpha_bar) / alpha_bar) ** 0.5,
    }
    assert set(WEIGHTINGS) == set(expected)
    for name, value in expected.items():
        weight = choose_weighting(name)(*values)
        assert weight.shape == (2, 1, 1, 1)
        # alpha_bar is given to four digits: an error of 5e-5, through d sqrt(1 / alpha_bar - 1) for the last of them.
        tolerance = {"signal_noise": 6e-4, "noise_to_signal": 5e-5 / (2 * value * alpha_bar**2 + 1e-12)}
        assert weight.flatten().tolist() == pytest.approx([value, value], abs=tolerance.get(name, 6e-5))


def test_the_noise_to_signal_weight_turns_errors_of_noise_into_errors_of_pictures() -> None:
    # SDI's z - D(z_t) is sigma / alpha times (prediction - noise): the same residual, seen in the clean latents.
    alpha, sigma = torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.8, dtype=torch.float64)
    clean, noise, predicted = 0.3, -1.2, 0.7
    denoised = (alpha * clean + sigma * noise - sigma * predicted) / alpha
    weighted = choose_weighting("noise_to_signal")(alpha, sigma) * (predicted - noise)
    assert float(clean - denoised) == pytest.approx(float(weighted), abs=1e-15)


def test_an_unknown_weighting_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match="'sigma'; there are: noise_variance, uniform, signal_noise"):
        choose_weighting("sigma")
