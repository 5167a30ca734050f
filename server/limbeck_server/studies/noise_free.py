"""NFSD's two terms, looked at closely: how large each is, and how much of the first is the noise that was added.

NFSD (Katzir et al. 2023, section 4) reads the empty prompt's prediction as delta_D + delta_N, the way to the domain of
real pictures and the noise, and takes delta_N to be small below timestep 200. On the exact prior that can be checked:
the noise is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from limbeck_server.distillation import noising
from limbeck_server.distillation.asking import Request
from limbeck_server.distillation.losses import nfsd
from limbeck_server.distillation.observations import at_random
from limbeck_server.distillation.picture import picture_subject
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.studies import figures, pictures


def measure(
    prior: ExactPrior,
    states: Mapping[str, Tensor],
    text: str,
    guidance_scale: float,
    timesteps: Sequence[int],
    draws: int,
    seed: int,
) -> dict[str, list[dict[str, float]]]:
    """Return, for each state of a picture, sizes and correlations at every timestep.

    Per entry: `timestep`; `noise_variance`, sigma^2; root mean squares of `empty` (delta_D below the threshold),
    `difference` (delta_D above it, empty minus negative), `condition` (s delta_C), and `domain`, whichever of the two
    NFSD takes there; `empty_with_noise`, `difference_with_noise` and `domain_with_noise`, their correlations with the
    noise that was added; `empty_left`, the root mean square of the empty prompt's prediction without that noise.
    """
    return {
        state: [_at(prior, latents, text, guidance_scale, timestep, draws, seed) for timestep in timesteps]
        for state, latents in states.items()
    }


def _at(
    prior: ExactPrior, latents: Tensor, text: str, guidance_scale: float, timestep: int, draws: int, seed: int
) -> dict[str, float]:
    many = latents.expand(draws, *latents.shape[1:])
    generator = torch.Generator().manual_seed(seed + timestep)
    at = torch.full((draws,), timestep)
    request = Request(
        needed=frozenset(nfsd.NEEDS),
        timesteps=at,
        noise=noising.draw_noise(many, generator),
        guidance_scale=guidance_scale,
    )
    seen = at_random(prior, picture_subject(prior, many, text), request)
    empty, difference = seen.need("unconditional"), seen.need("unconditional") - seen.need("negative")
    parts = nfsd.terms(seen, guidance_scale)
    return {
        "timestep": timestep,
        "noise_variance": float(seen.noise_std[0] ** 2),
        "empty": rms(empty),
        "difference": rms(difference),
        "domain": rms(parts["domain"]),
        "condition": rms(parts["condition"]),
        "empty_with_noise": correlation(empty, seen.reference_noise),
        "difference_with_noise": correlation(difference, seen.reference_noise),
        "domain_with_noise": correlation(parts["domain"], seen.reference_noise),
        "empty_left": rms(empty - seen.reference_noise),
    }


def rms(values: Tensor) -> float:
    """Return the root mean square."""
    return float(values.square().mean().sqrt())


def correlation(a: Tensor, b: Tensor) -> float:
    """Return the cosine of two tensors seen as vectors, 0 where one is 0."""
    sizes = rms(a) * rms(b)
    return float((a * b).mean()) / sizes if sizes > 0.0 else 0.0


def draw(found: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Write three panels for each state: sizes, sizes under w = sigma^2, correlations with the added noise."""
    figure, axes = figures.panels(len(found), 3, (4.2, 2.6))
    for row, (state, points) in zip(axes, found.items(), strict=True):
        at = [p["timestep"] for p in points]
        names = {
            "empty prompt (delta_D below 200)": "empty",
            "empty - negative (delta_D from 200 on)": "difference",
            "s delta_C": "condition",
        }
        last = row is axes[-1]
        figures.line_plot(
            row[0],
            {label: (at, [p[key] for p in points]) for label, key in names.items()},
            title=f"{state}: root mean square",
            x_label="timestep" if last else "",
        )
        figures.line_plot(
            row[1],
            {label: (at, [p["noise_variance"] * p[key] for p in points]) for label, key in names.items()},
            title="the same times w = sigma^2",
            x_label="timestep" if last else "",
        )
        pictures.drop_legend(row[1])
        figures.line_plot(
            row[2],
            {
                "empty prompt": (at, [p["empty_with_noise"] for p in points]),
                "delta_D as NFSD takes it": (at, [p["domain_with_noise"] for p in points]),
            },
            title="correlation with the added noise",
            x_label="timestep" if last else "",
        )
        row[2].set_ylim(-0.2, 1.05)
        for panel in (row[0], row[2]):
            if row is not axes[0]:
                pictures.drop_legend(panel)
        for panel in row:
            panel.axvline(nfsd.THRESHOLD, color="black", linewidth=0.8, linestyle=":")
    figures.save(figure, path)


def report(found: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return a table for each state."""
    lines = ["NFSD's terms: root mean squares, and correlation with the noise that was added"]
    for state, points in found.items():
        head = f"  {state:<14}{'t':>6}{'delta_D':>9}{'s delta_C':>11}{'w delta_D':>11}{'w s delta_C':>13}"
        lines += [head + f"{'empty~noise':>13}{'delta_D~noise':>15}"]
        for p in points:
            weight = p["noise_variance"]
            plain = f"  {'':<14}{p['timestep']:>6.0f}{p['domain']:>9.3f}{p['condition']:>11.3f}"
            weighted = f"{weight * p['domain']:>11.3f}{weight * p['condition']:>13.3f}"
            lines.append(plain + weighted + f"{p['empty_with_noise']:>13.3f}{p['domain_with_noise']:>15.3f}")
    return "\n".join(lines)
