"""Score distillation sampling: move the render towards what the diffusion model would denoise it to.

Source: DreamFusion (Poole et al. 2022), eq. 3, without its w(t), which lives in `weighting.py`. The network's Jacobian
is left out, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.predictions import NoisePredictions, classifier_free_guidance

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = frozenset({"conditional", "unconditional"})


def gradient(predictions: NoisePredictions, guidance_scale: float) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: the guided noise minus the noise that was added.

    Args:
        predictions: `conditional`, `unconditional` and `reference_noise` are read.
        guidance_scale: diffusers' convention, 1 = none. DreamFusion's 100 is 101 here, as it counts from `conditional`.
    """
    guided = classifier_free_guidance(predictions.conditional, predictions.unconditional, guidance_scale)
    return guided - predictions.reference_noise
