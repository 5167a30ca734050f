"""A picture on its way, step by step: `distil` moves latents, pixels or a network of coordinates; no scene behind them.

The same `distil` as in the trainer, the same trick of injection; no cameras, no renderer, no regulariser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck_server.distillation.asking import Subject
from limbeck_server.distillation.distil import DistillationSettings, Distilled, distil
from limbeck_server.distillation.injection import DivergedError, inject
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.priors.prior import ParticleError, ParticleSettings, Prior
from limbeck_server.scene.image import ImageModule, build_image

OPTIMIZERS = ("adam", "sgd")

Gradient = Callable[[Tensor, float], Distilled]
"""gradient(latents (pictures, c, h, w), share of the run) -> what a step came to."""


@dataclass(frozen=True, kw_only=True)
class PictureSettings(DistillationSettings):
    """How pictures are made. Schedules are points (share of the run, value)."""

    negative_prompt: str | None = None
    """The prior's own by default."""
    steps: int
    learning_rate: float
    optimizer: str = "adam"
    """`adam`, which forgets the gradient's size, or `sgd`, which does not."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Adam's."""
    seed: int = 0


@dataclass(frozen=True)
class PictureStep:
    """What one step did.

    Attributes:
        step: how many are done, this one included.
        latents: (pictures, c, h, w) before it.
        distilled: the gradient there; for MSD with uniform weight it is latents - y.
    """

    step: int
    latents: Tensor
    distilled: Distilled

    @property
    def loss(self) -> float:
        """Root mean square of the weighted gradient."""
        return float(self.distilled.gradient.square().mean().sqrt())


class Descent:
    """Any image module moved against any gradient of its latents.

    Args:
        module: what is moved.
        gradient: what is descended.
        settings: the optimiser, its rate and the number of steps.
        encode: pictures (n, 3, s, s) in 0..1 -> latents, differentiable; of no use to a module that makes latents.

    Raises:
        ValueError: an unknown optimiser.
    """

    def __init__(
        self,
        module: ImageModule,
        gradient: Gradient,
        settings: PictureSettings,
        encode: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.module, self._gradient, self.settings, self._encode = module, gradient, settings, encode
        self._optimizer = _optimizer(module, settings)
        self.steps_done = 0

    def latents(self) -> Tensor:
        """Return the clean latents (pictures, c, h, w) of the module as it is; differentiable."""
        made: Tensor = self.module()
        if self.module.makes_latents:
            return made
        assert self._encode is not None, "a module that makes pictures needs an encoder"
        return self._encode(made)

    def step(self) -> PictureStep:
        """Take one step.

        Raises:
            DivergedError: a gradient is no longer finite.
        """
        latents = self.latents()
        before = latents.detach().clone()
        distilled = self._gradient(before, self.steps_done / self.settings.steps)
        # Each picture is a run of its own, so the mean over the pictures that `inject` takes is undone.
        objective = len(before) * inject(latents, distilled.gradient, step=self.steps_done)
        self._optimizer.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.steps_done += 1
        return PictureStep(self.steps_done, before, distilled)


class PictureTrainer:
    """Pictures of a prompt on their way: `step()` moves them, `image()` shows them.

    A loss with a particle model (VSD) trains it on the pictures as they are made; it is told no camera, all of its pose
    zero, as its own training does by chance (`ParticleSettings.camera_dropout`). Of several pictures it learns one
    distribution, so that they are ProlificDreamer's particles; with every other loss each is a run of its own.

    Args:
        prior: what is distilled.
        settings: the loss, the optimiser, the schedules and the seed.
        module: what is moved; see `limbeck_server.scene.image`.
        prompt: what to make.
        draws: of timesteps and noise, on the CPU; one of the settings' seed by default.
        subject: what the prior is told beside the latents; the prompt, the same for each picture, by default.

    Raises:
        ValueError: an unknown optimiser; or the loss edits, and the subject has no reference.
        ParticleError: the loss trains a particle model, and this prior has none.
    """

    def __init__(
        self,
        prior: Prior,
        settings: PictureSettings,
        module: ImageModule,
        prompt: str,
        draws: torch.Generator | None = None,
        subject: Subject | None = None,
    ) -> None:
        needs = LOSSES[settings.loss].needs
        if "reference" in needs and (subject is None or subject.reference is None):
            raise ValueError(f"the loss {settings.loss!r} edits a picture that exists, and there is none to begin with")
        self.prior, self.settings, self.module = prior, settings, module
        self._draws = torch.Generator().manual_seed(settings.seed) if draws is None else draws
        self._descent = Descent(module, self._distil, settings, prior.encode_images)
        with torch.no_grad():
            latents = self._descent.latents()
        if subject is None:
            subject = picture_subject(prior, latents, prompt, settings.negative_prompt)
        self.particle = None
        if "particle" in needs:
            self.particle = prior.particle_model(particle_settings(settings))
            subject = replace(subject, camera_to_world=torch.zeros(len(latents), 4, 4, device=latents.device))
        self._subject = subject

    @property
    def steps_done(self) -> int:
        """How many steps have been taken."""
        return self._descent.steps_done

    def step(self) -> PictureStep:
        """Take one step; the report's terms hold `particle`, the loss of VSD's own model, where there is one.

        Raises:
            DivergedError: a gradient is no longer finite.
        """
        step = self._descent.step()
        if self.particle is None:
            return step
        assert self._subject.camera_to_world is not None
        poses = self._subject.camera_to_world
        try:
            loss = self.particle.train_step(step.latents, self._subject.plain_texts, poses, self._draws)
        except ParticleError as error:
            raise DivergedError(str(error)) from error
        return replace(step, distilled=replace(step.distilled, terms=step.distilled.terms | {"particle": loss}))

    @torch.no_grad()
    def latents(self) -> Tensor:
        """Return the clean latents (pictures, c, h, w) as they are now; without a graph."""
        return self._descent.latents().detach()

    @torch.no_grad()
    def image(self) -> Tensor:
        """Return the pictures (pictures, 3, s, s) in 0..1 as they are now: pixels as they are, latents decoded."""
        made: Tensor = self.module()
        return self.prior.decode_latents(made) if self.module.makes_latents else made

    def _distil(self, latents: Tensor, share: float) -> Distilled:
        subject = replace(self._subject, latents=latents)
        return distil(self.prior, self.settings, subject, share, self._draws, self.particle)


def start_image(prior: Prior, kind: str, size: int, draws: torch.Generator, pictures: int = 1) -> ImageModule:
    """Return pictures at their start, as this prior wants them.

    Args:
        prior: tells the shape of its latents, and where to put things.
        kind: out of `limbeck_server.scene.image.GENERATORS`.
        size: side of the pictures in pixels.
        draws: of everything that begins at random, on the CPU.
        pictures: how many at a time.

    Raises:
        ValueError: an unknown kind.
    """
    shape = prior.encode_images(torch.zeros(1, 3, size, size, device=prior.device)).shape
    return build_image(kind, size, tuple(shape[1:]), prior.device, draws, pictures)


def picture_subject(prior: Prior, latents: Tensor, prompt: str, negative_prompt: str | None = None) -> Subject:
    """Return latents (pictures, c, h, w) with the same texts for each; they say nothing of cameras."""
    count = len(latents)
    negative = prior.default_negative_prompt if negative_prompt is None else negative_prompt
    return Subject(
        latents=latents.detach(),
        texts={
            "conditional": [prompt] * count,
            "unconditional": [""] * count,
            "negative": [negative] * count,
        },
        plain_texts=[prompt] * count,
    )


def particle_settings(settings: PictureSettings) -> ParticleSettings:
    """Return VSD's parameters as the particle model takes them."""
    parameters = settings.all_parameters()
    return ParticleSettings(
        rank=int(parameters["lora_rank"]),
        learning_rate=float(parameters["lora_learning_rate"]),
        warm_up_steps=int(parameters["lora_warmup"]),
        seed=settings.seed,
    )


def _optimizer(module: ImageModule, settings: PictureSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), lr=settings.learning_rate, betas=settings.betas)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(module.parameters(), lr=settings.learning_rate)
    raise ValueError(f"there is no optimizer {settings.optimizer!r}; there are: {', '.join(OPTIMIZERS)}")
