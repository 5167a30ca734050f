from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.scene.regularizers import opaqueness, orientation, sparsity, total_variation


def test_orientation_counts_only_what_faces_away():
    directions = torch.tensor([[0.0, 0.0, -1.0]]).expand(3, 3)
    half = math.sqrt(0.5)
    normals = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [half, 0.0, -half]])
    weights = torch.tensor([0.9, 0.3, 0.4])
    # Towards the camera: 0. Straight away: 0.3 x 1. Half away: 0.4 x 0.5. Over 2 rays.
    assert orientation(weights, normals, directions, rays=2).item() == pytest.approx((0.3 + 0.2) / 2)


def test_orientation_moves_normals_and_not_weights():
    weights = torch.ones(1, requires_grad=True)
    normals = torch.tensor([[0.0, 0.6, 0.8]], requires_grad=True)
    orientation(weights, normals, torch.tensor([[0.0, 0.0, 1.0]]), rays=1).backward()
    assert weights.grad is None
    torch.testing.assert_close(normals.grad, torch.tensor([[0.0, 0.0, 1.6]]))


@pytest.mark.parametrize(("opacity", "expected"), [(0.0, 0.1), (1.0, math.sqrt(1.01)), (0.5, math.sqrt(0.26))])
def test_sparsity_of_constant_opacity(opacity, expected):
    assert sparsity(torch.full((2, 1, 4, 4), opacity)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("opacity", "expected"),
    [(0.5, math.log(2)), (0.25, 0.25 * math.log(4) + 0.75 * math.log(4 / 3)), (0.0, 0.007907), (1.0, 0.007907)],
)
def test_opaqueness_is_the_binary_entropy(opacity, expected):
    assert opaqueness(torch.full((3, 3), opacity)).item() == pytest.approx(expected, abs=1e-6)


def test_opaqueness_has_finite_gradients_at_the_ends():
    opacity = torch.tensor([0.0, 1.0, 0.3], requires_grad=True)
    opaqueness(opacity).backward()
    assert opacity.grad.isfinite().all()


def test_total_variation_of_a_ramp():
    # One step of 2 along x between each of 4 planes, in one of 2 channels: 3 x 5 x 6 squares of 4.
    values = torch.zeros(4, 5, 6, 2)
    values[..., 1] = 2 * torch.arange(4.0)[:, None, None]
    assert total_variation(values).item() == pytest.approx(4 * 3 * 5 * 6 / values.numel())
    assert total_variation(torch.ones(3, 3, 3, 4)).item() == 0


@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (17, 3, 2, 1), (8, 2, 2, 3)])
def test_total_variation_equals_plain_differences_in_value_and_gradient(shape, generator):
    values = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    plain = sum(values.diff(dim=axis).square().sum() for axis in range(3)) / values.numel()
    torch.testing.assert_close(total_variation(values), plain)
    expected = torch.autograd.grad(3 * plain, values)[0]
    found = torch.autograd.grad(3 * total_variation(values), values)[0]
    torch.testing.assert_close(found, expected)
