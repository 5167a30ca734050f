"""Mean-shift distillation's section 4 on three densities in the plane, with everything that is exact about them.

Table 1 compares gradients with the exact mean shift, Table 2 the points that descend along them with the density. The
paper leaves open what makes such tables comparable; `choices` says what was chosen here, and is printed with them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation.trajectories import Denoiser, karras_sigmas, mean_shift, noise_predictor, sample
from limbeck_server.studies import density_figures
from limbeck_server.studies.density_landscapes import integrate
from limbeck_server.studies.density_methods import (
    SMALLEST_SIGMA,
    START_OVER_BANDWIDTH,
    Descent,
    Gradient,
    descend,
    grid_points,
    msd_gradient,
    sds_gradient,
)
from limbeck_server.studies.density_metrics import MMD_POINTS, MMD_STD, NEIGHBOURS, score_field, score_points
from limbeck_server.studies.density_report import report
from limbeck_server.studies.learned_denoiser import train_denoiser
from limbeck_server.studies.toy_densities import DENSITIES, EXTENT, PlaneMixture

__all__ = ["QUICK", "Effort", "report", "run", "study"]

BANDWIDTHS = (0.316, 0.1)
"""Of Table 1: the paper's first one, and a narrow one."""
DDIM_STEPS = 40
DDIM_SIGMA = 20.0
LANDSCAPE_BANDWIDTH = 0.15
PRODUCT_DRAWS = 4
"""Samples that one unbiased gradient is the mean of, where points descend along it."""


@dataclass(frozen=True)
class Effort:
    """How much is spent. All counts are what their names say; `descent_*` belong to Table 2.

    `real` samples train the denoiser, and as many others are what Table 2 compares with.
    """

    real: int = 10_000
    points: int = 100
    draws: int = 1000
    sampler_steps: int = 24
    training_steps: int = 3000
    grid_side: int = 32
    descent_sampler_steps: int = 16
    plain_steps: int = 10
    adam_steps: int = 150
    landscape_side: int = 48
    landscape_draws: int = 32


QUICK = Effort(
    points=40,
    draws=100,
    sampler_steps=16,
    training_steps=300,
    grid_side=20,
    descent_sampler_steps=10,
    adam_steps=60,
    landscape_side=24,
    landscape_draws=8,
)


def run(quick: bool, seed: int, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return both tables and everything they depend on, as plain data; write it and the figures into a folder.

    Args:
        quick: fewer points, draws and training steps; the tables are then rough.
        seed: of every random draw.
        out: folder, made if need be; gets `densities.json`, `points_ideal.png`, `points_learned.png` and
            `landscapes.png`.
        say: is told what goes on.
    """
    return study(QUICK if quick else Effort(), seed, out, say)


def study(effort: Effort, seed: int, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Return and write what `run` does, at any effort."""
    began = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"seed": seed, "effort": dataclasses.asdict(effort), "choices": choices(effort)}
    clouds: dict[str, dict[str, dict[str, Tensor]]] = {"ideal": {}, "learned": {}}
    result["densities"], landscapes = {}, {}
    for name, make in DENSITIES.items():
        mixture, generator = make(), torch.Generator().manual_seed(seed)
        data, real = mixture.sample(effort.real, generator), mixture.sample(effort.real, generator)
        entropy = float(-mixture.log_density(real).mean())
        say(f"{name}: {len(mixture.means)} Gaussians, entropy {entropy:.3f} nats; Table 1")
        table_1 = {str(width): gradients_table(mixture, width, effort, generator) for width in BANDWIDTHS}
        say(f"{name}: training a denoiser on {effort.real} samples")
        learned = train_denoiser(data, effort.training_steps, generator)
        table_2: dict[str, Any] = {}
        priors: dict[str, Denoiser] = {"ideal": mixture.denoise, "learned": learned.denoise}
        for kind, denoise in priors.items():
            say(f"{name}: points that descend by the {kind} denoiser; Table 2")
            made = optimised_points(denoise, kind == "ideal", effort, generator)
            clouds[kind][name] = {"samples of the density": real[:2000], **made}
            table_2[kind] = {
                label: dataclasses.asdict(score_points(mixture, real, cloud)) for label, cloud in made.items()
            }
        say(f"{name}: loss landscapes")
        landscapes[name] = landscape_maps(mixture, effort, generator)
        curls = {label: panel.left_over for label, panel in landscapes[name].items()}
        result["densities"][name] = {
            "entropy_nats": entropy,
            "table_1": table_1,
            "table_2": table_2,
            "landscape_left_over": curls,
        }
    for kind, rows in clouds.items():
        density_figures.draw_points(rows, EXTENT, f"Where points end, {kind} denoiser", out / f"points_{kind}.png")
    density_figures.draw_landscapes(landscapes, EXTENT, out / "landscapes.png")
    result["seconds"] = round(time.perf_counter() - began, 1)
    (out / "densities.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def gradient_methods(denoise: Denoiser, steps: int) -> dict[str, tuple[Gradient, bool]]:
    """Return Table 1's rows: label -> (gradient, whether one draw is much like another, so that ten are enough)."""
    return {
        "SDS, t 20..980, w = sigma^2": (sds_gradient(denoise, "noise_variance"), False),
        "SDS, t 20..980, w = 1": (sds_gradient(denoise, "uniform"), False),
        "SDS, t 20..500, w = sigma^2": (sds_gradient(denoise, "noise_variance", (20, 500)), False),
        "SDS, t of the kernel, w = sigma/alpha": (sds_gradient(denoise, "noise_to_signal", matched=True), False),
        "MSD splitting, centre x": (msd_gradient(denoise, "splitting", "mean", steps), True),
        "MSD splitting, centre inverted": (msd_gradient(denoise, "splitting", "inversion", steps), True),
        "MSD splitting, centre under noise": (msd_gradient(denoise, "splitting", "shared_noise", steps), False),
        "MSD product (unbiased)": (msd_gradient(denoise, "product", steps=steps), False),
    }


def gradients_table(
    mixture: PlaneMixture, bandwidth: float, effort: Effort, generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """Return Table 1: label -> `FieldScores`, at points drawn from the smoothed density p_lambda itself."""
    points = mixture.sample(effort.points, generator)
    spread = torch.randn(points.shape, generator=generator, dtype=points.dtype)
    points = points + bandwidth / 2.0**0.5 * spread
    exact = mean_shift(mixture.denoise, points, bandwidth)
    table = {}
    for label, (gradient, alike) in gradient_methods(mixture.denoise, effort.sampler_steps).items():
        # SDS draws one t a call, so it is called once a draw; a sampler takes ten copies of the points at once.
        copies = 1 if label.startswith("SDS") else min(10, effort.draws)

        def draw(gradient: Gradient = gradient, copies: int = copies) -> Tensor:
            return -gradient(points.repeat(copies, 1), bandwidth, generator).reshape(copies, -1, 2)

        scores = score_field(draw, 1 if alike else effort.draws, exact)
        table[label] = dataclasses.asdict(scores)
    return table


def optimised_points(denoise: Denoiser, ideal: bool, effort: Effort, generator: torch.Generator) -> dict[str, Tensor]:
    """Return label -> points (n, 2): DDIM's samples, and the grid after its descent along each gradient."""
    start = grid_points(effort.grid_side, EXTENT)
    steps = effort.descent_sampler_steps
    adam = Descent("adam", effort.adam_steps, 0.08)
    by_msd = Descent("plain", effort.plain_steps, 1.0) if ideal else adam

    def exact(points: Tensor, bandwidth: float, generator: torch.Generator) -> Tensor:
        return -mean_shift(denoise, points, bandwidth)

    sds_of = {draws: sds_gradient(denoise, "noise_variance", draws=draws) for draws in (1, steps)}
    product = msd_gradient(denoise, "product", steps=steps, draws=PRODUCT_DRAWS if ideal else 1)
    noise = torch.randn(start.shape, generator=generator, dtype=start.dtype)
    levels = karras_sigmas(DDIM_STEPS, DDIM_SIGMA, SMALLEST_SIGMA, len(start))
    return {
        "DDIM": sample(noise_predictor(denoise), DDIM_SIGMA * noise, levels),
        "SDS, 1 draw": descend(sds_of[1], start, adam, generator),
        f"SDS, {steps} draws": descend(sds_of[steps], start, adam, generator),
        "MSD splitting": descend(msd_gradient(denoise, "splitting", steps=steps), start, by_msd, generator),
        "MSD product": descend(product, start, by_msd, generator),
        "mean shift": descend(exact, start, by_msd, generator),
    }


def landscape_maps(
    mixture: PlaneMixture, effort: Effort, generator: torch.Generator
) -> dict[str, density_figures.Landscape]:
    """Return label -> the loss that each mean gradient field integrates to; first the smoothed density's own."""
    side = effort.landscape_side
    points = grid_points(side, EXTENT)
    spacing = 2.0 * EXTENT / (side - 1)
    smoothed = -mixture.log_density(points, LANDSCAPE_BANDWIDTH / math.sqrt(2.0)).reshape(side, side)
    exact = -mean_shift(mixture.denoise, points, LANDSCAPE_BANDWIDTH).reshape(side, side, 2)
    loss = LANDSCAPE_BANDWIDTH**2 / 2.0 * (smoothed - smoothed.min())
    maps = {"exact: -(lambda^2/2) log p_lambda": density_figures.Landscape(loss.numpy(), exact.numpy(), 0.0)}
    methods = gradient_methods(mixture.denoise, effort.descent_sampler_steps)
    shown = ("SDS, t 20..980, w = sigma^2", "SDS, t of the kernel, w = sigma/alpha")
    for label in (*shown, "MSD splitting, centre x", "MSD product (unbiased)"):
        gradient, alike = methods[label]
        draws = 1 if alike else effort.landscape_draws
        mean = torch.stack([gradient(points, LANDSCAPE_BANDWIDTH, generator) for _ in range(draws)]).mean(0)
        field = mean.reshape(side, side, 2).numpy()
        potential, left_over = integrate(field, spacing)
        maps[label] = density_figures.Landscape(potential, field, left_over)
    return maps


def choices(effort: Effort) -> dict[str, str]:
    """Return what the paper leaves open and was chosen here, in words."""
    table_2_steps, grid = effort.descent_sampler_steps, f"{effort.grid_side} x {effort.grid_side}"
    by_adam = f"Adam, {effort.adam_steps} steps of 0.08"
    return {
        "densities": "fractal = class A of Karras et al. 2024; spiral and pinwheel are ours, widths set so that their "
        "entropies are near -1.39 and -1.19 nats",
        "logarithms": "natural, everywhere",
        "schedule of SDS": "Stable Diffusion's 1000 timesteps, t uniform over the range named, one t for all points of "
        "a draw; no guidance",
        "SDS's noise": "the added noise is subtracted",
        "weights w(t)": "as named; 't of the kernel' is the one t with sigma = lambda / sqrt 2, the kindest to SDS",
        "points of Table 1": f"{effort.points} draws from p_lambda = p * K, the density whose gradient is sought",
        "draws of Table 1": f"{effort.draws}; 10 where the draws are alike",
        "reference of Table 1": "the exact mean shift, one call of the ideal denoiser",
        "MSD's time": "t = sigma^2 in eq. 15; the kernel acts at all levels; no guidance",
        "MSD's levels": f"{effort.sampler_steps} ({table_2_steps} in Table 2) by Karras et al. 2022 eq. 5, from "
        f"{START_OVER_BANDWIDTH:g} lambda to {SMALLEST_SIGMA:g}, then 0",
        "MSD's centre in Table 2": "x",
        "bandwidth in Table 2": f"linear from {Descent.bandwidth:g} to {Descent.bandwidth_min:g}",
        "points of Table 2": f"a grid of {grid} in [-{EXTENT:g}, {EXTENT:g}]^2; DDIM as many",
        "descent, ideal denoiser": f"MSD {effort.plain_steps} plain steps of rate 1; SDS {by_adam}",
        "descent, learned denoiser": f"{by_adam}, for both",
        "draws a gradient in Table 2": f"SDS 1, and {table_2_steps}, which costs what one sample of MSD does; MSD "
        f"splitting 1; MSD product {PRODUCT_DRAWS} (ideal), 1 (learned)",
        "DDIM": f"{DDIM_STEPS} steps from sigma {DDIM_SIGMA:g}",
        "learned denoiser": f"{effort.training_steps} steps on {effort.real} samples",
        "landscapes": f"lambda = {LANDSCAPE_BANDWIDTH:g}; mean of {effort.landscape_draws} draws on a grid of "
        f"{effort.landscape_side} x {effort.landscape_side}; what is no gradient is curl, and noise of the draws",
        "precision and recall": f"balls to neighbour {NEIGHBOURS} (Kynkäänniemi et al. 2019), {effort.real} real ones",
        "MMD": f"Gaussian kernel of std {MMD_STD:g}, biased, its root; {min(MMD_POINTS, effort.real)} real samples",
        "NLL": "mean of -log p under the exact density; the median beside it",
    }
