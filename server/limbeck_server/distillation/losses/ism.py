"""Interval score matching: two predictions on one deterministic way, an interval apart.

Source: LucidDreamer (Liang et al. 2023), eq. 17. The render is inverted by DDIM under the empty prompt up to timestep
s, then one step further to t = s + interval. The prompt's prediction at t is compared with the empty prompt's at s: the
noise in the render is the prior's own, so it cancels instead of averaging out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import INVERSION_FLOOR, DistillationLoss, LossParameter
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: the guided noise at t minus the noise at s.

    The authors' weight is `noise_to_signal`, times 0.1 in their configurations.

    Args:
        predictions: `conditional` and `unconditional` at t, `interval` at s.
        guidance_scale: diffusers' convention, as in the authors' code; theirs is 7.5.
    """
    return predictions.guided(guidance_scale) - predictions.need("interval")


LOSS = DistillationLoss(
    name="ism",
    title="Interval score matching",
    paper="LucidDreamer (Liang et al. 2023), arXiv:2311.11284",
    gradient=gradient,
    needs=frozenset({"conditional", "unconditional", "interval"}),
    route="interval",
    route_parameters=(
        LossParameter(
            name="interval",
            default=50.0,
            minimum=1.0,
            maximum=500.0,
            description="Timesteps between the two predictions, once warmed up.",
            whole=True,
        ),
        LossParameter(
            name="interval_start",
            default=100.0,
            minimum=1.0,
            maximum=500.0,
            description="Timesteps between them when the run begins.",
            whole=True,
        ),
        LossParameter(
            name="interval_warmup",
            default=0.3,
            minimum=0.0,
            maximum=1.0,
            description="Share of the run over which the one becomes the other.",
        ),
        LossParameter(
            name="inversion_stride",
            default=200.0,
            minimum=1.0,
            maximum=1000.0,
            description="Longest inversion step, in timesteps.",
        ),
        INVERSION_FLOOR,
    ),
)
