"""The contract of a prior: what the trainer may ask of a diffusion model, whatever it is made of.

A prior predicts the noise in noisy latents under a text. It may be a network (Stable Diffusion) or a closed form (the
exact prior over the known world); the trainer cannot tell which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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

    @property
    def sigmas(self) -> Tensor:
        """(timesteps,) noise_std / signal_scale, rising: the noise level of z_t / alpha_t (Karras et al. 2022)."""
        return self.noise_stds / self.signal_scales

    def nearest_timesteps(self, sigmas: Tensor) -> Tensor:
        """Return the timesteps (n,) int64 whose noise levels are nearest, as ratios, to those given (n,); 0 for 0."""
        levels = self.sigmas.log()
        middles = (levels[1:] + levels[:-1]) / 2
        return torch.searchsorted(middles, sigmas.to(levels).clamp(min=1e-12).log())

    def at(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t at timesteps (views,), each (views, 1, 1, 1), of `like`'s type and device."""
        index = timesteps.to(self.signal_scales.device)
        alpha, sigma = self.signal_scales[index].to(like), self.noise_stds[index].to(like)
        return alpha.view(-1, 1, 1, 1), sigma.view(-1, 1, 1, 1)

    def noise_from_velocity(self, velocity: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Return the noise that a predicted v means, shaped like `noisy` (views, c, h', w').

        Salimans & Ho (2022), appendix D: v = alpha eps - sigma z, so that eps = alpha v + sigma z_t.
        """
        alpha, sigma = self.at(timesteps, noisy)
        return alpha * velocity + sigma * noisy

    @staticmethod
    def from_alphas_cumprod(alphas_cumprod: Tensor) -> NoiseSchedule:
        """Return the schedule whose cumulative products of (1 - beta) are given: alpha_t = sqrt of it."""
        return NoiseSchedule(alphas_cumprod.sqrt(), (1.0 - alphas_cumprod).sqrt())

    @staticmethod
    def stable_diffusion() -> NoiseSchedule:
        """Return Stable Diffusion's schedule: 1000 betas, linear in their square roots from 0.00085 to 0.012."""
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        return NoiseSchedule.from_alphas_cumprod(torch.cumprod(1.0 - betas, dim=0))


@dataclass(frozen=True)
class ParticleSettings:
    """How a particle model is made and trained. The defaults are ProlificDreamer's (Wang et al. 2023), but the warm-up.

    Attributes:
        rank: of LoRA's factors.
        learning_rate: AdamW's.
        warm_up_steps: updates over which the learning rate rises linearly. ProlificDreamer takes 500 of its 25,000, too
            many for a short run; 0 is none.
        camera_dropout: probability 0..1 that a view's pose is zeroed in training.
        weight_decay: AdamW's.
        seed: of the start.
        recompute: forget activations and compute them again in the backward pass: training takes about a third more
            time and, of Stable Diffusion 2.1 in half precision, 0.3 instead of 1.5 GiB a view. That is no more than
            what the graph through the VAE's encoder takes, so it saves nothing where training comes after the scene's
            own backward pass.
    """

    rank: int = 4
    learning_rate: float = 1e-4
    warm_up_steps: int = 0
    camera_dropout: float = 0.1
    weight_decay: float = 0.01
    seed: int = 0
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ParticleError(
                f"the rank of the particle model's LoRA must be 1 or more, but is {self.rank}; 4 is usual"
            )
        if not 0.0 < self.learning_rate < float("inf"):
            raise ParticleError(f"the particle model's learning rate must be above 0, but is {self.learning_rate:g}")
        if not 0.0 <= self.camera_dropout <= 1.0:
            raise ParticleError(f"the camera dropout is a probability, 0 to 1, but is {self.camera_dropout:g}")
        if self.warm_up_steps < 0 or self.weight_decay < 0:
            raise ParticleError(
                "the particle model's warm-up and weight decay must not be negative, but are "
                f"{self.warm_up_steps} and {self.weight_decay:g}; 0 is none"
            )


class ParticleModel(Protocol):
    """A model of the scene's own renders, trained while the scene is (VSD); counted apart from its prior."""

    evaluations: int
    """Noise predictions made so far, counted per sample."""
    training_passes: int
    """Forward and backward passes made so far, counted per sample."""

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, texts: Sequence[str], camera_to_world: Tensor) -> Tensor:
        """Return the predicted noise, shaped like `noisy` (views, c, h', w'); never differentiable, without guidance.

        Args:
            noisy: noisy latents.
            timesteps: (views,) int64, index into the schedule.
            texts: one per view: the plain prompt, without view words.
            camera_to_world: (views, 4, 4) the cameras' poses.
        """

    def train_step(
        self, latents: Tensor, texts: Sequence[str], camera_to_world: Tensor, generator: torch.Generator
    ) -> float:
        """Take one step of its own optimiser towards the clean latents (views, c, h', w'); return the error before it.

        Raises:
            ParticleError: the error is no longer finite; nothing was changed.
        """

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """Yield all that is trained."""


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

    def view_negatives(self, azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
        """Return what a picture from there should not show, for Perp-Neg: (suffix of the prompt, weight <= 0) pairs.

        Always two, so that a batch of views stacks; a weight of 0 where there is nothing to avoid.
        """

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

    def particle_model(self, settings: ParticleSettings) -> ParticleModel:
        """Return a fresh model of our own renders that starts as this prior; the prior itself stays as it is.

        Raises:
            ParticleError: there is nothing in this prior that could be adapted.
        """


@runtime_checkable
class ClosedFormPrior(Prior, Protocol):
    """A prior that denoises exactly, at any noise level: what some methods need and no network can do."""

    def denoise_at(self, scaled: Tensor, sigmas: Tensor, texts: Sequence[str]) -> Tensor:
        """Return the expected clean latents, shaped like `scaled` (views, c, h', w') = clean + sigma noise.

        Args:
            scaled: noisy latents, in units of the clean ones: z_t / alpha_t.
            sigmas: (views,) any noise levels above 0.
            texts: one per view, or a multiple of them, as many answers: texts of view 0..n-1, then again.
        """


class PromptError(ValueError):
    """A prior does not understand a prompt. The message shows what it does understand and names the alternative."""


class ParticleError(ValueError):
    """A particle model cannot be made or trained. The message says why and what to do."""


class ModelError(ValueError):
    """A model cannot be loaded. The message is a sentence that says what to do.

    Args:
        code: `MODEL_NOT_FOUND`, `MODEL_UNSAFE` (its weights are pickles) or `MODEL_CORRUPT`.
        message: what was expected, what came, what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
