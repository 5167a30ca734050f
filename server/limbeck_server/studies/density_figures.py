"""The figures of the study `densities`: where points end, and the losses that gradients belong to (MSD Figs. 1, 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from limbeck_server.studies.figures import heat_map, panels, row_label, save, scatter

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Landscape:
    """A loss over the square: (h, w), rows upwards; its gradient field (h, w, 2); what of that no loss explains."""

    loss: Array
    gradient: Array
    left_over: float


def draw_points(clouds: Mapping[str, Mapping[str, Tensor]], extent: float, title: str, path: Path) -> None:
    """Write a row of clouds for every density: clouds[density][label] is (n, 2)."""
    columns = max(len(row) for row in clouds.values())
    figure, grid = panels(len(clouds), columns, panel_in=(2.6, 2.7), title=title)
    for axes_row, (density, row) in zip(grid, clouds.items(), strict=True):
        row_label(axes_row[0], density)
        for axes, (label, points) in zip(axes_row, row.items(), strict=False):
            scatter(axes, {label: points.numpy()}, title=label, limit=extent, size=2.0)
    save(figure, path)


def draw_landscapes(landscapes: Mapping[str, Mapping[str, Landscape]], extent: float, path: Path) -> None:
    """Write a row of maps for every density, with the direction of descent as arrows."""
    columns = max(len(row) for row in landscapes.values())
    title = "Losses that the mean gradients integrate to; arrows descend; the highest quarter has one colour"
    figure, grid = panels(len(landscapes), columns, panel_in=(3.6, 3.0), title=title)
    square = (-extent, extent, -extent, extent)
    for axes_row, (density, row) in zip(grid, landscapes.items(), strict=True):
        row_label(axes_row[0], density)
        for axes, (label, landscape) in zip(axes_row, row.items(), strict=False):
            named = label if landscape.left_over == 0.0 else f"{label}\n({landscape.left_over:.0%} is no gradient)"
            shown = (float(landscape.loss.min()), float(np.quantile(landscape.loss, 0.75)))
            heat_map(axes, landscape.loss, extent=square, title=named, arrows=-landscape.gradient, value_range=shown)
    save(figure, path)
