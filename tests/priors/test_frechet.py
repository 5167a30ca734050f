"""Frechet distances: closed forms, scipy's matrix root, and what few pictures do to them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from limbeck_server.priors.training.frechet import floor, frechet_distance, jackknife_error
from torch import Tensor


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exactly(mean: list[float], std: list[float], count: int, seed: int) -> Tensor:
    """Features whose sample mean and covariance are those, to rounding."""
    raw = torch.randn(count, len(mean), generator=draws(seed), dtype=torch.float64)
    raw = raw - raw.mean(dim=0)
    white = raw @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T)).T)
    return white * torch.tensor(std, dtype=torch.float64) + torch.tensor(mean, dtype=torch.float64)


def test_it_is_the_closed_form_of_independent_features() -> None:
    one, two = exactly([0.0, 1.0, 2.0], [1.0, 2.0, 0.5], 40, 0), exactly([1.0, 1.0, -1.0], [3.0, 2.0, 1.0], 25, 1)
    # The sum of (mean - mean)^2 + (std - std)^2.
    assert frechet_distance(one, two) == pytest.approx(1 + 0 + 9 + 4 + 0 + 0.25)


def test_it_agrees_with_the_matrix_root_of_heusel_et_al() -> None:
    mix = torch.randn(5, 5, generator=draws(2), dtype=torch.float64)
    one = torch.randn(60, 5, generator=draws(3), dtype=torch.float64) @ mix
    two = torch.randn(80, 5, generator=draws(4), dtype=torch.float64) + 0.3
    covariances = [np.cov(features.numpy().T) for features in (one, two)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    apart = float((one.mean(dim=0) - two.mean(dim=0)).square().sum())
    expected = apart + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-9)


def test_of_the_same_set_it_is_nothing_and_of_a_moved_one_the_way_squared() -> None:
    one = torch.randn(50, 4, generator=draws(5), dtype=torch.float64)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(one, one + 2.0) == pytest.approx(16.0)


def test_it_is_the_same_both_ways_and_fewer_pictures_than_features_do_no_harm() -> None:
    few = torch.randn(3, 8, generator=draws(6), dtype=torch.float64)
    many = torch.randn(50, 8, generator=draws(7), dtype=torch.float64)
    assert frechet_distance(few, many) == pytest.approx(frechet_distance(many, few))
    assert frechet_distance(few, few) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 4), (5, 3), (5,)])
def test_what_cannot_be_compared_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2 or more pictures each"):
        frechet_distance(torch.zeros(5, 4), torch.zeros(shape))


def test_the_floor_is_above_nothing_and_falls_as_pictures_are_added() -> None:
    truth = torch.randn(2, 200, 6, generator=draws(8), dtype=torch.float64)
    few, more = (floor(truth, count, 20, draws(9)) for count in (3, 60))
    assert few[0] > 5 * more[0] > 0.0
    assert few[1] > more[1] > 0.0


def test_the_floor_takes_as_many_of_every_group() -> None:
    # Groups far apart: with unequal shares the means would be apart as well.
    truth = torch.randn(2, 40, 3, generator=draws(10), dtype=torch.float64) + torch.tensor([[[0.0]], [[100.0]]])
    assert floor(truth, 10, 20, draws(11))[0] < 5.0


@pytest.mark.parametrize("count", [0, 4])
def test_a_floor_without_pictures_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 3 can be set apart"):
        floor(torch.zeros(2, 4, 3), count, 2, draws(0))


def test_the_jackknife_s_error_is_that_of_sets_drawn_again() -> None:
    truth = torch.randn(4000, 3, generator=draws(12), dtype=torch.float64)
    sets = [torch.randn(30, 3, generator=draws(100 + k), dtype=torch.float64) + 1.0 for k in range(60)]
    between = float(torch.tensor([frechet_distance(one, truth) for one in sets]).std())
    told = float(torch.tensor([jackknife_error(one, truth) for one in sets]).mean())
    assert told == pytest.approx(between, rel=0.35)
