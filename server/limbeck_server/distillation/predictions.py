"""What the networks answered, as plain data, and classifier-free guidance, defined once.

Nothing here imports torch at run time: the torch-free server lists the losses, and arithmetic needs no import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NoisePredictions:
    """What is known at the noisy latents z_t = signal_scale z + noise_std reference_noise; nothing carries a gradient.

    All predictions are noise, shaped (views, c, h, w) like the latents.

    Attributes:
        conditional: the noise predicted under the prompt.
        unconditional: under the empty prompt.
        negative: under the negative prompt; None where the loss did not ask for it.
        particle: by a model of our own renders; None where there is no such model.
        reference_noise: the noise that was added.
        timestep: (views,) int64, index into the prior's schedule.
        signal_scale: (views, 1, 1, 1) alpha_t.
        noise_std: (views, 1, 1, 1) sigma_t.
    """

    conditional: Tensor
    unconditional: Tensor
    negative: Tensor | None
    particle: Tensor | None
    reference_noise: Tensor
    timestep: Tensor
    signal_scale: Tensor
    noise_std: Tensor


def classifier_free_guidance(conditional: Tensor, unconditional: Tensor, guidance_scale: float) -> Tensor:
    """Return the guided noise prediction, unconditional + s (conditional - unconditional).

    This is diffusers' convention (and NFSD's eq. 1): s = 1 is the conditional prediction, no guidance; s = 0 the
    unconditional one. The other convention, (1 + w) conditional - w unconditional (mean-shift distillation's eq. 13,
    and threestudio's SDS), counts from the conditional prediction: its w is s - 1.
    """
    return unconditional + guidance_scale * (conditional - unconditional)
