"""The one table of losses. A loss is a plain function of the predictions; a new one is a file and an entry here.

Importing this package does not import torch, so that a server without torch can list what it offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck_server.distillation.losses import csd, nfsd, sds

if TYPE_CHECKING:
    from torch import Tensor

BRANCHES = frozenset({"conditional", "unconditional", "negative"})
"""The predictions that a loss may ask a prior for."""


@dataclass(frozen=True)
class LossParameter:
    """A number that a loss has besides the guidance scale; `minimum` and `maximum` are allowed values."""

    name: str
    default: float
    minimum: float
    maximum: float
    description: str


@dataclass(frozen=True)
class DistillationLoss:
    """A loss as the trainer and the catalogue see it."""

    name: str
    title: str
    paper: str
    gradient: Callable[..., Tensor]
    """`gradient(predictions, guidance_scale, **parameters)`: d loss / d latents, unweighted."""
    needs: frozenset[str]
    """All predictions that it may ask for, out of `BRANCHES`."""
    parameters: tuple[LossParameter, ...] = ()
    narrow: Callable[[Sequence[int], Mapping[str, float]], frozenset[str]] | None = None
    """Where a loss can do with less at some timesteps: what it needs there."""

    def branches(self, timesteps: Sequence[int], parameters: Mapping[str, float]) -> frozenset[str]:
        """Return the predictions needed for a batch of views at these timesteps; a prior is asked for no more."""
        return self.needs if self.narrow is None else self.narrow(timesteps, parameters)


LOSSES: dict[str, DistillationLoss] = {
    "sds": DistillationLoss(
        name="sds",
        title="Score distillation sampling",
        paper="DreamFusion: Text-to-3D using 2D Diffusion (Poole et al. 2022), arXiv:2209.14988",
        gradient=sds.gradient,
        needs=sds.NEEDS,
    ),
    "nfsd": DistillationLoss(
        name="nfsd",
        title="Noise-free score distillation",
        paper="Noise-Free Score Distillation (Katzir et al. 2023), arXiv:2310.17590",
        gradient=nfsd.gradient,
        needs=nfsd.NEEDS,
        parameters=(
            LossParameter(
                name="threshold",
                default=nfsd.THRESHOLD,
                minimum=0.0,
                maximum=1000.0,
                description="Timestep from which the negative prompt is used; below it only the empty prompt is.",
            ),
        ),
        narrow=nfsd.branches,
    ),
    "csd": DistillationLoss(
        name="csd",
        title="Classifier score distillation",
        paper="Text-to-3D with Classifier Score Distillation (Yu et al. 2023), arXiv:2310.19415",
        gradient=csd.gradient,
        needs=csd.NEEDS,
        parameters=(
            LossParameter(
                name="negative_weight",
                default=csd.NEGATIVE_WEIGHT,
                minimum=0.0,
                maximum=1.0,
                description="How far the negative prompt takes the empty prompt's place: 0 not at all, 1 wholly.",
            ),
        ),
        narrow=csd.branches,
    ),
}
