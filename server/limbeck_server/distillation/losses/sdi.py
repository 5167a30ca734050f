"""Score distillation via inversion: SDS with the noise that the prior itself would have put there.

Source: Score Distillation via Reparametrized DDIM (Lukoianov et al. 2024). Instead of a random draw, the noise is what
DDIM inversion of the render arrives at. The authors' target is the denoised picture, z - x0(z_t); with
z_t = alpha z + sigma n that is exactly sigma / alpha (guided noise - n), so their objective is this gradient with the
weighting `noise_to_signal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import INVERSION_FLOOR, DistillationLoss, LossParameter
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: the guided noise minus the inverted one.

    Args:
        predictions: `conditional`, `unconditional` and `reference_noise`, which inversion has found.
        guidance_scale: diffusers' convention. The authors' 7.5 is that with Perp-Neg, as they configure it; without,
            their code counts from `conditional`, and it is 8.5 here.
    """
    return predictions.guided(guidance_scale) - predictions.reference_noise


LOSS = DistillationLoss(
    name="sdi",
    title="Score distillation via inversion",
    paper="Score Distillation via Reparametrized DDIM (Lukoianov et al. 2024), arXiv:2405.15891",
    gradient=gradient,
    needs=frozenset({"conditional", "unconditional"}),
    route="inversion",
    route_parameters=(
        LossParameter(
            name="inversion_steps",
            default=10.0,
            minimum=1.0,
            maximum=200.0,
            description="DDIM inversion steps for the whole schedule; an inversion to half of it takes half of them.",
        ),
        LossParameter(
            name="inversion_guidance",
            default=-6.5,
            minimum=-100.0,
            maximum=100.0,
            description="Guidance scale while inverting (1 = none); negative ones push away from the prompt.",
        ),
        LossParameter(
            name="inversion_eta",
            default=0.3,
            minimum=0.0,
            maximum=1.0,
            description="How much random noise each inversion step adds, as a share of DDIM's.",
        ),
        INVERSION_FLOOR,
    ),
)
