"""Delta denoising score: change what a new prompt changes, and nothing else.

Source: Delta Denoising Score (Hertz et al. 2023), eq. 3. What is wrong with SDS's direction is wrong for a reference
too that already fits its own prompt; the difference of the two, under the same noise at the same timestep, is the edit.
Its zero is "no change", so this edits what exists, and makes nothing from scratch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import DistillationLoss
from limbeck_server.distillation.predictions import NoisePredictions, classifier_free_guidance

if TYPE_CHECKING:
    from torch import Tensor


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: guided noise minus the reference's guided noise.

    Args:
        predictions: `conditional` and `unconditional` at the latents, `reference_conditional` and
            `reference_unconditional` at the reference, under the same noise.
        guidance_scale: diffusers' convention, the same for both; the paper's is 7.5.
    """
    reference = classifier_free_guidance(
        predictions.need("reference_conditional"), predictions.need("reference_unconditional"), guidance_scale
    )
    return predictions.guided(guidance_scale) - reference


LOSS = DistillationLoss(
    name="dds",
    title="Delta denoising score (edits)",
    paper="Delta Denoising Score (Hertz et al. 2023), arXiv:2304.07090",
    gradient=gradient,
    needs=frozenset({"conditional", "unconditional", "reference"}),
    route="paired",
)
