"""SDS and MSD on points in the plane, by the very functions that the trainer calls; and the descent along them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck_server.distillation.losses import msd, sds
from limbeck_server.distillation.predictions import NoisePredictions
from limbeck_server.distillation.trajectories import (
    CentreKind,
    Denoiser,
    bandwidth_at,
    centres,
    karras_sigmas,
    keep_factors,
    noise_predictor,
    sample_by_splitting,
    sample_product,
)
from limbeck_server.distillation.weighting import choose_weighting
from limbeck_server.priors.prior import NoiseSchedule

Gradient = Callable[[Tensor, float, torch.Generator], Tensor]
"""gradient(points (n, 2), bandwidth, generator) -> one draw of what a minimiser receives, (n, 2)."""

SAMPLER_STEPS = 24
START_OVER_BANDWIDTH = 40.0
"""The samplers start at this many bandwidths of noise, where nothing of a start shows any more."""
SMALLEST_SIGMA = 0.002
"""The last level before 0, well below the widths of the densities."""

SCHEDULE = NoiseSchedule.stable_diffusion()
EDM_SIGMAS = SCHEDULE.noise_stds / SCHEDULE.signal_scales


def sds_gradient(
    denoise: Denoiser,
    weighting: str,
    timesteps: tuple[int, int] = (20, 980),
    matched: bool = False,
    draws: int = 1,
) -> Gradient:
    """Return SDS's gradient: uniform t of Stable Diffusion's schedule, one for all points of a draw, w(t) by name.

    Args:
        denoise: the prior.
        weighting: a name in `weighting.WEIGHTINGS`.
        timesteps: least and greatest t, both included.
        matched: instead of drawing t, take the one whose sigma is that of the kernel, bandwidth / sqrt 2: the level at
            which the ideal denoiser is the mean shift.
        draws: of t and noise that one gradient is the mean of.
    """
    predict, weight = noise_predictor(denoise), choose_weighting(weighting)

    def draw(points: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
        if matched:
            timestep = (EDM_SIGMAS - bandwidth / 2.0**0.5).abs().argmin()
        else:
            timestep = torch.randint(timesteps[0], timesteps[1] + 1, (), generator=generator)
        every = timestep.expand(len(points))
        signal_scale, noise_std = (values[every].to(points.dtype)[:, None] for values in SCHEDULE_VALUES)
        noise = _normal(points, generator)
        sigma = noise_std / signal_scale
        seen = predict(points + sigma * noise, sigma[:, 0])
        predictions = NoisePredictions(
            reference_noise=noise,
            timestep=every,
            signal_scale=signal_scale,
            noise_std=noise_std,
            conditional=seen,
            unconditional=seen,
        )
        return weight(signal_scale, noise_std) * sds.gradient(predictions, 1.0)

    def gradient(points: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
        return torch.stack([draw(points, bandwidth, generator) for _ in range(draws)]).mean(0)

    return gradient


SCHEDULE_VALUES = (SCHEDULE.signal_scales, SCHEDULE.noise_stds)


def msd_gradient(
    denoise: Denoiser,
    sampler: Literal["splitting", "product"],
    centre: CentreKind = "mean",
    steps: int = SAMPLER_STEPS,
    draws: int = 1,
) -> Gradient:
    """Return MSD's gradient x - y, y by the paper's sampler (t = sigma^2, all levels) or by the unbiased one.

    Args:
        denoise: the prior.
        sampler: which.
        centre: of the paper's sampler.
        steps: of either, each one call of `denoise` a point; the centres by inversion cost as many again.
        draws: samples y that one gradient is the mean of (the paper's N).
    """
    predict = noise_predictor(denoise)

    def target(points: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
        sigmas = karras_sigmas(steps, START_OVER_BANDWIDTH * bandwidth, SMALLEST_SIGMA, len(points)).to(points.dtype)
        noise = _normal(points, generator)
        start = points + sigmas[0][:, None] * noise
        if sampler == "product":
            return sample_product(denoise, points, sigmas, bandwidth, start)
        pull = centres(centre, points, sigmas, noise=noise, predict=predict)
        keep = keep_factors(sigmas**2, bandwidth)
        return sample_by_splitting(predict, start, sigmas, pull, keep, torch.ones_like(sigmas, dtype=torch.bool))

    def gradient(points: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
        again = points.repeat(draws, 1)
        samples = target(again, bandwidth, generator).reshape(draws, len(points), 2).mean(0)
        return msd.gradient(_of_target(points, samples), 1.0)

    return gradient


def _of_target(points: Tensor, samples: Tensor) -> NoisePredictions:
    """Return what a loss that reads a target is handed; the levels are the sampler's own affair and stand at 0."""
    nothing = torch.zeros(len(points), 1, dtype=points.dtype)
    return NoisePredictions(
        reference_noise=torch.zeros_like(points),
        timestep=torch.zeros(len(points), dtype=torch.int64),
        signal_scale=nothing + 1.0,
        noise_std=nothing,
        latents=points,
        target=samples,
    )


def _normal(points: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(points.shape, generator=generator, dtype=points.dtype)


@dataclass(frozen=True)
class Descent:
    """How points are optimised.

    Attributes:
        optimizer: `adam`, or `plain` gradient descent.
        steps: of it.
        learning_rate: of either, held.
        bandwidth: lambda at first; it falls linearly.
        bandwidth_min: lambda at last.
    """

    optimizer: Literal["adam", "plain"]
    steps: int
    learning_rate: float
    bandwidth: float = 0.316
    bandwidth_min: float = 0.03


def descend(gradient: Gradient, points: Tensor, descent: Descent, generator: torch.Generator) -> Tensor:
    """Return where points (n, 2) are after the descent, each of them an optimisation of its own."""
    moving = points.clone().requires_grad_()
    if descent.optimizer == "adam":
        optimizer: torch.optim.Optimizer = torch.optim.Adam([moving], lr=descent.learning_rate)
    else:
        optimizer = torch.optim.SGD([moving], lr=descent.learning_rate)
    for step in range(descent.steps):
        share = step / max(descent.steps - 1, 1)
        bandwidth = bandwidth_at("linear", descent.bandwidth, descent.bandwidth_min, share)
        with torch.no_grad():
            moving.grad = gradient(moving, bandwidth, generator)
        optimizer.step()
    return moving.detach()


def grid_points(side: int, limit: float) -> Tensor:
    """Return a grid (side^2, 2) over the square from -limit to limit, row by row upwards."""
    line = torch.linspace(-limit, limit, side, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)
