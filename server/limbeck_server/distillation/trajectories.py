"""Paths through noise: DDIM down and up, and mean-shift distillation's two samplers. Mathematics only.

Variables are those of EDM (Karras et al. 2022): scaled = z_t / alpha_t = clean + sigma noise, with
sigma = noise_std / signal_scale. In them a variance-preserving DDIM step is a plain Euler step. The leading axis is the
view, and each view has its own levels; any shape may follow, so pictures (views, c, h, w) and points (views, 2) are
alike. Levels and times are (steps + 1, views).

Mean-shift distillation (MSD: Mean-Shift Distillation for Diffusion Mode Seeking, Thamizharasan et al. 2025,
arXiv:2502.15989) pulls a picture x towards a sample y of the product p(y) K(x - y), with the kernel
K(r) = exp(-r^2 / lambda^2) of bandwidth lambda: a Gaussian of variance lambda^2 / 2 per axis. What differs from the
printed paper, and why:

- The kernel's score at z is +2 (x - z) / lambda^2; eq. 9 prints the other sign, which pushes away from x.
- In noise form that is -2 sigma (x - z) / lambda^2; eq. 12 lacks the 2 and the sigma. The factor of eqs. 14 and 15,
  exp((t_{i+1} - t_i) / lambda^2), is exactly the kernel's own flow if and only if t = sigma^2.
- y - x ascends the density. What minimises receives x - y, the gradient of |x - y|^2 / 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from limbeck_server.distillation.noising import draw_noise

Predictor = Callable[[Tensor, Tensor], Tensor]
"""predict(scaled (views, ...), sigma (views,)) -> the noise in it, shaped alike."""
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""denoise(scaled (views, ...), sigma (views,)) -> the expected clean picture, shaped alike."""
CentreKind = Literal["inversion", "shared_noise", "mean"]
BandwidthSchedule = Literal["linear", "geometric"]

SMALLEST_SIGMA = 1e-6
"""Below this, noise cannot be told from rounding: `noise_predictor` asks here instead."""


def per_view(values: Tensor, like: Tensor) -> Tensor:
    """Return values (views,) shaped (views, 1, ..., 1), so that they multiply `like` (views, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def noise_predictor(denoise: Denoiser) -> Predictor:
    """Return the predictor of a denoiser: noise = (scaled - denoise(scaled, sigma)) / sigma.

    At sigma = 0, where the noise is 0 / 0, it answers for `SMALLEST_SIGMA`.
    """

    def predict(scaled: Tensor, sigma: Tensor) -> Tensor:
        seen = sigma.clamp(min=SMALLEST_SIGMA)
        return (scaled - denoise(scaled, seen)) / per_view(seen, scaled)

    return predict


def ddim_step(scaled: Tensor, noise: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Return the deterministic DDIM step (Song et al. 2020, eq. 12 with sigma_t = 0) from sigma to sigma_next.

    It is scaled + (sigma_next - sigma) noise: the probability flow d scaled / d sigma = noise (Karras et al. 2022,
    eq. 1), one Euler step; up (inversion) as well as down.

    Args:
        scaled: (views, ...) at noise level sigma.
        noise: (views, ...) predicted there.
        sigma: (views,).
        sigma_next: (views,).
    """
    return scaled + per_view(sigma_next - sigma, scaled) * noise


def sample(predict: Predictor, start: Tensor, sigmas: Tensor) -> Tensor:
    """Return (views, ...) at the last level, by DDIM down the levels.

    Args:
        predict: asked at every level but the last.
        start: (views, ...) at sigmas[0], such as sigmas[0] * noise.
        sigmas: (steps + 1, views), falling; the last is 0 for a clean sample.
    """
    scaled = start
    for sigma, sigma_next in pairwise(sigmas):
        scaled = ddim_step(scaled, predict(scaled, sigma), sigma, sigma_next)
    return scaled


def invert(
    predict: Predictor, clean: Tensor, sigmas: Tensor, eta: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """Return the whole trajectory (steps + 1, views, ...) that DDIM takes from a clean picture up the levels.

    Each step asks `predict` where it stands, so the first call is at sigmas[0], often 0: a network's predictor answers
    there for its smallest timestep, `noise_predictor` for its smallest sigma.

    Args:
        predict: asked at every level but the last.
        clean: (views, ...), what stands at sigmas[0].
        sigmas: (steps + 1, views), rising from 0 (or from the smallest level that the predictor knows).
        eta: noise added after each step, eta times `ddim_noise_std`, on top of the whole direction term. This is SDI's
            injection (Lukoianov et al. 2024: eta = 0.3), not DDIM's eta, which takes from the direction what it adds.
        generator: source of that noise; needed where eta is not 0.

    Raises:
        ValueError: eta is not 0 and there is no generator.
    """
    if eta and generator is None:
        raise ValueError(f"DDIM inversion with eta = {eta:g} draws noise. Hand it a torch.Generator.")
    trajectory = [clean]
    for sigma, sigma_next in pairwise(sigmas):
        scaled = ddim_step(trajectory[-1], predict(trajectory[-1], sigma), sigma, sigma_next)
        if eta and generator is not None:
            drawn = draw_noise(clean, generator)
            scaled = scaled + eta * per_view(ddim_noise_std(sigma, sigma_next), scaled) * drawn
        trajectory.append(scaled)
    return torch.stack(trajectory)


def ddim_noise_std(lower: Tensor, upper: Tensor) -> Tensor:
    """Return DDIM's own noise between two levels (Song et al. 2020, eq. 16 with eta = 1), seen at the upper one.

    With abar = 1 / (1 + sigma^2), (1 - abar_lower) / (1 - abar_upper) * (1 - abar_upper / abar_lower) is a variance in
    z_t; divided by abar_upper it is one in scaled variables. It is 0 where the lower level is 0.
    """
    share = lower / upper.clamp(min=SMALLEST_SIGMA)
    return share * ((upper**2 - lower**2).clamp(min=0.0) * (1.0 + upper**2) / (1.0 + lower**2)).sqrt()


def karras_sigmas(steps: int, maximum: float, minimum: float, views: int, rho: float = 7.0) -> Tensor:
    """Return levels (steps + 1, views) in float64: `steps` falling from maximum to minimum, dense below, and then 0.

    Source: Karras et al. 2022, eq. 5.
    """
    ends = maximum ** (1.0 / rho), minimum ** (1.0 / rho)
    levels = torch.linspace(*ends, steps, dtype=torch.float64) ** rho
    return torch.cat([levels, levels.new_zeros(1)])[:, None].expand(-1, views).contiguous()


# --- mean-shift distillation: the paper's sampler, by splitting -------------------------------------------------------


def keep_factors(times: Tensor, bandwidth: float) -> Tensor:
    """Return how much of the distance to its centre each step leaves, (steps, views): exp((t_{i+1} - t_i) / lambda^2).

    Source: MSD, eqs. 14 and 15; the step falls, so every factor is in 0..1.

    Args:
        times: (steps + 1, views), falling. t = sigma^2 is the exact reading: lambda is a distance between pictures.
            t = the timestep's index, 0..999, is the reading that fits the paper's Fig. 6: lambda is a bare number,
            and 100 to 3 is where it acts.
        bandwidth: lambda.
    """
    return ((times[1:] - times[:-1]) / bandwidth**2).exp()


def centres(
    kind: CentreKind, clean: Tensor, sigmas: Tensor, noise: Tensor | None = None, predict: Predictor | None = None
) -> Tensor:
    """Return what the kernel pulls to at every level, (steps + 1, views, ...).

    Args:
        kind: `inversion`, the DDIM inversion of the picture (the paper's choice); `shared_noise`, the picture under the
            noise that the chain starts from, clean + sigma noise; `mean`, the picture itself at every level.
        clean: (views, ...) the picture x.
        sigmas: (steps + 1, views), falling, as for `sample_by_splitting`.
        noise: (views, ...), of unit variance, for `shared_noise`.
        predict: for `inversion`.

    Raises:
        ValueError: what the kind needs is missing.
    """
    if kind == "mean":
        return clean.expand(len(sigmas), *clean.shape)
    if kind == "shared_noise" and noise is not None:
        return torch.stack([clean + per_view(sigma, clean) * noise for sigma in sigmas])
    if kind == "inversion" and predict is not None:
        return invert(predict, clean, sigmas.flip(0)).flip(0)
    raise ValueError(f"Centres of the kind {kind!r} need `noise` (shared_noise) or `predict` (inversion).")


def sample_by_splitting(
    predict: Predictor, start: Tensor, sigmas: Tensor, centre: Tensor, keep: Tensor, active: Tensor
) -> Tensor:
    """Return a sample y (views, ...) near x by the paper's sampler: a DDIM step, then the kernel's step, by turns.

    Source: MSD, Algorithm 2 ("stable" branch) with eq. 15. Read literally it assigns the start inside the loop and
    writes a noise prediction where a denoised picture is meant; this is what must be intended:

        z' = DDIM step from level i to i + 1;   z = centre_{i+1} + keep_i (z' - centre_{i+1})

    It is not unbiased: the kernel's clean score is added at every noise level, and the contraction wipes out the start,
    so that what comes is nearly the same for every start noise (roughly x denoised from the noise level lambda).

    Args:
        predict: guided as the caller likes; asked at every level but the last.
        start: (views, ...) at sigmas[0].
        sigmas: (steps + 1, views), falling to 0.
        centre: (steps + 1, views, ...) from `centres`.
        keep: (steps, views) from `keep_factors`.
        active: (steps + 1, views) bool: the kernel's interval. A step pulls if it arrives at a level in it.
    """
    scaled = start
    for step in range(len(sigmas) - 1):
        scaled = ddim_step(scaled, predict(scaled, sigmas[step]), sigmas[step], sigmas[step + 1])
        left = keep[step].where(active[step + 1], torch.ones_like(keep[step]))
        scaled = centre[step + 1] + per_view(left, scaled) * (scaled - centre[step + 1])
    return scaled


# --- mean-shift distillation: the unbiased sampler, for denoisers in closed form --------------------------------------


def product_denoiser(denoise: Denoiser, x: Tensor, bandwidth: float) -> Denoiser:
    """Return the denoiser of the product density p(y) K(x - y), exactly, at the cost of the denoiser of p.

    D_product(z; sigma) = D(mu; sigma_e), 1 / sigma_e^2 = 1 / sigma^2 + 2 / lambda^2, mu = sigma_e^2 (z / sigma^2 +
    2 x / lambda^2): z and x are two noisy sights of one y, and fuse into one. Not in the paper. Exact for an ideal
    denoiser; a network would be shown less noise than the label says, so its samples would be off.

    Args:
        denoise: of p; ideal, or nearly so.
        x: (views, ...) the kernel's centre.
        bandwidth: lambda.
    """

    def denoise_product(scaled: Tensor, sigma: Tensor) -> Tensor:
        share = bandwidth**2 / (bandwidth**2 + 2.0 * sigma**2)
        fused = x + per_view(share, scaled) * (scaled - x)
        return denoise(fused, sigma * share.sqrt())

    return denoise_product


def sample_product(denoise: Denoiser, x: Tensor, sigmas: Tensor, bandwidth: float, start: Tensor) -> Tensor:
    """Return a sample y (views, ...) of p(y) K(x - y), unbiased up to the size of the steps.

    Args:
        denoise: of p; see `product_denoiser`.
        x: (views, ...).
        sigmas: (steps + 1, views), falling to 0 from well above lambda.
        bandwidth: lambda.
        start: (views, ...) at sigmas[0]: c + sigmas[0] * noise. Exact for c = E[y] = x + `mean_shift`; another c moves
            the samples by (c - E[y]) times their own spread / sigmas[0], so c = x will do where sigmas[0] is large.
    """
    return sample(noise_predictor(product_denoiser(denoise, x, bandwidth)), start, sigmas)


def mean_shift(denoise: Denoiser, x: Tensor, bandwidth: float) -> Tensor:
    """Return the exact mean shift m(x) = E[y] - x (views, ...), one call: D(x; lambda / sqrt 2) - x.

    Source: MSD, eqs. 6 and 7, in which the kernel mean is what the ideal denoiser (eq. 16) gives. It equals
    (lambda^2 / 2) grad log p_lambda(x), p_lambda = p * K; eq. 6 lacks the factor and the logarithm.
    """
    sigma = torch.full((len(x),), bandwidth / 2.0**0.5, dtype=x.dtype, device=x.device)
    return denoise(x, sigma) - x


def bandwidth_at(kind: BandwidthSchedule, bandwidth: float, bandwidth_min: float, share: float) -> float:
    """Return lambda after `share` (0..1, held there) of its way from `bandwidth` down to `bandwidth_min`.

    `linear` is what MSD section 4.1 says; `geometric` fits the three pairs of the paper's Fig. 6.
    """
    share = min(max(share, 0.0), 1.0)
    if kind == "geometric":
        return bandwidth * math.exp(share * math.log(bandwidth_min / bandwidth))
    return bandwidth + (bandwidth_min - bandwidth) * share
