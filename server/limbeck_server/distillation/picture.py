"""Pictures by distillation, whole runs at a time: latents of a prompt, edits, and descents along any gradient.

What a step does stands in `picture_trainer.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.picture_trainer import (
    Descent,
    Gradient,
    PictureSettings,
    PictureStep,
    PictureTrainer,
    picture_subject,
    start_image,
)
from limbeck_server.priors.prior import Prior
from limbeck_server.scene.image import Latents

__all__ = [
    "Gradient",
    "OnStep",
    "PictureSettings",
    "PictureStep",
    "PictureTrainer",
    "descend",
    "edit_picture",
    "optimise_picture",
    "picture_subject",
    "start_image",
]

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
        limbeck_server.priors.prior.ParticleError: the loss trains a particle model, and this prior has none.
        DivergedError: a gradient is no longer finite.
    """
    draws = torch.Generator().manual_seed(settings.seed)
    module = Latents(start) if start is not None else start_image(prior, "latents", size, draws, pictures)
    trainer = PictureTrainer(prior, settings, module, prompt, draws)
    _run(trainer, settings.steps, on_step)
    return trainer.latents()


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
    trainer = PictureTrainer(prior, settings, Latents(latents), prompt, subject=subject)
    _run(trainer, settings.steps, on_step)
    return trainer.latents()


def descend(start: Tensor, gradient: Gradient, settings: PictureSettings, on_step: OnStep | None = None) -> Tensor:
    """Return where `settings.steps` steps against any gradient lead from the start latents (pictures, c, h, w).

    Raises:
        ValueError: an unknown optimiser.
        DivergedError: a gradient is no longer finite.
    """
    descent = Descent(Latents(start), gradient, settings)
    _run(descent, settings.steps, on_step)
    return descent.latents().detach()


def _run(moving: PictureTrainer | Descent, steps: int, on_step: OnStep | None) -> None:
    for _ in range(steps):
        step = moving.step()
        if on_step is not None:
            on_step(step)
