from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.priors.mixture import ColourModel, ViewMixture, posterior_weights
from limbeck_server.priors.view_stack import ViewStack
from torch import Tensor

MEANS = torch.tensor([[0.9, 0.1, 0.2], [0.1, 0.3, 0.8]], dtype=torch.float64)
COLOURS = ColourModel(MEANS, std=0.07, background_mean=0.4, background_std=0.3)


def mixture_of(buffers: Tensor, *, parts: int = 1, dtype: torch.dtype = torch.float64) -> ViewMixture:
    return ViewMixture([ViewStack.from_buffers(part, dtype=dtype) for part in buffers.chunk(parts)], COLOURS)


def noisy_pictures(n: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 0.4 + 0.5


def dense_gaussian(buffers: Tensor, view: int, channel: int, colour_mean: float) -> tuple[Tensor, Tensor]:
    """Mean and covariance over pixels of a view's clean pictures, written out in full."""
    values = buffers[view].flatten(1).double() / (255 if buffers.dtype == torch.uint8 else 1)
    shade, fixed, opened = values[0], values[1 + channel], 1 - values[4]
    mean = fixed + colour_mean * shade + COLOURS.background_mean * opened
    covariance = COLOURS.std**2 * shade.outer(shade) + COLOURS.background_std**2 * opened.outer(opened)
    return mean, covariance


@pytest.mark.parametrize("noise_std", [0.02, 0.3, 5.0])
def test_density_and_mean_picture_are_those_of_the_dense_gaussian(random_buffers, noise_std):
    buffers = random_buffers(4, 6, 1)
    noisy = noisy_pictures(2, 6)
    mixture = mixture_of(buffers)
    explanation = mixture.explain(noisy, torch.full((2,), noise_std, dtype=torch.float64))
    for row in range(2):
        for view in range(4):
            for component in range(2):
                log_density = torch.zeros((), dtype=torch.float64)
                mean_picture = []
                for channel in range(3):
                    mean, clean = dense_gaussian(buffers, view, channel, float(MEANS[component, channel]))
                    z = noisy[row, channel].flatten()
                    seen = clean + noise_std**2 * torch.eye(36, dtype=torch.float64)
                    log_density += torch.distributions.MultivariateNormal(mean, seen).log_prob(z)
                    mean_picture.append(mean + clean @ torch.linalg.solve(seen, z - mean))
                assert explanation.log_density[row, view, component].item() == pytest.approx(
                    log_density.item(), rel=1e-9
                )
                weights = torch.zeros(1, 4, 2, dtype=torch.float64)
                weights[0, view, component] = 1
                blended = mixture.mean_pictures(explanation, torch.tensor([row]), weights, (6, 6))[0]
                torch.testing.assert_close(blended.flatten(1), torch.stack(mean_picture), rtol=0, atol=1e-9)


def test_a_view_in_the_mixture_of_several_stacks_counts_as_in_one(random_buffers):
    buffers = random_buffers(7, 8, 3)
    noisy = noisy_pictures(3, 8)
    std = torch.tensor([0.05, 0.5, 2.0])
    whole, parted = mixture_of(buffers), mixture_of(buffers, parts=3)
    one, other = whole.explain(noisy, std), parted.explain(noisy, std)
    torch.testing.assert_close(one.log_density, other.log_density, rtol=1e-12, atol=1e-9)
    weights = posterior_weights(one.log_density, 0)
    rows = torch.arange(3)
    torch.testing.assert_close(
        whole.mean_pictures(one, rows, weights, (8, 8)),
        parted.mean_pictures(other, rows, weights, (8, 8)),
        rtol=0,
        atol=1e-12,
    )


def test_bytes_and_their_fractions_are_the_same_views(random_buffers):
    buffers = random_buffers(3, 6, 4)
    noisy, std = noisy_pictures(1, 6), torch.tensor([0.2])
    torch.testing.assert_close(
        mixture_of(buffers).explain(noisy, std).log_density,
        mixture_of(buffers.double() / 255).explain(noisy, std).log_density,
        rtol=1e-12,
        atol=1e-12,
    )


def test_pixels_that_no_view_covers_are_not_stored(random_buffers):
    buffers = random_buffers(5, 16, 5)
    buffers[:, :, :, 12:] = 0
    stack = ViewStack.from_buffers(buffers)
    covered = int((buffers != 0).flatten(2).any(dim=1).any(dim=0).sum())
    assert stack.shade_alpha.shape == (10, covered)
    assert covered <= 16 * 12
    assert stack.fixed_rows.tolist() == [1, 3]


def test_views_of_zero_weight_leave_the_blend_unchanged(random_buffers):
    """Few views in use take another way through memory than many."""
    buffers = random_buffers(10, 6, 6)
    stack = ViewStack.from_buffers(buffers, dtype=torch.float64)
    weights = torch.zeros(2, 10, dtype=torch.float64)
    weights[0, 3], weights[1, 8] = 0.7, 0.2
    per_channel = weights[:, :, None] * torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    sparse = stack.blend(weights, per_channel, -per_channel)
    values = buffers.flatten(2).double() / 255
    shade, stored, alpha = values[:, 0], values[:, 1:4], values[:, 4]
    fixed = stored + 0.5 * (shade - alpha)[:, None]
    dense = torch.einsum("mv,vkp->mkp", weights, fixed) + torch.einsum("mvk,vp->mkp", per_channel, shade + alpha - 1)
    torch.testing.assert_close(sparse, dense, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dropped_mass", [0.0, 1e-7, 0.05, 0.5])
def test_dropped_views_hold_no_more_than_the_allowed_mass(dropped_mass):
    log_joint = 4 * torch.randn(3, 50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    exact = torch.softmax(log_joint.flatten(1), dim=1).view(3, 50, 4)
    weights = posterior_weights(log_joint, dropped_mass)
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(3, dtype=torch.float64))
    lost = exact.masked_fill(weights != 0, 0.0).sum(dim=(1, 2))
    assert (lost <= dropped_mass).all()
    assert (lost > 0).any() == (dropped_mass >= 0.05)


def test_a_view_that_a_caption_excludes_has_no_weight():
    log_joint = torch.full((1, 3, 2), -math.inf, dtype=torch.float64)
    log_joint[0, 1, 0] = -1e5
    weights = posterior_weights(log_joint, 1e-7)
    assert weights[0, 1, 0] == 1
    assert weights.sum() == 1


def test_buffers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"buffers must be \(views, 5, h, w\)"):
        ViewStack.from_buffers(torch.zeros(3, 4, 6, 6))
