"""Figures of the study `decomposition`: a grid of pictures, timesteps by components, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from limbeck_server.distillation.losses import nfsd
from limbeck_server.priors.prior import Prior
from limbeck_server.studies import figures, pictures
from limbeck_server.studies.noise_free import rms
from limbeck_server.studies.unfinished import Pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from limbeck_server.studies.decomposition import Components

CONTRAST = 2.5
"""Root mean squares from grey to the end of the scale."""
COLUMN_IN, ROW_IN = 1.0, 1.16


def as_picture(prior: Prior, latents: Tensor) -> ArrayLike:
    """Return latents (1, c, h, w) of a picture as (h, w, 3) in 0..1, decoded by the prior."""
    picture: ArrayLike = prior.decode_latents(latents)[0].permute(1, 2, 0).float().cpu().numpy()
    return picture


def as_signed(part: Tensor) -> ArrayLike:
    """Return a component (1, c, h, w) as (h, w, 3) in 0..1: its first three channels about grey, on its own scale."""
    scaled = part[0, :3] / (CONTRAST * max(rms(part), 1e-12))
    picture: ArrayLike = (0.5 + 0.5 * scaled).clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()
    return picture


def draw_pictures(prior: Prior, seen: Pair, shown: Sequence[Components], path: Path) -> None:
    """Write the first draw of each timestep: a column for each, and a row for each component.

    What a step of descent adds is shown, minus delta_C and minus delta_D, and what the picture would be after it.
    """
    rows: dict[str, list[tuple[ArrayLike, str]]] = {}

    def add(row: str, picture: ArrayLike, title: str = "") -> None:
        rows.setdefault(row, []).append((picture, title))

    def signed(row: str, part: Tensor) -> None:
        # In pixels a component has three channels; of more, the first three are shown.
        add(row, as_signed(part[:1]), f"{rms(part[:1]):.3f}")

    for one in shown:
        ratio = one.noise_std / one.signal_scale
        nfsd_domain, true_domain = one.nfsd_domain(), one.true_domain
        add("in-domain\n$z_t/\\alpha$", as_picture(prior, one.noisy_inside[:1] / one.signal_scale))
        add("render\n$z_t/\\alpha$", as_picture(prior, one.noisy_outside[:1] / one.signal_scale))
        signed("$\\epsilon$", one.noise)
        signed("$\\delta_N$", one.noise_part)
        signed("$\\delta_N-\\epsilon$", one.residual)
        signed("$\\delta_N+\\delta_D$", one.empty)
        signed("$-\\delta_D$", -one.domain)
        if true_domain is not None:
            signed("$-\\delta_D$ true", -true_domain)
        signed("$-\\delta_D$ as\nNFSD's", -nfsd_domain)
        add("$x-\\frac{\\sigma}{\\alpha}\\delta_D$", as_picture(prior, seen.outside - ratio * one.domain[:1]))
        signed("$-\\delta_C$", -one.condition)
        add("$x-\\frac{\\sigma}{\\alpha}\\delta_C$", as_picture(prior, seen.outside - ratio * one.condition[:1]))
    figure, axes = figures.panels(len(rows), len(shown) + 1, (COLUMN_IN, ROW_IN))
    for number, (row, (label, panels)) in enumerate(zip(axes, rows.items(), strict=True)):
        clean = {0: seen.inside, 1: seen.outside}.get(number)
        if clean is None:
            row[0].set_visible(False)
        else:
            figures.picture(row[0], as_picture(prior, clean), title="x, no noise" if number == 0 else "")
            row[0].title.set_fontsize("small")
        for panel, one, (picture, title) in zip(row[1:], shown, panels, strict=True):
            figures.picture(panel, picture, title=f"t = {one.timestep}" if number == 0 else title)
            panel.title.set_fontsize("small" if number == 0 else "xx-small")
        _label(row[0] if clean is not None else row[1], label)
    figures.save(figure, path)


def _label(panel: Axes, text: str) -> None:
    panel.set_axis_on()
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_ylabel(text, fontsize="small")


def draw_curves(found: Mapping[str, Sequence[Mapping[str, float]]], path: Path) -> None:
    """Write for each pair four panels over the timesteps: sizes, the noise in them, what is true, where a step goes."""
    figure, axes = figures.panels(len(found), 4, (3.7, 2.8))
    names: tuple[tuple[str, dict[str, str]], ...] = (
        (
            "root mean square",
            {
                "$\\delta_N$": "noise_part",
                "$\\delta_N-\\epsilon$": "residual",
                "$\\delta_D$": "domain",
                "$\\delta_D$ true": "true_domain",
                "$\\delta_C$": "condition",
            },
        ),
        (
            "cosine with the added noise",
            {
                "e(in-domain; empty)": "noise_part_with_noise",
                "e(render; empty)": "empty_with_noise",
                "$\\delta_D$": "domain_with_noise",
                "$\\delta_D$ as NFSD's": "nfsd_domain_with_noise",
                "$\\delta_C$": "condition_with_noise",
            },
        ),
        (
            "cosine with the true $\\delta_D$",
            {"$\\delta_D$, paper's estimate": "domain_with_true", "$\\delta_D$ as NFSD's": "nfsd_with_true"},
        ),
        (
            "cosine of a step with the way in",
            {
                "$-\\delta_D$": "domain_towards",
                "$-\\delta_D$ true": "true_domain_towards",
                "$-\\delta_D$ as NFSD's": "nfsd_domain_towards",
                "$-\\delta_C$": "condition_towards",
            },
        ),
    )
    for row, (label, points) in zip(axes, found.items(), strict=True):
        at = [p["timestep"] for p in points]
        for panel, (title, keys) in zip(row, names, strict=True):
            lines = {name: (at, [p[key] for p in points]) for name, key in keys.items() if key in points[0]}
            if not lines:
                panel.set_visible(False)
                continue
            figures.line_plot(
                panel,
                lines,
                title=f"{label}: {title}",
                x_label="timestep" if row is axes[-1] else "",
                log_y=title == "root mean square",
            )
            panel.axvline(nfsd.THRESHOLD, color="black", linewidth=0.8, linestyle=":")
            if title != "root mean square":
                panel.set_ylim(-0.3, 1.05)
            if row is not axes[0]:
                pictures.drop_legend(panel)
            elif (legend := panel.get_legend()) is not None:
                for entry in legend.get_texts():
                    entry.set_fontsize("x-small")
    figures.save(figure, path)
