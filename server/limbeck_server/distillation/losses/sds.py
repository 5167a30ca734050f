"""Score distillation sampling: move the render towards what the diffusion model would denoise it to.

Source: DreamFusion (Poole et al. 2022), eq. 3, without its w(t), which lives in `weighting.py`. The network's Jacobian
is left out, as there. With uniform weight it is score Jacobian chaining in its variance-reduced form (Wang et al.
2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import DistillationLoss
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: the guided noise minus the noise that was added.

    Args:
        predictions: `conditional`, `unconditional` and `reference_noise` are read.
        guidance_scale: diffusers' convention, 1 = none. DreamFusion's 100 is 101 here, as it counts from `conditional`.
    """
    return predictions.guided(guidance_scale) - predictions.reference_noise


LOSS = DistillationLoss(
    name="sds",
    title="Score distillation sampling",
    paper="DreamFusion: Text-to-3D using 2D Diffusion (Poole et al. 2022), arXiv:2209.14988",
    gradient=gradient,
    needs=frozenset({"conditional", "unconditional"}),
)
