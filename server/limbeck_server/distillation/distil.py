"""One step's gradient: timesteps -> noise -> predictions -> loss -> w(t). The same for renders and for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck_server.distillation import noising
from limbeck_server.distillation.asking import Request, Subject
from limbeck_server.distillation.clipping import clamp_elements
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.observations import ROUTES
from limbeck_server.distillation.schedules import piecewise_linear
from limbeck_server.distillation.timesteps import choose_timesteps
from limbeck_server.distillation.weighting import WEIGHTINGS
from limbeck_server.priors.prior import NoiseSchedule, ParticleModel, Prior

Schedule = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class DistillationSettings:
    """How a prior's answers become a gradient. Schedules are points (share of the run, value)."""

    loss: str
    loss_parameters: Mapping[str, float | str] = field(default_factory=dict)
    """What is left out has its default."""
    guidance_scale: float
    """diffusers' convention: 1 = none."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """Shares of the prior's schedule between which it guides; elsewhere the scale is 1."""
    perp_neg: float = 0.0
    """Factor on the published weights of Perp-Neg; 0 is off."""
    timestep_min: float
    """Share of the prior's schedule."""
    timestep_max: Schedule
    timestep_schedule: str = "uniform"
    weighting: str
    gradient_clamp: Schedule | None = None
    """Largest element of the gradient; None lets everything through."""

    def all_parameters(self) -> dict[str, float | str]:
        """Return the loss's parameters, defaults where nothing else was chosen."""
        return {p.name: p.default for p in LOSSES[self.loss].parameters} | dict(self.loss_parameters)

    def timestep_bounds(self, schedule: NoiseSchedule, share: float) -> tuple[int, int]:
        """Return the lowest and the highest timestep at this share of the run, both included."""
        return noising.timestep_bounds(
            self.timestep_min, piecewise_linear(self.timestep_max, share), schedule.timesteps
        )


@dataclass(frozen=True)
class Distilled:
    """What a step came to.

    Attributes:
        gradient: (views, c, h, w) with respect to the latents, weighted; not yet divided by the number of views.
        timesteps: (views,) at which the prior was asked.
        terms: root mean squares of what the loss offers to be watched, by name; without weight.
    """

    gradient: Tensor
    timesteps: Tensor
    terms: dict[str, float]


def distil(
    prior: Prior,
    settings: DistillationSettings,
    subject: Subject,
    share: float,
    generator: torch.Generator,
    particle: ParticleModel | None = None,
) -> Distilled:
    """Return the gradient of the settings' loss at clean latents.

    Args:
        prior: what is distilled.
        settings: the loss, its parameters and schedules.
        subject: the latents and what may be said of them.
        share: of the run, 0..1.
        generator: draws timesteps, then noise, then what the loss's route needs besides.
        particle: VSD's model.
    """
    loss, parameters, latents = LOSSES[settings.loss], settings.all_parameters(), subject.latents
    bounds = settings.timestep_bounds(prior.schedule, share)
    timesteps = choose_timesteps(
        settings.timestep_schedule, *bounds, len(latents), share, prior.schedule, generator
    ).to(latents.device)
    if loss.route == "product":
        # A chain is a whole one: it starts where the schedule's noise begins, and is not cut short by where one looks.
        timesteps = torch.full_like(timesteps, bounds[1])
    noise = noising.draw_noise(latents, generator)
    request = Request(
        needed=loss.branches(timesteps.tolist(), parameters),
        timesteps=timesteps,
        noise=noise,
        guidance_scale=settings.guidance_scale,
        guidance_interval=settings.guidance_interval,
        perp_neg=settings.perp_neg,
        parameters=parameters,
        share=share,
        generator=generator,
        particle=particle,
    )
    predictions = ROUTES[loss.route](prior, subject, request)
    scale = request.scale_at(timesteps, prior.schedule, loss.unguided_scale).to(latents)
    weight = WEIGHTINGS[settings.weighting](predictions.signal_scale, predictions.noise_std)
    gradient = weight * loss.gradient(predictions, scale, **loss.own(parameters))
    if settings.gradient_clamp is not None and bool(gradient.isfinite().all()):
        # What is not finite is left as it is, so that the caller stops the run instead of going on at the limit.
        gradient = clamp_elements(gradient, piecewise_linear(settings.gradient_clamp, share))
    parts = {} if loss.terms is None else loss.terms(predictions, scale, **loss.own(parameters))
    sizes = {name: float(part.square().mean().sqrt()) for name, part in parts.items()}
    return Distilled(gradient, timesteps, sizes)
