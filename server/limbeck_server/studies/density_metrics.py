"""How near points come to a density, and how near a method's gradients come to the exact mean shift."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from limbeck_server.studies.toy_densities import PlaneMixture

NEIGHBOURS = 5
"""Improved precision and recall (Kynkäänniemi et al. 2019): a point's ball reaches to this nearest neighbour."""
MMD_STD = 0.1
"""Standard deviation of the Gaussian kernel of the maximum mean discrepancy."""
MMD_POINTS = 3000
"""Real points that it is measured on."""


@dataclass(frozen=True)
class PointScores:
    """Table 2's numbers.

    Attributes:
        nll: mean of -log p, in nats; inf is possible, nan is not.
        nll_median: its median, which a few strays do not move.
        precision: share of the points that lie among the real ones, 0..1.
        recall: share of the real ones that lie among the points, 0..1.
        mmd: maximum mean discrepancy, 0 where both are alike.
    """

    nll: float
    nll_median: float
    precision: float
    recall: float
    mmd: float


def score_points(mixture: PlaneMixture, real: Tensor, points: Tensor) -> PointScores:
    """Return how points (n, 2) compare with the density and with real samples (m, 2) of it."""
    log_density = mixture.log_density(points)
    return PointScores(
        nll=float(-log_density.mean()),
        nll_median=float(-log_density.median()),
        precision=coverage(real, points),
        recall=coverage(points, real),
        mmd=maximum_mean_discrepancy(real[:MMD_POINTS], points),
    )


def coverage(manifold: Tensor, asked: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """Return which share of `asked` (n, 2) lies in the ball about any point of `manifold` (m, 2).

    A ball's radius is the distance to the point's `neighbours`-th nearest neighbour within the manifold. Precision is
    coverage(real, made), recall coverage(made, real).
    """
    radii = cKDTree(manifold.numpy()).query(manifold.numpy(), k=neighbours + 1)[0][:, -1]
    tree = cKDTree(asked.numpy())
    covered = torch.zeros(len(asked), dtype=torch.bool)
    for inside in tree.query_ball_point(manifold.numpy(), radii):
        covered[inside] = True
    return float(covered.double().mean())


def maximum_mean_discrepancy(first: Tensor, second: Tensor, std: float = MMD_STD) -> float:
    """Return the MMD of two clouds (n, 2) and (m, 2) under a Gaussian kernel (Gretton et al. 2012, eq. 5: biased)."""

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        return float((torch.cdist(a, b) ** 2 / (-2.0 * std**2)).exp().mean())

    squared = mean_kernel(first, first) + mean_kernel(second, second) - 2.0 * mean_kernel(first, second)
    return math.sqrt(max(squared, 0.0))


@dataclass(frozen=True)
class FieldScores:
    """Table 1's numbers: a method's ascent direction against the exact mean shift, over points and draws.

    Attributes:
        cosine: median over points of the cosine between the mean draw and the mean shift.
        cosine_low: the 10th percentile of it.
        relative_error: median over points of |mean draw - mean shift| / |mean shift|.
        scaled_error: the same after the one factor for all points that fits best; only this is fair to SDS, whose
            gradient has no scale of its own.
        log_bias: natural log of the mean over points of |mean draw - mean shift|^2.
        log_variance: natural log of the mean over points of a draw's total variance.
        log_relative_variance: natural log of that over the mean of |mean draw|^2: no scale counts.
        std: square root of the mean total variance of one draw.
        draw_cosine: median over points and draws of the cosine of one single draw.
    """

    cosine: float
    cosine_low: float
    relative_error: float
    scaled_error: float
    log_bias: float
    log_variance: float
    log_relative_variance: float
    std: float
    draw_cosine: float


def score_field(draw: Callable[[], Tensor], draws: int, exact: Tensor) -> FieldScores:
    """Return how ascent directions compare with the exact ones (n, 2).

    Args:
        draw: some independent draws (any number, n, 2) for the same points; called until there are `draws` of them.
        draws: how many at least.
        exact: (n, 2).
    """
    total = torch.zeros_like(exact)
    squares = torch.zeros(len(exact), dtype=exact.dtype)
    cosines: list[Tensor] = []
    while len(cosines) < draws:
        directions = draw()
        total += directions.sum(0)
        squares += (directions**2).sum((0, 2))
        cosines += torch.cosine_similarity(directions, exact[None], dim=2)
    draws = len(cosines)
    mean = total / draws
    variance = ((squares / draws - (mean**2).sum(1)).clamp(min=0.0) * draws / max(draws - 1, 1)).mean()
    length = exact.norm(dim=1)
    factor = (mean * exact).sum() / (mean**2).sum()
    cosine = torch.cosine_similarity(mean, exact, dim=1)
    return FieldScores(
        cosine=float(cosine.median()),
        cosine_low=float(cosine.quantile(0.1)),
        relative_error=float(((mean - exact).norm(dim=1) / length).median()),
        scaled_error=float(((factor * mean - exact).norm(dim=1) / length).median()),
        log_bias=_log((mean - exact).pow(2).sum(1).mean()),
        log_variance=_log(variance),
        log_relative_variance=_log(variance / mean.pow(2).sum(1).mean()),
        std=float(variance.sqrt()),
        draw_cosine=float(torch.stack(cosines).median()),
    )


def _log(value: Tensor) -> float:
    return math.log(max(float(value), 1e-30))
