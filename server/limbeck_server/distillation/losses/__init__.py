"""The one table of losses. A loss is a plain function of the predictions; a new one is a file and a name here.

Importing this package does not import torch, so that a server without torch can list what it offers.
"""

from __future__ import annotations

from limbeck_server.distillation.losses import csd, dds, ism, msd, nfsd, sdi, sds, vsd
from limbeck_server.distillation.losses.loss import BRANCHES, ROUTES, DistillationLoss, LossParameter

__all__ = ["BRANCHES", "LOSSES", "ROUTES", "DistillationLoss", "LossParameter"]

LOSSES: dict[str, DistillationLoss] = {
    loss.name: loss for loss in (sds.LOSS, nfsd.LOSS, csd.LOSS, msd.LOSS, sdi.LOSS, ism.LOSS, vsd.LOSS, dds.LOSS)
}
