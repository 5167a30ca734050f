"""The loop, on one screen: cameras -> render -> predict -> gradient -> optimise. Start reading in `Trainer.step`.

Data comes in as a prior (any model behind `priors/prior.py`), a rig and settings; a trained field goes out. This file
knows nothing of messages, files or meshes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.distillation import noising
from limbeck_server.distillation.device import autocast
from limbeck_server.distillation.injection import DivergedError, inject
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.predictions import NoisePredictions
from limbeck_server.distillation.regularization import NEEDS_NORMALS, REGULARIZERS
from limbeck_server.distillation.schedules import piecewise_linear, step_schedule
from limbeck_server.distillation.weighting import WEIGHTINGS
from limbeck_server.priors.prior import Prior
from limbeck_server.scene.background import sample_background
from limbeck_server.scene.cameras import CameraRig, Views, azimuth_elevation_deg, sample_views
from limbeck_server.scene.field import FieldSettings, build_field
from limbeck_server.scene.occupancy import OccupancyGrid, OccupancySettings
from limbeck_server.scene.renderer import Rendering, RenderSettings, render
from limbeck_server.scene.shading import Shading, sample_lights

Schedule = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TrainerSettings:
    """What the loop needs to know. Schedules are points (share of the run, value)."""

    prompt: str
    negative_prompt: str
    loss: str
    loss_parameters: Mapping[str, float]
    steps: int
    guidance_scale: float
    """diffusers' convention: 1 = none."""
    views_per_step: int
    render_size: Schedule
    """Side of the rendered square in pixels; the value of the last point reached holds."""
    timestep_min: float
    """Share of the prior's schedule."""
    timestep_max: Schedule
    weighting: str
    learning_rate: float
    background: str
    shading: str
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


class Trainer:
    """A field on its way from a ball to an object: `step()` moves it, `field` is what came of it."""

    def __init__(self, prior: Prior, rig: CameraRig, settings: TrainerSettings) -> None:
        self.prior, self.rig, self.settings = prior, rig, settings
        self.loss = LOSSES[settings.loss]
        self.weight = WEIGHTINGS[settings.weighting]
        # One CPU generator draws everything, so that one seed means one result.
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.field = build_field(settings.scene, prior.device, self.generator)
        self.optimizer = torch.optim.AdamW(
            self.field.parameter_groups(settings.learning_rate),
            betas=settings.betas,
            eps=1e-15,
            weight_decay=settings.weight_decay,
        )
        self.occupancy = OccupancyGrid(OccupancySettings(bound=settings.scene.bound), prior.device)
        self.steps_done = 0

    def step(self) -> StepReport:
        """Take one optimisation step.

        Raises:
            DivergedError: a gradient or a density is no longer finite.
        """
        settings, prior, share = self.settings, self.prior, self.steps_done / self.settings.steps

        views, suffixes = sample_views(self.rig, settings.views_per_step, self.generator)
        views = views.to(prior.device)
        self.occupancy.maybe_refresh(self.field, self.steps_done, self.generator)
        self._check_densities()
        with autocast(prior.device):
            rendering = self._render(views, int(step_schedule(settings.render_size, share)), self.generator)
        latents = prior.encode_images(rendering.image)

        timesteps = noising.draw_timesteps(*self._timestep_bounds(share), len(views), self.generator).to(prior.device)
        noise = noising.draw_noise(latents, self.generator)
        predictions = self._predict(latents.detach(), noise, timesteps, views, suffixes)

        weight = self.weight(predictions.signal_scale, predictions.noise_std)
        gradient = weight * self.loss.gradient(predictions, settings.guidance_scale, **settings.loss_parameters)
        objective = inject(latents, gradient, step=self.steps_done, timestep=timesteps.tolist())
        objective = objective + self._regularize(rendering, share)

        self.optimizer.zero_grad(set_to_none=True)
        objective.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.steps_done += 1
        return StepReport(self.steps_done, float(gradient.square().mean().sqrt()), views)

    @torch.no_grad()
    def render_still(self, views: Views, size: int, background: Tensor | None = None) -> Rendering:
        """Return what the views see now, without randomness; the background (views, 3) is grey unless given."""
        if background is None:
            background = torch.full((len(views), 3), 0.5)
        return self._render(views.to(self.prior.device), size, None, background.to(self.prior.device))

    def _render(
        self, views: Views, size: int, generator: torch.Generator | None, background: Tensor | None = None
    ) -> Rendering:
        """Render as training does, where a generator is given; without one, repeatably and without lights."""
        settings, shading = self.settings, Shading()
        if background is None:
            assert generator is not None, "a random background needs a generator"
            background = sample_background(settings.background, len(views), generator).to(self.prior.device)
        if generator is not None and settings.shading != "albedo":
            shading = Shading(settings.shading, sample_lights("camera", views.positions, generator))
        return render(
            self.field,
            views,
            size,
            background,
            settings.rendering,
            generator=generator,
            occupancy=self.occupancy,
            shading=shading,
            with_normals=generator is not None and not NEEDS_NORMALS.isdisjoint(settings.regularizers),
        )

    def _check_densities(self) -> None:
        """See that the densities met at the last refresh are numbers.

        The renderer drops what is not opaque, and a NaN is not: a lost region would show as empty space for ever, and
        the gradient of what is left would be finite.
        """
        if not bool(self.occupancy.estimate.isfinite().all()):
            raise DivergedError(
                f"the scene has densities that are not finite at step {self.steps_done}. Lower the learning rate, the "
                "guidance scale or the weights of the regularisers."
            )

    def _timestep_bounds(self, share: float) -> tuple[int, int]:
        highest = piecewise_linear(self.settings.timestep_max, share)
        return noising.timestep_bounds(self.settings.timestep_min, highest, self.prior.schedule.timesteps)

    def _predict(
        self, latents: Tensor, noise: Tensor, timesteps: Tensor, views: Views, suffixes: list[str]
    ) -> NoisePredictions:
        """Ask the prior what noise it sees, in the branches that the loss needs at these timesteps."""
        settings = self.settings
        signal_scale, noise_std = noising.schedule_values(self.prior.schedule, timesteps, latents.device, latents.dtype)
        texts = {
            "conditional": [settings.prompt + suffix for suffix in self._view_suffixes(views, suffixes)],
            "unconditional": [""] * len(views),
            "negative": [settings.negative_prompt] * len(views),
        }
        needed = self.loss.branches(timesteps.tolist(), settings.loss_parameters)
        answers = self.prior.predict_noise(
            noising.add_noise(latents, noise, signal_scale, noise_std),
            timesteps,
            {branch: texts[branch] for branch in texts if branch in needed},
        )
        return NoisePredictions(
            conditional=answers["conditional"],
            unconditional=answers["unconditional"],
            negative=answers.get("negative"),
            particle=None,
            reference_noise=noise,
            timestep=timesteps,
            signal_scale=signal_scale,
            noise_std=noise_std,
        )

    def _view_suffixes(self, views: Views, suffixes: list[str]) -> list[str]:
        """A camera's own suffix where it has one; else the prior's words for where the camera stands."""
        azimuth, elevation = azimuth_elevation_deg(views)
        return [
            suffix or self.prior.view_suffix(float(a), float(e))
            for suffix, a, e in zip(suffixes, azimuth, elevation, strict=True)
        ]

    def _regularize(self, rendering: Rendering, share: float) -> Tensor:
        total = torch.zeros((), device=self.prior.device)
        for name, schedule in self.settings.regularizers.items():
            weight = piecewise_linear(schedule, share)
            if weight > 0:
                total = total + weight * REGULARIZERS[name](self.field, rendering)
        return total
