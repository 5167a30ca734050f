"""Bounds on gradients: exact values, directions kept, nothing hidden."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.distillation.clipping import clamp_elements, clip_pixels


def test_clamping_holds_every_element_within_the_limit_and_leaves_the_others() -> None:
    gradient = torch.tensor([-3.0, -0.5, 0.0, 0.4, 0.6])
    assert clamp_elements(gradient, 0.5).tolist() == pytest.approx([-0.5, -0.5, 0.0, 0.4, 0.5])
    assert torch.equal(clamp_elements(gradient, 10.0), gradient)


def test_clamping_does_not_hide_that_a_run_has_diverged() -> None:
    gradient = torch.tensor([float("nan"), float("inf"), -float("inf"), 9.0])
    clamped = clamp_elements(gradient, 2.0)
    assert clamped.isfinite().tolist() == [False, False, False, True]
    assert float(clamped[3]) == 2.0


def test_clipping_scales_a_pixel_by_its_largest_channel_and_keeps_its_direction() -> None:
    gradient = torch.zeros(1, 3, 1, 3)
    gradient[0, :, 0, 0] = torch.tensor([0.4, -0.2, 0.1])
    gradient[0, :, 0, 1] = torch.tensor([0.05, -0.1, 0.0])
    clipped = clip_pixels(gradient, 0.1)
    torch.testing.assert_close(clipped[0, :, 0, 0], torch.tensor([0.1, -0.05, 0.025]))
    # At the limit, and at zero: untouched, to the last bit.
    assert torch.equal(clipped[0, :, 0, 1:], gradient[0, :, 0, 1:])


def test_clipping_is_the_published_factor_for_every_pixel() -> None:
    gradient = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    factor = (0.3 / gradient.abs().amax(dim=1, keepdim=True)).clamp_max(1.0)
    torch.testing.assert_close(clip_pixels(gradient, 0.3), gradient * factor)
    assert float(clip_pixels(gradient, 0.3).abs().max()) == pytest.approx(0.3)


def test_clipping_does_not_hide_that_a_run_has_diverged() -> None:
    gradient = torch.ones(1, 3, 1, 3)
    gradient[0, 0, 0, 0], gradient[0, 0, 0, 1] = float("nan"), float("inf")
    assert clip_pixels(gradient, 0.5).isfinite().all(dim=1).flatten().tolist() == [False, False, True]


def test_as_a_hook_it_bounds_what_reaches_the_renderer_and_not_what_the_prior_sees() -> None:
    colour = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    image = colour * 2.0
    image.register_hook(lambda gradient: clip_pixels(gradient, 0.1))
    (50.0 * image).sum().backward()
    torch.testing.assert_close(colour.grad, torch.full((1, 3, 2, 2), 0.2))
    assert float(image.detach().max()) == 1.0


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("clip", [clamp_elements, clip_pixels])
def test_a_limit_must_be_above_zero(clip, limit: float) -> None:
    with pytest.raises(ValueError, match="limit above 0"):
        clip(torch.ones(1, 3, 2, 2), limit)
