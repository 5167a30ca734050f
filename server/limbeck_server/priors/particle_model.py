"""VSD's particle model: what Stable Diffusion's own UNet predicts once it has learnt our renders, as LoRA and a camera.

Variational score distillation (Wang et al., "ProlificDreamer", 2023, algorithm 2) fits a second diffusion model to the
pictures of the scene while the scene is made. It costs no second UNet: `_share` gives the same weights a second tree of
modules, and only in that tree do LoRA layers and a camera embedding stand. The prior's own tree never learns of them,
so it predicts the same bits before, during and after.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import peft
import torch
from torch import Tensor, nn
from torch.nn import functional

from limbeck_server.priors.prior import NoiseSchedule, ParticleError, ParticleSettings

LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of every attention layer, self and cross, in diffusers' names: those that ProlificDreamer adapts."""
POSE_NUMBERS = 16


class CameraEmbedding(nn.Module):
    """A camera's pose, as a vector to be added to the time embedding: two layers, of which the last starts as zero."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = nn.Linear(POSE_NUMBERS, width)
        self.last = nn.Linear(width, width)
        with torch.no_grad():
            self.first.weight.copy_(torch.randn(width, POSE_NUMBERS, generator=generator) / POSE_NUMBERS**0.5)
            for parameter in (self.first.bias, self.last.weight, self.last.bias):
                parameter.zero_()

    def forward(self, poses: Tensor) -> Tensor:
        """Return embeddings (views, width) of poses (views, 16)."""
        embedding: Tensor = self.last(functional.silu(self.first(poses)))
        return embedding


class LoraParticleModel:
    """A particle model on a frozen UNet; see `limbeck_server.priors.prior.ParticleModel`.

    Fresh, it predicts what the UNet does: LoRA's second factors and the camera embedding's last layer are zero. What is
    trained is kept in single precision at least, whatever the UNet's.

    Args:
        unet: diffusers' UNet2DConditionModel, frozen; it is read, never changed.
        embed: text -> what the text encoder makes of it, (1, tokens, width).
        schedule: the prior's.
        predicts_velocity: whether the UNet predicts v; else it predicts the noise.
        settings: rank, rates and seed.

    Raises:
        ParticleError: the UNet has no attention layers, or is already conditioned on classes.
    """

    def __init__(
        self,
        unet: nn.Module,
        embed: Callable[[str], Tensor],
        schedule: NoiseSchedule,
        predicts_velocity: bool,
        settings: ParticleSettings,
    ) -> None:
        _check_attention(unet)
        weight = next(unet.parameters())
        self.settings = settings
        self.evaluations = 0
        self.training_passes = 0
        self._device, self._dtype = weight.device, weight.dtype
        self._trained_dtype = torch.promote_types(weight.dtype, torch.float32)
        self._embed, self._schedule, self._predicts_velocity = embed, schedule, predicts_velocity
        self._unet = _adapt(_share(unet), settings)
        self._parameters = [parameter for parameter in self._unet.parameters() if parameter.requires_grad]
        for parameter in self._parameters:
            parameter.data = parameter.data.to(self._device, self._trained_dtype)
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        # Gradients pass through the UNet in its own precision, and half precision would lose the small ones.
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=weight.dtype == torch.float16)
        self._updates = 0

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained: LoRA's factors and the camera embedding."""
        return iter(self._parameters)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, texts: Sequence[str], camera_to_world: Tensor) -> Tensor:
        """Return the predicted noise, shaped like `noisy` (views, c, h', w'); without guidance, without a graph.

        Args:
            noisy: noisy latents.
            timesteps: (views,) int64, index into the schedule.
            texts: one per view: the plain prompt.
            camera_to_world: (views, 4, 4) the cameras' poses.

        Raises:
            ValueError: shapes or counts disagree.
            limbeck_server.priors.prior.PromptError: a text is too long.
        """
        poses = self._poses(noisy, texts, camera_to_world)
        answer = self._ask(noisy, timesteps, texts, poses)
        self.evaluations += len(noisy)
        return self._schedule.noise_from_velocity(answer, noisy, timesteps) if self._predicts_velocity else answer

    def train_step(
        self, latents: Tensor, texts: Sequence[str], camera_to_world: Tensor, generator: torch.Generator
    ) -> float:
        """Take one step towards predicting the noise in these latents; return the mean squared error before it.

        Noise and timesteps are drawn for the purpose, the timesteps uniformly over the whole schedule; the target is
        the noise, or v where the UNet predicts v; each view forgets its pose with the probability `camera_dropout`.

        Args:
            latents: (views, c, h', w') clean latents of the current renders.
            texts: one per view: the plain prompt.
            camera_to_world: (views, 4, 4) the cameras' poses.
            generator: draws timesteps, noise and forgotten poses, on its own device.

        Raises:
            ParticleError: the error is no longer finite; nothing was changed.
            ValueError: shapes or counts disagree.
            limbeck_server.priors.prior.PromptError: a text is too long.
        """
        clean = latents.detach()
        poses = self._poses(clean, texts, camera_to_world)
        views = len(clean)
        source: dict[str, Any] = {"generator": generator, "device": generator.device}
        timesteps = torch.randint(self._schedule.timesteps, (views,), **source).to(self._device)
        noise = torch.randn(clean.shape, dtype=torch.float32, **source).to(clean)
        kept = (torch.rand(views, 1, **source) >= self.settings.camera_dropout).to(poses)
        alpha, sigma = self._schedule.at(timesteps, clean)
        target = alpha * noise - sigma * clean if self._predicts_velocity else noise
        with torch.enable_grad():
            answer = self._ask(alpha * clean + sigma * noise, timesteps, texts, poses * kept)
            error = functional.mse_loss(answer, target)
            self.training_passes += views
            if not bool(error.isfinite()):
                raise ParticleError(
                    f"the particle model's error is not finite at its update {self._updates + 1}: the latents or its "
                    "predictions have left the range of numbers. Lower its learning rate, or the scene's."
                )
            self._scaler.scale(error).backward()  # type: ignore[no-untyped-call]
        self._update()
        return float(error.detach())

    def _update(self) -> None:
        """Take the optimiser's step at the rate that the warm-up has reached; forget the gradients, which take room."""
        warmed_up = min(1.0, (self._updates + 1) / (self.settings.warm_up_steps + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * warmed_up
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._updates += 1

    def _ask(self, noisy: Tensor, timesteps: Tensor, texts: Sequence[str], poses: Tensor) -> Tensor:
        """Return what the adapted UNet predicts, noise or v, in the precision of `noisy`."""
        answer: Tensor = self._unet(
            noisy.to(self._dtype),
            timesteps,
            encoder_hidden_states=torch.cat([self._embed(text) for text in texts]),
            class_labels=poses,
        ).sample
        return answer.to(noisy.dtype)

    def _poses(self, latents: Tensor, texts: Sequence[str], camera_to_world: Tensor) -> Tensor:
        """Return the poses (views, 16), after a look at all that must come once per view."""
        views = len(latents)
        if len(texts) != views:
            raise ValueError(f"expected one text for each of {views} views, but got {len(texts)}")
        if camera_to_world.shape != (views, 4, 4):
            raise ValueError(f"expected camera poses ({views}, 4, 4), but got {tuple(camera_to_world.shape)}")
        return camera_to_world.detach().reshape(views, POSE_NUMBERS).to(self._device, self._trained_dtype)


def _check_attention(unet: nn.Module) -> None:
    """Raise `ParticleError` unless there is something that LoRA can adapt, and room for the camera."""
    names = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear)]
    if not any(name.endswith(tuple("." + target for target in LORA_TARGETS)) for name in names):
        raise ParticleError(
            "the loss 'vsd' trains LoRA on the attention layers of the prior's UNet, and this UNet has none "
            f"({', '.join(LORA_TARGETS)}). Choose another loss, such as 'sds', or a model with attention, such as "
            "Stable Diffusion."
        )
    if getattr(unet, "class_embedding", None) is not None:
        raise ParticleError(
            "the loss 'vsd' tells the UNet the camera in place of a class, and this UNet is already conditioned on "
            "classes. Choose another loss, such as 'sds', or a text-to-image model, such as Stable Diffusion."
        )


def _share(unet: nn.Module) -> nn.Module:
    """Return a second tree of modules over the very same tensors: a copy of everything but the weights."""
    shared = {id(tensor): tensor for tensor in chain(unet.parameters(), unet.buffers())}
    return copy.deepcopy(unet, shared)


def _adapt(unet: nn.Module, settings: ParticleSettings) -> nn.Module:
    """Put LoRA and the camera embedding into the tree; they alone require gradients. All draws come from the seed."""
    generator = torch.Generator().manual_seed(settings.seed)
    # alpha = rank: LoRA's product is added as it is.
    config = peft.LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=list(LORA_TARGETS))
    with torch.random.fork_rng(devices=[]):  # Libraries draw starts of their own from everybody's generator.
        unet = peft.inject_adapter_in_model(config, unet)
        camera = CameraEmbedding(unet.time_embedding.linear_2.out_features, generator)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "lora_A" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / settings.rank)
    # diffusers adds the class embedding to the time embedding, and a text-to-image UNet has none of its own.
    unet.class_embedding = camera
    if settings.recompute:
        unet.enable_gradient_checkpointing()  # type: ignore[operator]
    return unet.eval()
