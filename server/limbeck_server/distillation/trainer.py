"""The loop, on one screen: cameras -> render -> predict -> gradient -> optimise. Start reading in `Trainer.step`.

Data comes in as a prior (any model behind `priors/prior.py`), a rig and settings; a trained field goes out. This file
knows nothing of messages, files or meshes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck_server.distillation.asking import Subject
from limbeck_server.distillation.clipping import clip_pixels
from limbeck_server.distillation.distil import DistillationSettings, Schedule, distil
from limbeck_server.distillation.injection import DivergedError, inject
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.regularization import NEEDS_NORMALS, REGULARIZERS
from limbeck_server.distillation.schedules import piecewise_linear, step_schedule
from limbeck_server.distillation.stage import Stage, StageSettings
from limbeck_server.priors.prior import ParticleError, ParticleSettings, Prior
from limbeck_server.scene.cameras import CameraRig, Views, azimuth_elevation_deg, sample_views
from limbeck_server.scene.field import Field, FieldSettings, build_field
from limbeck_server.scene.renderer import Rendering, RenderSettings


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(DistillationSettings):
    """What the loop needs to know. Schedules are points (share of the run, value)."""

    prompt: str
    negative_prompt: str
    start_prompt: str = ""
    """What the field that a run starts from was made of; DDS's reference."""
    steps: int
    views_per_step: int
    render_size: Schedule
    """Side of the rendered square in pixels; the value of the last point reached holds."""
    pixel_clip: float | None = None
    """Largest channel of a pixel's gradient; None lets everything through."""
    learning_rate: float
    background: str
    shading: str
    albedo_until: float = 0.0
    """Share of the run before `mixed` shading begins."""
    lit_share: float = 0.75
    textureless_share: float = 0.5
    regularizers: Mapping[str, Schedule]
    scene: FieldSettings
    rendering: RenderSettings
    seed: int
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0


@dataclass(frozen=True)
class StepReport:
    """What one step did."""

    step: int
    loss: float
    """Root mean square of the weighted gradient over the latents."""
    views: Views
    """The cameras that were drawn for it."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """The loss's `terms`, as root mean squares without weight, and `particle`, the loss of VSD's own model."""


class Trainer:
    """A field on its way from a ball to an object: `step()` moves it, `field` is what came of it.

    Args:
        prior: what is distilled.
        rig: where cameras may stand.
        settings: everything else.
        start: a finished field to begin with, instead of a ball. It is copied, and kept: DDS compares with it.
    """

    def __init__(self, prior: Prior, rig: CameraRig, settings: TrainerSettings, start: Field | None = None) -> None:
        self.prior, self.rig, self.settings = prior, rig, settings
        # One CPU generator draws everything, so that one seed means one result.
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.field = build_field(settings.scene, prior.device, self.generator) if start is None else _copy(start)
        self.stage = Stage(self.field, _stage_settings(settings), prior.device, self.generator)
        self.reference = self._reference_stage(start) if "reference" in LOSSES[settings.loss].needs else None
        self.particle = (
            prior.particle_model(_particle_settings(settings)) if "particle" in LOSSES[settings.loss].needs else None
        )
        self.optimizer = torch.optim.AdamW(
            self.stage.parameter_groups(settings.learning_rate),
            betas=settings.betas,
            eps=1e-15,
            weight_decay=settings.weight_decay,
        )
        self.steps_done = 0

    def step(self) -> StepReport:
        """Take one optimisation step.

        Raises:
            DivergedError: a gradient or a density is no longer finite.
        """
        settings, prior, share = self.settings, self.prior, self.steps_done / self.settings.steps

        views, suffixes = sample_views(self.rig, settings.views_per_step, self.generator)
        views = views.to(prior.device)
        self.stage.refresh(self.steps_done, self.generator)
        drawn = self.generator.get_state()
        rendering = self._render(self.stage, views, share, self.generator)
        if settings.pixel_clip is not None:
            limit = settings.pixel_clip
            rendering.image.register_hook(lambda gradient: clip_pixels(gradient, limit))  # type: ignore[no-untyped-call]
        latents = prior.encode_images(rendering.image)

        subject = self._subject(latents.detach(), views, suffixes, self._reference_latents(views, share, drawn))
        distilled = distil(prior, settings, subject, share, self.generator, self.particle)
        timesteps = distilled.timesteps.tolist()
        objective = inject(latents, distilled.gradient, step=self.steps_done, timestep=timesteps)
        objective = objective + self._regularize(rendering, share)

        self.optimizer.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        terms = distilled.terms | self._train_particle(subject)
        self.steps_done += 1
        return StepReport(self.steps_done, float(distilled.gradient.square().mean().sqrt()), views, terms)

    def render_still(self, views: Views, size: int, background: Tensor | None = None) -> Rendering:
        """Return what the views see now, without randomness; the background (views, 3) is grey unless given."""
        return self.stage.render_still(views, size, background)

    def _render(self, stage: Stage, views: Views, share: float, generator: torch.Generator) -> Rendering:
        size = int(step_schedule(self.settings.render_size, share))
        with_normals = not NEEDS_NORMALS.isdisjoint(self.settings.regularizers)
        return stage.render(views, size, share, generator, with_normals)

    # --- what the prior is shown and told -----------------------------------------------------------------------------

    def _subject(self, latents: Tensor, views: Views, suffixes: list[str], reference: Tensor | None) -> Subject:
        settings, count = self.settings, len(views)
        azimuths, elevations = (angles.tolist() for angles in azimuth_elevation_deg(views))
        # A camera's own suffix where it has one; else the prior's words for where the camera stands.
        seen = [
            suffix or self.prior.view_suffix(azimuth, elevation)
            for suffix, azimuth, elevation in zip(suffixes, azimuths, elevations, strict=True)
        ]
        negatives = [self.prior.view_negatives(*angles) for angles in zip(azimuths, elevations, strict=True)]
        if not settings.perp_neg:
            negatives = []
        return Subject(
            latents=latents,
            texts={
                "conditional": [settings.prompt + suffix for suffix in seen],
                "unconditional": [""] * count,
                "negative": [settings.negative_prompt] * count,
            },
            plain_texts=[settings.prompt] * count,
            opposites=_opposites(settings.prompt, negatives),
            reference=reference,
            reference_texts=[settings.start_prompt + suffix for suffix in seen],
            reference_opposites=_opposites(settings.start_prompt, negatives),
            camera_to_world=views.camera_to_world,
        )

    def _reference_stage(self, start: Field | None) -> Stage:
        """The start, frozen, to be seen by every camera as the field is.

        Raises:
            ValueError: there is no start.
        """
        if start is None:
            raise ValueError(
                f"the loss {self.settings.loss!r} edits something that exists, and no field was given to start from"
            )
        return self.stage.beside(_copy(start).requires_grad_(False))

    def _reference_latents(self, views: Views, share: float, drawn: Tensor) -> Tensor | None:
        """What the same cameras see of the start, under the very background, light and jitter of this step."""
        if self.reference is None:
            return None
        twin = torch.Generator()
        twin.set_state(drawn)
        with torch.no_grad():
            return self.prior.encode_images(self._render(self.reference, views, share, twin).image)

    def _train_particle(self, subject: Subject) -> dict[str, float]:
        if self.particle is None:
            return {}
        assert subject.camera_to_world is not None
        poses = subject.camera_to_world
        try:
            loss = self.particle.train_step(subject.latents, subject.plain_texts, poses, self.generator)
        except ParticleError as error:
            raise DivergedError(str(error)) from error
        return {"particle": loss}

    def _regularize(self, rendering: Rendering, share: float) -> Tensor:
        total = torch.zeros((), device=self.prior.device)
        for name, schedule in self.settings.regularizers.items():
            weight = piecewise_linear(schedule, share)
            if weight > 0:
                total = total + weight * REGULARIZERS[name](self.field, rendering)
        return total


def _opposites(prompt: str, negatives: Sequence[Sequence[tuple[str, float]]]) -> list[tuple[list[str], list[float]]]:
    """Turn each view's pairs of view words and weight into Perp-Neg's texts and weights, by number of the pair."""
    return [
        ([prompt + words for words, _ in row], [weight for _, weight in row]) for row in zip(*negatives, strict=True)
    ]


def _copy(start: Field) -> Field:
    return copy.deepcopy(start).requires_grad_(True)


def _stage_settings(settings: TrainerSettings) -> StageSettings:
    names = ("rendering", "background", "shading", "albedo_until", "lit_share", "textureless_share")
    return StageSettings(**{name: getattr(settings, name) for name in names})


def _particle_settings(settings: TrainerSettings) -> ParticleSettings:
    parameters = settings.all_parameters()
    return ParticleSettings(
        rank=int(parameters["lora_rank"]),
        learning_rate=float(parameters["lora_learning_rate"]),
        warm_up_steps=int(parameters["lora_warmup"]),
        seed=settings.seed,
    )
