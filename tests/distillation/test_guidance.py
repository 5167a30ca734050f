"""Guidance in an interval, and Perp-Neg: exact, in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from limbeck_server.distillation.guidance import effective_guidance, perp_neg, perpendicular
from limbeck_server.distillation.predictions import classifier_free_guidance
from torch import Tensor


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(5)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def along(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def test_the_scale_holds_inside_the_interval_and_is_1_outside() -> None:
    timesteps = torch.tensor([71, 72, 500, 813, 814])
    scales = effective_guidance(7.3, timesteps, (0.072, 0.813), 1000)
    assert scales.shape == (5, 1, 1, 1)
    assert scales.flatten().tolist() == [1.0, 7.3, 7.3, 7.3, 1.0]


def test_the_whole_interval_is_guidance_everywhere() -> None:
    assert effective_guidance(7.5, torch.tensor([0, 999]), (0.0, 1.0), 1000).flatten().tolist() == [7.5, 7.5]


@pytest.mark.parametrize("interval", [(0.6, 0.4), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)])
def test_what_is_no_interval_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="guidance interval must satisfy"):
        effective_guidance(7.5, torch.tensor([3]), interval, 1000)


def test_outside_the_interval_the_conditional_prediction_stands_alone(draw: Callable[..., Tensor]) -> None:
    conditional, unconditional = draw(2, 4, 3, 3), draw(2, 4, 3, 3)
    scales = effective_guidance(30.0, torch.tensor([100, 900]), (0.0, 0.5), 1000)
    guided = classifier_free_guidance(conditional, unconditional, scales)
    torch.testing.assert_close(guided[1], conditional[1], rtol=0, atol=1e-14)
    expected = unconditional[0] + 30.0 * (conditional[0] - unconditional[0])
    torch.testing.assert_close(guided[0], expected, rtol=0, atol=1e-13)


def test_the_perpendicular_part_is_orthogonal_sample_by_sample_and_misses_only_a_multiple(
    draw: Callable[..., Tensor],
) -> None:
    a, b = draw(3, 4, 5, 5), draw(3, 4, 5, 5)
    part = perpendicular(a, b)
    assert along(part, b).abs().max() < 1e-12
    factor = along(a, b) / along(b, b)
    torch.testing.assert_close(a - part, factor.view(3, 1, 1, 1) * b)
    # Taken once, it stays: a projection.
    torch.testing.assert_close(perpendicular(part, b), part)


def test_against_a_direction_of_zero_nothing_is_taken_away(draw: Callable[..., Tensor]) -> None:
    a, b = draw(2, 3), torch.zeros(2, 3, dtype=torch.float64)
    assert torch.equal(perpendicular(a, b), a)


def test_perpendicular_works_on_points_and_tiny_numbers() -> None:
    a, b = torch.tensor([[1.0, 1.0], [3.0, -4.0]]), torch.tensor([[1e-12, 0.0], [0.0, 2.0]])
    torch.testing.assert_close(perpendicular(a, b), torch.tensor([[0.0, 1.0], [3.0, 0.0]]))


@pytest.mark.parametrize("scale", [1.0, 7.5, 100.0])
def test_through_guidance_it_is_the_published_formula(draw: Callable[..., Tensor], scale: float) -> None:
    shape = (2, 4, 3, 3)
    conditional, unconditional, negatives = draw(*shape), draw(*shape), draw(2, *shape)
    weights = torch.tensor([[-1.5, 0.0], [-0.4, -2.0]], dtype=torch.float64)
    taken_in = perp_neg(conditional, unconditional, negatives, weights)
    guided = classifier_free_guidance(taken_in, unconditional, torch.full((2, 1, 1, 1), scale).double())
    direction = conditional - unconditional
    expected = direction.clone()
    for view in range(2):
        for k in range(2):
            e, d = (negatives[k, view] - unconditional[view]).flatten(), direction[view].flatten()
            sideways = e - (e @ d) / (d @ d) * d
            expected[view] += weights[k, view] * sideways.view(shape[1:])
    torch.testing.assert_close(guided, unconditional + scale * expected, rtol=1e-12, atol=1e-11)


def test_it_never_weakens_the_prompts_own_direction(draw: Callable[..., Tensor]) -> None:
    conditional, unconditional, negatives = draw(2, 4, 3, 3), draw(2, 4, 3, 3), draw(3, 2, 4, 3, 3)
    direction = conditional - unconditional
    taken_in = perp_neg(conditional, unconditional, negatives, torch.full((3, 2), -5.0, dtype=torch.float64))
    torch.testing.assert_close(along(taken_in - unconditional, direction), along(direction, direction))


def test_weights_of_zero_and_negatives_like_the_prompt_change_nothing(draw: Callable[..., Tensor]) -> None:
    conditional, unconditional = draw(2, 4, 3, 3), draw(2, 4, 3, 3)
    negatives = draw(2, 2, 4, 3, 3)
    assert torch.equal(perp_neg(conditional, unconditional, negatives, torch.zeros(2, 2)), conditional)
    same = conditional.expand(2, *conditional.shape)
    torch.testing.assert_close(perp_neg(conditional, unconditional, same, torch.full((2, 2), -3.0)), conditional)


def test_shapes_that_do_not_fit_are_refused(draw: Callable[..., Tensor]) -> None:
    conditional, unconditional = draw(2, 4, 3, 3), draw(2, 4, 3, 3)
    for negatives, weights in ((draw(2, 3, 4, 3, 3), draw(2, 3)), (draw(1, 2, 4, 3, 3), draw(2, 2))):
        with pytest.raises(ValueError, match="Perp-Neg needs negatives"):
            perp_neg(conditional, unconditional, negatives, weights)
