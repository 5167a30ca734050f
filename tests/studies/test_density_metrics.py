"""The measures of the density study on cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from limbeck_server.studies.density_landscapes import integrate
from limbeck_server.studies.density_metrics import coverage, maximum_mean_discrepancy, score_field, score_points
from limbeck_server.studies.toy_densities import spiral

F64 = torch.float64


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_coverage_is_one_at_home_none_far_away_and_half_in_between() -> None:
    real, same, far = normal(500, 2), normal(500, 2, seed=1), normal(500, 2, seed=2) + 50.0
    assert coverage(real, real) == 1.0
    assert coverage(real, same) > 0.95
    assert coverage(real, far) == 0.0
    assert coverage(real, torch.cat([real, far])) == 0.5
    collapsed = real[:1] + 1e-6 * normal(500, 2, seed=3)
    assert coverage(collapsed, real) == pytest.approx(1 / 500)


def test_coverage_counts_the_neighbours_it_is_asked_for() -> None:
    line = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]], dtype=F64)
    asked = torch.tensor([[-1.5, 0.0], [-2.9, 0.0], [4.9, 0.0], [5.1, 0.0], [6.1, 0.0]], dtype=F64)
    assert coverage(line, asked, neighbours=1) == pytest.approx(1 / 5)  # radii 1, 1, 2: 4.9 alone
    assert coverage(line, asked, neighbours=2) == pytest.approx(4 / 5)  # radii 3, 2, 3: all but 6.1


def test_the_discrepancy_of_two_points_is_the_kernels() -> None:
    first, second = torch.zeros(1, 2, dtype=F64), torch.tensor([[0.3, 0.0]], dtype=F64)
    expected = math.sqrt(2.0 - 2.0 * math.exp(-(0.3**2) / (2 * 0.1**2)))
    assert maximum_mean_discrepancy(first, second, std=0.1) == pytest.approx(expected)
    assert maximum_mean_discrepancy(first, first) == 0.0


def test_points_of_the_density_score_its_entropy_and_full_marks() -> None:
    mixture = spiral()
    real = mixture.sample(4000, torch.Generator().manual_seed(0))
    scores = score_points(mixture, real, mixture.sample(1500, torch.Generator().manual_seed(1)))
    assert scores.nll == pytest.approx(-1.39, abs=0.06)
    assert scores.precision > 0.95
    assert scores.recall > 0.95
    assert scores.mmd < 0.06


def test_a_field_is_scored_by_its_bias_its_noise_and_its_direction() -> None:
    exact, generator = normal(300, 2) + 3.0, torch.Generator().manual_seed(5)

    def draw() -> torch.Tensor:
        return 2.0 * exact + 0.5 * torch.randn(10, 300, 2, generator=generator, dtype=F64)

    scores = score_field(draw, 4000, exact)
    assert scores.cosine == pytest.approx(1.0, abs=1e-4)
    assert scores.relative_error == pytest.approx(1.0, abs=0.01)
    assert scores.scaled_error < 0.01
    assert scores.std == pytest.approx(math.sqrt(2 * 0.25), rel=0.01)
    assert scores.log_variance == pytest.approx(math.log(0.5), abs=0.02)
    squares = float((exact**2).sum(1).mean())
    assert scores.log_bias == pytest.approx(math.log(squares), abs=0.01)
    assert scores.log_relative_variance == pytest.approx(math.log(0.5 / (4 * squares)), abs=0.02)


def test_a_gradient_integrates_to_its_loss_and_a_whirl_to_none() -> None:
    side, spacing = 40, 0.05
    line = spacing * np.arange(side)
    x, y = np.meshgrid(line, line)
    loss = x**2 + 3.0 * x * y
    found, left_over = integrate(np.stack([2 * x + 3 * y, 3 * x], axis=-1), spacing)
    assert np.allclose(found, loss - loss.min(), atol=1e-9)
    assert left_over < 1e-9
    centre = line.mean()
    whirl = np.stack([-(y - centre), x - centre], axis=-1)
    assert integrate(whirl, spacing)[1] == pytest.approx(1.0, abs=0.15)
