"""Variational score distillation: away from what our own renders look like, towards what the prompt asks for.

Source: ProlificDreamer (Wang et al. 2023), eq. 9. The noise that SDS subtracts is replaced by the prediction of a model
of the renders themselves, here LoRA layers on the prior's own network, trained beside the scene
(`priors/particle_model.py`). If that model knew a single render exactly it would predict the very noise that was added,
and VSD would be SDS, draw by draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import DistillationLoss, LossParameter
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: the guided noise minus the particle model's.

    Args:
        predictions: `conditional`, `unconditional` and `particle` are read.
        guidance_scale: diffusers' convention, as in the authors' code; the paper's is 7.5. The particle model has none.
    """
    return predictions.guided(guidance_scale) - predictions.need("particle")


LOSS = DistillationLoss(
    name="vsd",
    title="Variational score distillation",
    paper="ProlificDreamer (Wang et al. 2023), arXiv:2305.16213",
    gradient=gradient,
    needs=frozenset({"conditional", "unconditional", "particle"}),
    route_parameters=(
        LossParameter(
            name="lora_rank",
            default=4.0,
            minimum=1.0,
            maximum=128.0,
            description="Rank of the particle model's LoRA layers.",
            whole=True,
        ),
        LossParameter(
            name="lora_learning_rate",
            default=1e-4,
            minimum=1e-7,
            maximum=1e-1,
            description="Learning rate of the particle model.",
        ),
        LossParameter(
            name="lora_warmup",
            default=500.0,
            minimum=0.0,
            maximum=100_000.0,
            description="Steps over which that learning rate rises from 0.",
            whole=True,
        ),
    ),
    check=lambda parameters, closed_form: (
        "VSD trains a LoRA copy of the prior's own network on the renders, and the exact prior has no network; an "
        "exact model of one render would make VSD the same as SDS, draw by draw. Choose sds, or a prior that is a "
        "network."
        if closed_form
        else None
    ),
)
