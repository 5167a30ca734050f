"""Guidance beyond one scale: where in the schedule it is on, and negative prompts that only act sideways."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck_server.distillation.noising import timestep_bounds


def effective_guidance(
    guidance_scale: float,
    timesteps: Tensor,
    interval: tuple[float, float],
    timesteps_total: int,
    unguided_scale: float = 1.0,
) -> Tensor:
    """Return each view's guidance scale (views, 1, 1, 1), float64: the given one inside the interval, none outside.

    None is 1: at scale 1 (diffusers' convention) the conditional prediction stands alone. Guidance in a limited
    interval of noise levels: Kynkaanniemi et al. 2024, arXiv:2404.07724.

    Args:
        guidance_scale: diffusers' convention, 1 = none.
        timesteps: (views,) int64.
        interval: lower and upper end as shares of the schedule, both included; (0, 1) is everywhere.
        timesteps_total: how many timesteps the schedule has.
        unguided_scale: what "none" is where the scale is a plain factor, as in CSD: 0.

    Raises:
        ValueError: the interval is not 0 <= lower <= upper <= 1.
    """
    lower, upper = interval
    if not 0.0 <= lower <= upper <= 1.0:
        raise ValueError(
            f"the guidance interval must satisfy 0 <= lower <= upper <= 1 as shares of the schedule, got {lower:g} and "
            f"{upper:g}. (0, 1) is guidance everywhere."
        )
    lowest, highest = timestep_bounds(lower, upper, timesteps_total)
    inside = (timesteps >= lowest) & (timesteps <= highest)
    # Double, so that rounding is left to who casts it to the predictions' precision.
    scales = torch.full((len(timesteps),), unguided_scale, dtype=torch.float64, device=timesteps.device)
    return scales.masked_fill(inside, guidance_scale).view(-1, 1, 1, 1)


def perpendicular(a: Tensor, b: Tensor) -> Tensor:
    """Return the part of `a` that is orthogonal to `b`, for each sample of the leading axis; `a` itself where b is 0.

    Perp-Neg (Armandpour et al. 2023, arXiv:2304.04968): a - <a, b> / <b, b> b.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    product, square = (flat_a * flat_b).sum(1), flat_b.square().sum(1)
    along = torch.where(square > 0, product / torch.where(square > 0, square, 1.0), 0.0)
    return a - along.view(-1, *(1,) * (a.ndim - 1)) * b


def perp_neg(conditional: Tensor, unconditional: Tensor, negatives: Tensor, weights: Tensor) -> Tensor:
    """Return the conditional prediction with its negative prompts taken in, shaped like it.

    It is e_c + sum over i of w_i perp(e_i - e_0; e_c - e_0). Put into classifier-free guidance, e_0 + s (it - e_0),
    this is exactly Perp-Neg's e_0 + s [(e_c - e_0) + sum of w_i perp_i] (Armandpour et al. 2023, arXiv:2304.04968); so
    every loss that reads the conditional prediction has it, and none needs to know.

    Args:
        conditional: (views, ...) e_c.
        unconditional: (views, ...) e_0.
        negatives: (k, views, ...) e_i.
        weights: (k, views), below 0 to move away from a negative prompt; 0 leaves it out.

    Raises:
        ValueError: shapes do not fit together.
    """
    if negatives.shape[1:] != conditional.shape or weights.shape != negatives.shape[:2]:
        raise ValueError(
            f"Perp-Neg needs negatives (k, views, ...) like the conditional prediction {tuple(conditional.shape)} and "
            f"weights (k, views), got {tuple(negatives.shape)} and {tuple(weights.shape)}"
        )
    direction = conditional - unconditional
    result = conditional
    for negative, weight in zip(negatives, weights.to(conditional), strict=True):
        factor = weight.view(-1, *(1,) * (conditional.ndim - 1))
        result = result + factor * perpendicular(negative - unconditional, direction)
    return result
