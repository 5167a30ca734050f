"""What the networks answered, as plain data, and classifier-free guidance, defined once.

Nothing here imports torch at run time: the torch-free server lists the losses, and arithmetic needs no import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NoisePredictions:
    """What is known at the noisy latents z_t = signal_scale z + noise_std reference_noise; nothing carries a gradient.

    All tensors but the last three are shaped (views, c, h, w) like the latents. What the loss did not ask for is None.

    Attributes:
        reference_noise: the noise that is in z_t: drawn at random, or what DDIM inversion left there.
        conditional: the noise predicted under the prompt.
        unconditional: under the empty prompt.
        negative: under the negative prompt.
        particle: by a model of our own renders (VSD).
        reference_conditional: under the reference's prompt, at the reference latents under the same noise (DDS).
        reference_unconditional: there, under the empty prompt.
        interval: under the empty prompt, one interval earlier on the way to z_t (ISM).
        latents: z itself, clean.
        target: a sample near z (MSD).
        timestep: (views,) int64, index into the prior's schedule.
        signal_scale: (views, 1, 1, 1) alpha_t.
        noise_std: (views, 1, 1, 1) sigma_t.
    """

    reference_noise: Tensor
    timestep: Tensor
    signal_scale: Tensor
    noise_std: Tensor
    conditional: Tensor | None = None
    unconditional: Tensor | None = None
    negative: Tensor | None = None
    particle: Tensor | None = None
    reference_conditional: Tensor | None = None
    reference_unconditional: Tensor | None = None
    interval: Tensor | None = None
    latents: Tensor | None = None
    target: Tensor | None = None

    def need(self, name: str) -> Tensor:
        """Return what stands under that name.

        Raises:
            ValueError: nothing does.
        """
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise ValueError(
                f"the loss reads {name!r} at timesteps {self.timestep.tolist()}, and got none. Declare it in the "
                "loss's `needs`, so that it is asked for."
            )
        return value

    def guided(self, guidance_scale: float | Tensor) -> Tensor:
        """Return the guided noise under the prompt; see `classifier_free_guidance`."""
        return classifier_free_guidance(self.need("conditional"), self.need("unconditional"), guidance_scale)


def classifier_free_guidance(conditional: Tensor, unconditional: Tensor, guidance_scale: float | Tensor) -> Tensor:
    """Return the guided noise prediction, unconditional + s (conditional - unconditional).

    This is diffusers' convention (and NFSD's eq. 1): s = 1 is the conditional prediction, no guidance; s = 0 the
    unconditional one. The other convention, (1 + w) conditional - w unconditional (mean-shift distillation's eq. 13,
    and threestudio's SDS), counts from the conditional prediction: its w is s - 1.
    """
    return unconditional + guidance_scale * (conditional - unconditional)
