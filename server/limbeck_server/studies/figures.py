"""Figures for the studies: panels of lines, points and maps, written as PNG. The only importer of matplotlib.

It draws on matplotlib's own objects, never on `pyplot`: no window, no global state, no figure left open.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c6d31")
"""Okabe and Ito's, told apart by the colour-blind; a ninth line begins again."""
DOTS_PER_INCH = 120


def panels(
    rows: int, columns: int, panel_in: tuple[float, float] = (4.0, 3.0), title: str = ""
) -> tuple[Figure, list[list[Axes]]]:
    """Return an empty figure and its panels as axes[row][column].

    Args:
        rows: of panels, 1 or more.
        columns: of panels, 1 or more.
        panel_in: width and height of one panel, in inches.
        title: above all panels.
    """
    figure = Figure(figsize=(columns * panel_in[0], rows * panel_in[1]), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in grid]


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; the same data give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", metadata={"Software": None}, bbox_inches="tight", pad_inches=0.1)


def line_plot(
    axes: Axes,
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> None:
    """Draw one line per label, with a legend where there are several.

    Args:
        axes: the panel.
        lines: label -> (x, y), each (n,). Values that are not finite leave a gap.
        title: above the panel.
        x_label: with its unit.
        y_label: with its unit.
        log_x: whether the horizontal axis is logarithmic.
        log_y: whether the vertical one is.
        bands: label -> (low, high), each (n,): a light band about that line, such as its standard deviation.
    """
    for index, (label, (x, y)) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(np.asarray(x), np.asarray(y), color=colour, label=label, marker="o", markersize=3, linewidth=1.5)
        if bands and label in bands:
            low, high = bands[label]
            axes.fill_between(np.asarray(x), np.asarray(low), np.asarray(high), color=colour, alpha=0.15, linewidth=0)
    if log_x:
        axes.set_xscale("log")
    if log_y:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    _name(axes, title, x_label, y_label)
    if len(lines) > 1:
        axes.legend(fontsize="small")


def bar_plot(axes: Axes, values: Mapping[str, float], *, title: str = "", y_label: str = "") -> None:
    """Draw one bar per label, its number above it."""
    bars = axes.bar(list(values), list(values.values()), color=COLOURS[0])
    axes.bar_label(bars, fmt="%.3g", fontsize="small")
    axes.tick_params(axis="x", labelrotation=30)
    axes.margins(y=0.15)
    _name(axes, title, "", y_label)


def scatter(
    axes: Axes,
    clouds: Mapping[str, ArrayLike],
    *,
    title: str = "",
    limit: float | None = None,
    size: float = 1.5,
    log_density: ArrayLike | None = None,
) -> None:
    """Draw clouds of 2-D points, each (n, 2), in a square of equal axes; the first label lies lowest.

    Args:
        axes: the panel.
        clouds: label -> points; a legend is drawn where there are several.
        title: above the panel.
        limit: both axes run from -limit to limit; by default they hold all points. Points outside are not drawn.
        size: of a dot, in points.
        log_density: (h, w) values over the square, rows upwards, drawn in grey beneath; needs `limit`.
    """
    if log_density is not None and limit is not None:
        values = np.asarray(log_density)
        top = float(values.max())
        extent = (-limit, limit, -limit, limit)
        axes.imshow(values, origin="lower", extent=extent, cmap="Greys", vmin=top - 10.0, vmax=top + 6.0)
    for index, (label, points) in enumerate(clouds.items()):
        cloud = np.asarray(points)
        colour = COLOURS[index % len(COLOURS)]
        axes.scatter(cloud[:, 0], cloud[:, 1], s=size, color=colour, linewidths=0, label=label)
    axes.set_aspect("equal")
    if limit is not None:
        axes.set_xlim(-limit, limit)
        axes.set_ylim(-limit, limit)
    _name(axes, title, "", "")
    if len(clouds) > 1:
        axes.legend(fontsize="small", markerscale=4)


def heat_map(
    axes: Axes,
    values: ArrayLike,
    *,
    extent: tuple[float, float, float, float],
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    colour_label: str = "",
    arrows: ArrayLike | None = None,
    value_range: tuple[float, float] | None = None,
) -> None:
    """Draw values (h, w), rows upwards, as a map with a colour bar.

    Args:
        axes: the panel.
        values: what is drawn.
        extent: left, right, bottom, top of the map.
        title: above the panel.
        x_label: with its unit.
        y_label: with its unit.
        colour_label: beside the colour bar.
        arrows: (h, w, 2) a field over the same map, drawn as about 16 x 16 unit arrows; its length is not shown.
        value_range: what the colours span; by default all values.
    """
    field = np.asarray(values)
    low, high = value_range if value_range else (float(field.min()), float(field.max()))
    image = axes.imshow(
        field, origin="lower", extent=extent, cmap="viridis", vmin=low, vmax=high, aspect="auto" if x_label else "equal"
    )
    axes.figure.colorbar(image, ax=axes, label=colour_label, shrink=0.85)
    if arrows is not None:
        direction = np.asarray(arrows)
        stride = max(1, field.shape[0] // 16)
        x = np.linspace(extent[0], extent[1], field.shape[1])[::stride]
        y = np.linspace(extent[2], extent[3], field.shape[0])[::stride]
        shown = direction[::stride, ::stride]
        length = np.linalg.norm(shown, axis=-1, keepdims=True)
        unit = shown / np.where(length > 0.0, length, 1.0)
        axes.quiver(x, y, unit[..., 0], unit[..., 1], color="white", scale=32, width=0.004)
    _name(axes, title, x_label, y_label)


def picture(axes: Axes, image: ArrayLike, *, title: str = "") -> None:
    """Draw a picture (h, w, 3) of 0..1, rows downwards, without axes."""
    axes.imshow(np.clip(np.asarray(image), 0.0, 1.0), interpolation="nearest")
    axes.set_axis_off()
    _name(axes, title, "", "")


def row_label(axes: Axes, text: str) -> None:
    """Write what a row of panels shows to the left of its first one."""
    axes.set_ylabel(text, fontsize="large")


def _name(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    if title:
        axes.set_title(title, fontsize="medium")
    if x_label:
        axes.set_xlabel(x_label)
    if y_label:
        axes.set_ylabel(y_label)
