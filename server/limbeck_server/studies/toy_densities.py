"""Fractal, spiral and pinwheel: three densities in the plane whose denoiser is known at every noise level.

Each is a mixture of Gaussians laid along curves, so its density, its samples and its ideal denoiser are all exact,
under any amount of noise. They are those of Mean-Shift Distillation (Thamizharasan et al. 2025) section 4:

- `fractal` is class A of the branching mixture of Karras et al. (2024, "Guiding a Diffusion Model with a Bad Version
  of Itself", section 3 and appendix C), rebuilt from its published parameters and random seed. Its entropy is
  -1.35 nats.
- `spiral` and `pinwheel` are named in the paper without parameters. The choice here is ours: their widths are such that
  their entropies are near what the paper prints for DDIM, -1.39 and -1.19 nats, so that its tables can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EXTENT = 1.5
"""Everything happens in the square from -EXTENT to EXTENT."""
CHUNK = 1 << 20
"""Pairs of a point and a Gaussian held at a time: 8 MB as float64, so that they stay in a cache."""


@dataclass(frozen=True)
class PlaneMixture:
    """A mixture of k Gaussians in the plane; all tensors are float64.

    Attributes:
        log_weights: (k,), whose exponentials add up to 1.
        means: (k, 2).
        axes: (k, 2, 2): axes[:, i] is the unit vector of the i-th principal axis.
        variances: (k, 2) along these axes.
    """

    log_weights: Tensor
    means: Tensor
    axes: Tensor
    variances: Tensor

    def log_density(self, points: Tensor, sigma: float = 0.0) -> Tensor:
        """Return log p_sigma (n,), natural, at points (n, 2): the density under noise of that standard deviation."""
        level = torch.tensor(sigma, dtype=torch.float64)
        return torch.cat([torch.logsumexp(self._log_joint(z, level), dim=1) for z in self._chunks(points)])

    def denoise(self, points: Tensor, sigma: Tensor) -> Tensor:
        """Return E[y given y + sigma noise = point] (n, 2); sigma is (n,), above 0. A `trajectories.Denoiser`.

        It is quick where most points share a level.
        """
        if bool((sigma == sigma[0]).all()):
            return torch.cat([self._denoise(z, sigma[0].double()) for z in self._chunks(points)]).to(points.dtype)
        levels, which = torch.unique(sigma.double(), return_inverse=True)
        clean = torch.empty_like(points)
        for index, level in enumerate(levels):
            chosen = which == index
            parts = [self._denoise(z, level) for z in self._chunks(points[chosen])]
            clean[chosen] = torch.cat(parts).to(points.dtype)
        return clean

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return exact samples (count, 2)."""
        chosen = torch.multinomial(self.log_weights.exp(), count, replacement=True, generator=generator)
        normal = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        along_axes = normal * self.variances[chosen].sqrt()
        return self.means[chosen] + (along_axes[:, :, None] * self.axes[chosen]).sum(1)

    def _log_joint(self, points: Tensor, sigma: Tensor) -> Tensor:
        """Return log p(point, component) under noise sigma, (n, k), as one product of squares and coefficients."""
        noisy = self.variances + sigma**2
        precision = self._in_plane(1.0 / noisy)
        pull = (precision * self.means[:, None]).sum(2)
        constant = self.log_weights - math.log(2.0 * math.pi) - 0.5 * noisy.log().sum(1)
        constant = constant - 0.5 * (pull * self.means).sum(1)
        squares = torch.stack([-0.5 * precision[:, 0, 0], -precision[:, 0, 1], -0.5 * precision[:, 1, 1]])
        coefficients = torch.cat([squares, pull.T, constant[None]])
        x, y = points.double().unbind(1)
        return torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)], dim=1) @ coefficients

    def _denoise(self, points: Tensor, sigma: Tensor) -> Tensor:
        """Return the posterior mean under one noise level: each Gaussian's own, weighted by its posterior."""
        posterior = torch.softmax(self._log_joint(points, sigma), dim=1)
        gain = self._in_plane(self.variances / (self.variances + sigma**2))
        constant = self.means - (gain * self.means[:, None]).sum(2)
        mixed = posterior @ torch.cat([gain.flatten(1), constant], dim=1)
        return (mixed[:, :4].reshape(-1, 2, 2) * points.double()[:, None]).sum(2) + mixed[:, 4:]

    def _in_plane(self, values: Tensor) -> Tensor:
        """Return the matrices (k, 2, 2) that have these eigenvalues (k, 2) along the axes."""
        return ((self.axes * values[:, :, None])[:, :, :, None] * self.axes[:, :, None, :]).sum(1)

    def _chunks(self, points: Tensor) -> list[Tensor]:
        size = max(1, CHUNK // len(self.means))
        return [points[start : start + size] for start in range(0, len(points), size)]


def _along(means: Tensor, directions: Tensor, weights: Tensor, length: Tensor, width: Tensor) -> PlaneMixture:
    """Return Gaussians at `means` (k, 2), of std `length` along unit `directions` (k, 2) and `width` across."""
    across = torch.stack([-directions[:, 1], directions[:, 0]], dim=1)
    stds = torch.stack([length.expand(len(means)), width.expand(len(means))], dim=1)
    return PlaneMixture((weights / weights.sum()).log(), means, torch.stack([directions, across], dim=1), stds**2)


def _curve(points: Tensor, weights: Tensor, width: float) -> PlaneMixture:
    """Return a string of Gaussians along points (k, 2) of a curve; each is as long as its distance to the next."""
    tangent = torch.gradient(points, dim=0)[0]
    spacing = tangent.norm(dim=1)
    return _along(points, tangent / spacing[:, None], weights, spacing, torch.tensor(width, dtype=torch.float64))


def spiral() -> PlaneMixture:
    """Return an Archimedean spiral: radius 0.2 to 1.2 in one and a half turns, equally dense along its length."""
    fine = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64)
    angle, radius = 3.0 * math.pi * fine, 0.2 + fine
    curve = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    length = torch.cat([fine.new_zeros(1), (curve[1:] - curve[:-1]).norm(dim=1).cumsum(0)])
    equal = torch.linspace(0.0, float(length[-1]), 160, dtype=torch.float64)
    points = curve[torch.searchsorted(length, equal).clamp(max=len(curve) - 1)]
    return _curve(points, torch.ones(160, dtype=torch.float64), SPIRAL_WIDTH)


def pinwheel() -> PlaneMixture:
    """Return five bent arms: radius N(0.8, 0.25^2), turned by 0.6 radians at radius 1, all of one width."""
    arms = []
    for arm in range(5):
        radius = torch.linspace(0.1, 1.5, 40, dtype=torch.float64)
        angle = 2.0 * math.pi * arm / 5 + 0.6 * radius
        points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
        arms.append(_curve(points, (-0.5 * ((radius - 0.8) / 0.25) ** 2).exp() / 5.0, PINWHEEL_WIDTH))
    log_weights = torch.cat([arm.log_weights for arm in arms]) - math.log(5.0)
    joined = (torch.cat(parts) for parts in zip(*((a.means, a.axes, a.variances) for a in arms), strict=True))
    return PlaneMixture(log_weights, *joined)


SPIRAL_WIDTH = 0.0087
PINWHEEL_WIDTH = 0.0130

FRACTAL_SEED = 2
FRACTAL_ORIGIN = np.array([0.0030, 0.0325])
FRACTAL_SCALE = np.array([1.3136, 1.3844])
FRACTAL_DEPTH = 7
FRACTAL_GAUSSIANS = 8


def fractal() -> PlaneMixture:
    """Return class A of the fractal: 127 branches, each half as likely as the one it grew from, of 8 Gaussians each."""
    draws = np.random.RandomState(FRACTAL_SEED)  # the seed and the order of its draws are part of the density
    weights: list[float] = []
    means: list[NDArray[np.float64]] = []
    covariances: list[NDArray[np.float64]] = []

    def grow(depth: int, root: NDArray[np.float64], angle: float) -> None:
        if depth == FRACTAL_DEPTH:
            return
        shrink = 0.8**depth
        length = 0.292 * shrink * (1.0 + 0.2 * draws.randn())
        direction = np.array([np.cos(angle), np.sin(angle)])
        along = np.outer(direction, direction)
        relative = along + (np.eye(2) - along) * (0.2 * shrink / length) ** 2
        std = FRACTAL_SCALE * length * 0.06
        for share in np.linspace(0.07, 0.93, FRACTAL_GAUSSIANS):
            weights.append(length * 0.5**depth)
            means.append((root + share * length * direction) * FRACTAL_SCALE)
            covariances.append(relative * np.outer(std, std))
        for side in (1.0, -1.0):
            grow(depth + 1, root + length * direction, angle + side * 0.7**depth * (1.0 + 0.2 * draws.randn()))

    grow(0, FRACTAL_ORIGIN, 0.25 * np.pi)
    variances, vectors = torch.linalg.eigh(torch.from_numpy(np.stack(covariances)))
    share = torch.tensor(weights, dtype=torch.float64)
    return PlaneMixture((share / share.sum()).log(), torch.from_numpy(np.stack(means)), vectors.mT, variances)


DENSITIES: dict[str, Callable[[], PlaneMixture]] = {"fractal": fractal, "spiral": spiral, "pinwheel": pinwheel}
