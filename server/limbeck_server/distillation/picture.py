"""Pictures by distillation: latents are moved themselves, without a scene behind them. The losses' own 2-D experiments.

The same `distil` as in the trainer, the same trick of injection; no cameras, no renderer, no regulariser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck_server.distillation.asking import Subject
from limbeck_server.distillation.distil import DistillationSettings, Distilled, distil
from limbeck_server.distillation.injection import inject
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.priors.prior import Prior

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


OnStep = Callable[[PictureStep], None]


def optimise_picture(
    prior: Prior,
    settings: PictureSettings,
    prompt: str,
    size: int,
    start: Tensor | None = None,
    on_step: OnStep | None = None,
    pictures: int = 1,
) -> Tensor:
    """Return clean latents (pictures, c, h', w') of a prompt, each moved on its own.

    Args:
        prior: what is distilled.
        settings: the loss, the optimiser, the schedules and the seed.
        prompt: what to make.
        size: side of the pictures in pixels, as the prior's encoder takes them.
        start: latents to begin with, `pictures` of them; standard normal noise by default (NFSD's 2-D experiments).
        on_step: told after each step.
        pictures: how many at a time.

    Raises:
        ValueError: the loss edits, and is `edit_picture`'s; or an unknown optimiser.
        DivergedError: a gradient is no longer finite.
    """
    if "reference" in LOSSES[settings.loss].needs:
        raise ValueError(f"the loss {settings.loss!r} edits a picture that exists; optimise_picture makes new ones")
    if "particle" in LOSSES[settings.loss].needs:
        raise ValueError(f"the loss {settings.loss!r} trains a model of many renders, and a picture has no cameras")
    generator = torch.Generator().manual_seed(settings.seed)
    if start is None:
        shape = prior.encode_images(torch.zeros(1, 3, size, size, device=prior.device)).shape
        start = torch.randn(pictures, *shape[1:], generator=generator).to(prior.device)
    subject = picture_subject(prior, start, prompt, settings.negative_prompt)
    return descend(start, _gradient(prior, settings, subject, generator), settings, on_step)


def edit_picture(
    prior: Prior,
    settings: PictureSettings,
    latents: Tensor,
    prompt: str,
    reference_prompt: str,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return latents (pictures, c, h', w') in which what the new prompt changes has changed; DDS's own experiment.

    Delta Denoising Score (Hertz et al. 2023), section 4: the latents themselves are moved, beginning where they are.

    Args:
        prior: what is distilled.
        settings: with a loss that compares with a reference, `dds`.
        latents: of the pictures as they are, (pictures, c, h', w').
        prompt: what they should show.
        reference_prompt: what they show.
        on_step: told after each step.

    Raises:
        ValueError: the loss compares with no reference; or an unknown optimiser.
        DivergedError: a gradient is no longer finite.
    """
    if "reference" not in LOSSES[settings.loss].needs:
        raise ValueError(f"an edit needs a loss that compares with a reference, such as 'dds', got {settings.loss!r}")
    subject = replace(
        picture_subject(prior, latents, prompt, settings.negative_prompt),
        reference=latents.detach(),
        reference_texts=[reference_prompt] * len(latents),
    )
    generator = torch.Generator().manual_seed(settings.seed)
    return descend(latents, _gradient(prior, settings, subject, generator), settings, on_step)


def descend(start: Tensor, gradient: Gradient, settings: PictureSettings, on_step: OnStep | None = None) -> Tensor:
    """Return where `settings.steps` steps against any gradient lead from the start latents (pictures, c, h, w).

    Raises:
        ValueError: an unknown optimiser.
        DivergedError: a gradient is no longer finite.
    """
    latents = start.detach().clone().requires_grad_(True)
    optimizer = _optimizer(latents, settings)
    for step in range(settings.steps):
        before = latents.detach().clone()
        distilled = gradient(before, step / settings.steps)
        # Each picture is a run of its own, so the mean over the pictures that `inject` takes is undone.
        objective = len(before) * inject(latents, distilled.gradient, step=step)
        optimizer.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if on_step is not None:
            on_step(PictureStep(step + 1, before, distilled))
    return latents.detach()


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


def _gradient(prior: Prior, settings: PictureSettings, subject: Subject, generator: torch.Generator) -> Gradient:
    return lambda latents, share: distil(prior, settings, replace(subject, latents=latents), share, generator)


def _optimizer(latents: Tensor, settings: PictureSettings) -> torch.optim.Optimizer:
    if settings.optimizer == "adam":
        return torch.optim.Adam([latents], lr=settings.learning_rate, betas=settings.betas)
    if settings.optimizer == "sgd":
        return torch.optim.SGD([latents], lr=settings.learning_rate)
    raise ValueError(f"there is no optimizer {settings.optimizer!r}; there are: {', '.join(OPTIMIZERS)}")
