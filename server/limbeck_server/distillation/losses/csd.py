"""Classifier score distillation: the direction of the prompt alone, without the generative prior's own pull.

Source: Text-to-3D with Classifier Score Distillation (Yu et al. 2023). SDS with a large guidance scale is ruled by the
difference conditional - unconditional, the score of an implicit classifier of the prompt; CSD keeps only that. The
authors' code writes it as c conditional + u negative + n unconditional with c = 1 and c + u + n = 0, and moves u from 0
to -1 while n moves from -1 to 0. Here one number says how far that has gone: `negative_weight` is -u, and n follows.
Since the coefficients add up to 0, the noise that was added, present in every prediction alike, falls out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import DistillationLoss, LossParameter, Parameters
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = frozenset({"conditional", "unconditional", "negative"})
NEGATIVE_WEIGHT = 0.0
"""The paper's plain form: conditional - unconditional."""


def branches(timesteps: Sequence[int], parameters: Parameters) -> frozenset[str]:
    """Return the predictions needed: no negative one where it has no weight."""
    return NEEDS if float(parameters.get("negative_weight", NEGATIVE_WEIGHT)) > 0.0 else NEEDS - {"negative"}


def gradient(
    predictions: NoisePredictions, guidance_scale: float | Tensor, negative_weight: float = NEGATIVE_WEIGHT
) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: s (conditional - baseline).

    Args:
        predictions: `conditional` and `unconditional` are read, and `negative` where it has a weight.
        guidance_scale: s, a plain factor; the paper's is 1. It balances the loss against the regularisers, no more.
        negative_weight: v, 0..1, in baseline = (1 - v) unconditional + v negative.

    Raises:
        ValueError: the negative prediction has a weight and is missing.
    """
    baseline = predictions.need("unconditional")
    if negative_weight > 0.0:
        if predictions.negative is None:
            raise ValueError(
                f"CSD with a negative weight of {negative_weight:g} needs the negative prediction, and got none. Ask "
                "the prior for the branches that `branches` returns."
            )
        baseline = (1.0 - negative_weight) * baseline + negative_weight * predictions.negative
    return guidance_scale * (predictions.need("conditional") - baseline)


LOSS = DistillationLoss(
    name="csd",
    title="Classifier score distillation",
    paper="Text-to-3D with Classifier Score Distillation (Yu et al. 2023), arXiv:2310.19415",
    gradient=gradient,
    needs=NEEDS,
    own_parameters=(
        LossParameter(
            name="negative_weight",
            default=NEGATIVE_WEIGHT,
            minimum=0.0,
            maximum=1.0,
            description="How far the negative prompt takes the empty prompt's place: 0 not at all, 1 wholly.",
        ),
    ),
    narrow=branches,
    unguided_scale=0.0,
)
