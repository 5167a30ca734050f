"""The contract of a prior: what the trainer may ask of a diffusion model, whatever it is made of.

A prior predicts the noise in noisy latents under a text. It may be a network (Stable Diffusion) or a closed form (the
exact prior over the known world); the trainer cannot tell which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """A variance-preserving diffusion: z_t = signal_scale(t) z + noise_std(t) eps.

    Attributes:
        signal_scales: (timesteps,) alpha_t.
        noise_stds: (timesteps,) sigma_t, with alpha_t^2 + sigma_t^2 = 1.
    """

    signal_scales: Tensor
    noise_stds: Tensor

    @property
    def timesteps(self) -> int:
        """How many timesteps the diffusion has."""
        return self.signal_scales.shape[0]

    @staticmethod
    def from_alphas_cumprod(alphas_cumprod: Tensor) -> NoiseSchedule:
        """Return the schedule whose cumulative products of (1 - beta) are given: alpha_t = sqrt of it."""
        return NoiseSchedule(alphas_cumprod.sqrt(), (1.0 - alphas_cumprod).sqrt())

    @staticmethod
    def stable_diffusion() -> NoiseSchedule:
        """Return Stable Diffusion's schedule: 1000 betas, linear in their square roots from 0.00085 to 0.012."""
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        return NoiseSchedule.from_alphas_cumprod(torch.cumprod(1.0 - betas, dim=0))


class Prior(Protocol):
    """What every prior offers. Tensors are on `device`; the trainer moves nothing between devices itself."""

    name: str
    schedule: NoiseSchedule
    device: torch.device
    evaluations: int
    """Noise predictions made so far, counted per sample: a batch of 2 counts 2."""
    shaded: bool
    """Whether its pictures carry their own shading, so that the scene should render plain albedo."""
    default_negative_prompt: str

    def check_prompt(self, text: str) -> None:
        """Raise `limbeck_server.priors.prior.PromptError` unless the prior understands the text."""

    def view_suffix(self, azimuth_deg: float, elevation_deg: float) -> str:
        """Return what a prompt says of a camera that stands there, such as ", front view, seen from above"."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Return clean latents (views, c, h', w') of pictures (views, 3, h, w) in 0..1; differentiable."""

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pictures (views, 3, h, w) in 0..1 of clean latents; not differentiable."""

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        """Return, for every branch of `prompts`, the predicted noise, shaped like `noisy`; never differentiable.

        Args:
            noisy: (views, c, h', w') noisy latents.
            timesteps: (views,) int64, index into the schedule.
            prompts: branch name (`conditional`, `unconditional`, `negative`) -> one text per view. The empty string is
                the empty prompt. All branches are answered in one batched call.
        """


class PromptError(ValueError):
    """A prior does not understand a prompt. The message shows what it does understand and names the alternative."""


class ModelError(ValueError):
    """A model cannot be loaded. The message is a sentence that says what to do.

    Args:
        code: `MODEL_NOT_FOUND`, `MODEL_UNSAFE` (its weights are pickles) or `MODEL_CORRUPT`.
        message: what was expected, what came, what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
