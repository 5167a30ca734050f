"""The closed form behind the exact prior: a mixture of views whose colour and background are Gaussian.

A picture of view v is x = fixed + c shade + b open per colour channel (see `view_stack`), with c ~ N(component's mean,
std^2) and b ~ N(mean, std^2), independent per channel. So the noisy picture z = x + sigma n of one view and one colour
component is Gaussian with a covariance of rank 2 plus sigma^2, and everything about it is a 2 x 2 system: the posterior
of (c, b) by Bayes, the density of z by the matrix determinant lemma. The mixture's denoiser is the mean of the views'
posterior mean pictures, weighted by their posterior probabilities: the ideal denoiser (Karras et al. 2022, eq. 57) with
the colours integrated out. All scalars are float64; only products over pixels may be float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck_server.priors.view_stack import Gram, Projections, ViewStack


@dataclass(frozen=True)
class ColourModel:
    """How main colours and backgrounds are distributed, in 0..1.

    Attributes:
        means: (components, 3) float64 mean main colour of each component.
        std: standard deviation of the main colour about it, the same in all components and channels.
        background_mean, background_std: of the background, the same in the three channels.
    """

    means: Tensor
    std: float = 0.04
    background_mean: float = 0.5
    background_std: float = 0.35


@dataclass(frozen=True)
class Explanation:
    """How well, and by which colours, every view and colour component explains n noisy pictures. All float64.

    Given a view and a component of mean colour m, the posterior mean of the main colour less 1/2 is
    `colour + colour_gain (m - 1/2)`, and that of the background less 1/2 is `background + background_gain (m - 1/2)`.

    Attributes:
        log_density: (n, views, components) log p(z | view, component).
        colour, background: (n, views, 3).
        colour_gain, background_gain: (n, views).
    """

    log_density: Tensor
    colour: Tensor
    colour_gain: Tensor
    background: Tensor
    background_gain: Tensor


class ViewMixture:
    """Stacks of views under one colour model. Views are numbered through the stacks, in their order."""

    def __init__(self, stacks: Sequence[ViewStack], colours: ColourModel) -> None:
        self.stacks = tuple(stacks)
        self.views = sum(stack.views for stack in self.stacks)
        device = self.stacks[0].support.device
        self.colours = replace(colours, means=colours.means.to(device, torch.float64))
        self._pixels = self.stacks[0].pixels
        self._gram = Gram.concatenate([stack.gram for stack in self.stacks])

    def explain(self, noisy: Tensor, noise_std: Tensor) -> Explanation:
        """Return how each view and colour component explains noisy pictures; differentiable with respect to them.

        Args:
            noisy: (n, 3, h, w) pictures in 0..1 plus noise.
            noise_std: (n,) standard deviation of that noise, above 0.
        """
        centred = noisy.flatten(2) - 0.5
        seen = Projections.concatenate([stack.project(centred) for stack in self.stacks])
        squared_norm = centred.double().square().sum(dim=(1, 2))
        return _explain(seen, squared_norm, self._gram, self.colours, noise_std.double(), self._pixels)

    def mean_pictures(self, explanation: Explanation, rows: Tensor, weights: Tensor, size: tuple[int, int]) -> Tensor:
        """Return weighted means of the posterior mean pictures, in 0..1: (m, 3, h, w) in the stacks' dtype.

        Args:
            explanation: of n noisy pictures.
            rows: (m,) int64, which of the n each mean is about.
            weights: (m, views, components) float64 posterior probabilities; each sums to 1.
            size: (h, w) of the pictures.
        """
        of_fixed = weights.sum(dim=2)
        mean_colour = weights @ (self.colours.means - 0.5)
        colour, background = (
            of_fixed[..., None] * constant[rows] + gain[rows][..., None] * mean_colour
            for constant, gain in (
                (explanation.colour, explanation.colour_gain),
                (explanation.background, explanation.background_gain),
            )
        )
        first = 0
        total: Tensor | None = None
        for stack in self.stacks:
            own = slice(first, first + stack.views)
            part = stack.blend(of_fixed[:, own], colour[:, own], background[:, own])
            total = part if total is None else total + part
            first = own.stop
        assert total is not None
        return (total + 0.5).reshape(len(total), 3, *size)


def posterior_weights(log_joint: Tensor, dropped_mass: float) -> Tensor:
    """Return posterior probabilities (m, views, components) of a log joint density, without views of no consequence.

    Args:
        log_joint: (m, views, components) log p(z, view, component), up to a constant per picture.
        dropped_mass: the least probable views are set to exactly 0 as long as they hold no more than this together;
            what is left is normalised again. 0 keeps everything.
    """
    weights = torch.softmax(log_joint.flatten(1), dim=1).view_as(log_joint)
    if dropped_mass <= 0:
        return weights
    per_view = weights.sum(dim=2)
    ascending, order = per_view.sort(dim=1)
    dropped = torch.empty_like(order, dtype=torch.bool).scatter_(1, order, ascending.cumsum(dim=1) <= dropped_mass)
    kept = weights.masked_fill(dropped[:, :, None], 0.0)
    return kept / kept.sum(dim=(1, 2), keepdim=True)


def _explain(
    seen: Projections, squared_norm: Tensor, gram: Gram, colours: ColourModel, noise_std: Tensor, pixels: int
) -> Explanation:
    """Solve the 2 x 2 systems of n pictures and all views, for a colour component at grey, then for the others."""
    noise_variance = noise_std.square()[:, None]
    colour_precision = colours.std**-2
    background_precision = colours.background_std**-2
    background_mean = colours.background_mean - 0.5
    mean = colours.means - 0.5

    # Posterior precision [[a, b], [b, d]]: Gram matrix over the noise variance, plus the priors' precisions.
    a = gram.shade_shade / noise_variance + colour_precision
    b = gram.shade_open / noise_variance
    d = gram.open_open / noise_variance + background_precision
    determinant = a * d - b.square()
    # The picture less the view's fixed part, seen along shade and open, plus what the prior means pull.
    toward_colour = (seen.shade - gram.fixed_shade) / noise_variance[..., None]
    toward_background = (seen.open - gram.fixed_open) / noise_variance[..., None]
    toward_background = toward_background + background_mean * background_precision
    a_, b_, d_, determinant_ = (term[..., None] for term in (a, b, d, determinant))
    colour = (d_ * toward_colour - b_ * toward_background) / determinant_
    background = (a_ * toward_background - b_ * toward_colour) / determinant_

    left_over = (squared_norm[:, None] - 2 * seen.fixed + gram.fixed_fixed) / noise_variance
    explained = (toward_colour * colour + toward_background * background).sum(dim=2)
    log_volume = determinant.log() - math.log(colour_precision * background_precision)
    at_grey = -0.5 * (
        3 * pixels * torch.log(2 * math.pi * noise_variance)
        + 3 * log_volume
        + left_over
        - explained
        + 3 * background_mean**2 * background_precision
    )
    # A component's mean adds a linear and a quadratic term to the log density at grey.
    curvature = (d / determinant * colour_precision - 1) * colour_precision
    log_density = at_grey[..., None] + colour_precision * (colour @ mean.T)
    log_density = log_density + 0.5 * curvature[..., None] * mean.square().sum(dim=1)
    return Explanation(
        log_density=log_density,
        colour=colour,
        colour_gain=d / determinant * colour_precision,
        background=background,
        background_gain=-b / determinant * colour_precision,
    )
