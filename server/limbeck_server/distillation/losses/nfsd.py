"""Noise-free score distillation: SDS without the noise that its prediction leaves behind.

Source: Noise-Free Score Distillation (Katzir et al. 2023). The unconditional prediction is read as a correction
towards the domain of real pictures plus the noise that was added, delta_D + delta_N. SDS subtracts the true noise and
keeps what is left of delta_N; NFSD keeps only delta_D and the direction of the prompt,

    gradient = delta_D + s (conditional - unconditional).

delta_D cannot be had by itself. Below the threshold delta_N is taken to be small, and delta_D is `unconditional`. From
the threshold on, a negative prompt that describes bad pictures stands in for "outside the domain": delta_D is
`unconditional - negative`. The authors published no code; the two branches, their positive sign and the threshold
follow the paper. No noise is subtracted anywhere.

`unconditional` keeps the size of a noise prediction at every t, so the branch below the threshold is small only through
a weight such as sigma^2 (`weighting.py`); with a uniform weight it injects plain noise. `terms` shows both sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import DistillationLoss, LossParameter, Parameters
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = frozenset({"conditional", "unconditional", "negative"})
THRESHOLD = 200.0
"""The paper's timestep, of 1000, from which the negative prompt is used."""


def branches(timesteps: Sequence[int], parameters: Parameters) -> frozenset[str]:
    """Return the predictions needed: no negative one when every view's timestep is below the threshold."""
    threshold = float(parameters.get("threshold", THRESHOLD))
    if all(timestep < threshold for timestep in timesteps):
        return NEEDS - {"negative"}
    return NEEDS


def terms(
    predictions: NoisePredictions, guidance_scale: float | Tensor, threshold: float = THRESHOLD
) -> dict[str, Tensor]:
    """Return the two parts whose sum is the gradient: `domain`, delta_D, and `condition`, s delta_C.

    For the arguments and errors see `gradient`.
    """
    unconditional = predictions.need("unconditional")
    late = predictions.timestep >= threshold
    if predictions.negative is not None:
        # A view below the threshold takes `unconditional` itself; its negative prediction has no influence at all.
        chosen = late.view_as(predictions.signal_scale)
        domain = (unconditional - predictions.negative).where(chosen, unconditional)
    elif not bool(late.any()):
        domain = unconditional
    else:
        raise ValueError(
            f"NFSD needs the negative prediction at timesteps from {threshold:g} on, and got none for timesteps "
            f"{predictions.timestep.tolist()}. Ask the prior for the branches that `branches` returns."
        )
    return {"domain": domain, "condition": guidance_scale * (predictions.need("conditional") - unconditional)}


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: delta_D + s (conditional - unconditional).

    Args:
        predictions: `conditional`, `unconditional`, and `negative` where any view's timestep has reached the threshold.
        guidance_scale: s, diffusers' convention (1 = none); the paper's is 7.5.
        threshold: timestep, 0..1000, from which delta_D takes the negative prediction. Each view takes its own branch.

    Raises:
        ValueError: the negative prediction is missing where it is needed.
    """
    parts = terms(predictions, guidance_scale, threshold)
    return parts["domain"] + parts["condition"]


LOSS = DistillationLoss(
    name="nfsd",
    title="Noise-free score distillation",
    paper="Noise-Free Score Distillation (Katzir et al. 2023), arXiv:2310.17590",
    gradient=gradient,
    needs=NEEDS,
    own_parameters=(
        LossParameter(
            name="threshold",
            default=THRESHOLD,
            minimum=0.0,
            maximum=1000.0,
            description="Timestep from which the negative prompt is used; below it only the empty prompt is.",
        ),
    ),
    narrow=branches,
    terms=terms,
)
