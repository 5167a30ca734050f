"""The figures and tables of `variance.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck_server.priors.exact import ExactPrior
from limbeck_server.studies import figures, pictures

LIMITS = {"signal_to_noise": (0.05, 3e3), "variance": (1e-6, 3.0)}
"""Of the axes; what depends on noise in name only lies beyond them."""

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def draw_states(
    prior: ExactPrior, states: Mapping[str, Rows], labels: Sequence[str], seen: Mapping[str, Tensor], path: Path
) -> None:
    """Write, below each state's picture, variance, mean and signal to noise of every loss against the timestep."""
    figure, axes = figures.panels(4, len(seen), (4.2, 2.7))
    keys = {
        "variance": "variance per element",
        "mean": "|mean| (rms)",
        "signal_to_noise": "signal to noise of one draw",
    }
    span = [p["timestep"] for rows in states.values() for points in rows.values() for p in points]
    for column, (state, latents) in enumerate(seen.items()):
        image = prior.decode_latents(latents)[0].permute(1, 2, 0).cpu().numpy()
        figures.picture(axes[0][column], image, title=state)
        rows = states[state]
        for row, (key, label) in enumerate(keys.items(), start=1):
            panel = axes[row][column]
            # A loss that is not measured in a state keeps its colour: it has an empty line.
            lines = {name: _line(rows.get(name, ()), key, (min(span), max(span))) for name in labels}
            figures.line_plot(
                panel, lines, x_label="timestep" if row == 3 else "", y_label=label if column == 0 else "", log_y=True
            )
            if (row, column) != (3, 1):
                pictures.drop_legend(panel)
            if key in LIMITS:
                panel.set_ylim(*LIMITS[key])
    figures.save(figure, path)


def _line(points: Sequence[Mapping[str, Any]], key: str, span: tuple[int, int]) -> tuple[list[float], list[float]]:
    """One loss's line; what looks at no single timestep is drawn across all of them."""
    y = [point[key] if point[key] else float("nan") for point in points]
    return (list(span), y * 2) if len(points) == 1 else ([point["timestep"] for point in points], y)


def draw_bandwidths(found: Mapping[str, Rows], path: Path) -> None:
    """Write signal to noise, mean and direction of MSD's gradient against the bandwidth: a row for each sampler."""
    samplers = list(next(iter(found.values())))
    units = {"msd splitting": "bandwidth (timesteps)", "msd product": "bandwidth (distance)"}
    keys = {
        "signal_to_noise": "signal to noise of one draw",
        "mean": "|mean| (rms)",
        "towards_truth": "cosine with the way to the truth",
    }
    figure, axes = figures.panels(len(samplers), 3, (4.0, 2.8))
    for row, sampler in zip(axes, samplers, strict=True):
        for panel, (key, label) in zip(row, keys.items(), strict=True):
            lines = {
                state: (
                    [p["bandwidth"] for p in rows[sampler]],
                    [float("nan") if p[key] is None else p[key] for p in rows[sampler]],
                )
                for state, rows in found.items()
            }
            figures.line_plot(
                panel,
                lines,
                title=sampler if key == "mean" else "",
                x_label=units[sampler],
                y_label=label,
                log_x=True,
                log_y=key != "towards_truth",
            )
    figures.save(figure, path)


def tables(result: Mapping[str, Any]) -> list[str]:
    """Return the study's tables as lines."""
    lines = [
        "One step as it is trained, timestep drawn too: signal to noise, cosine of the mean with the way to the truth"
    ]
    as_trained = result["as_trained"]
    labels = list(dict.fromkeys(label for rows in as_trained.values() for label in rows))
    lines.append(f"  {'':<14}{'evaluations':>12}" + "".join(f"{state:>20}" for state in as_trained))
    for label in labels:
        cells = [rows.get(label) for rows in as_trained.values()]
        evaluations = next(cell["evaluations"] for cell in cells if cell)
        lines.append(
            f"  {label:<14}{evaluations:>12.1f}"
            + "".join(f"{_ratio(c)}, {c['towards_truth']:.2f}".rjust(20) if c else "-".rjust(20) for c in cells)
        )
    lines += ["", "At one timestep: signal to noise of one draw, |mean|^2 / variance, and the variance per element"]
    for state, rows in result["states"].items():
        shown = _shown(rows)
        lines += ["", f"  {state:<14}" + "".join(f"{f't = {t}':>20}" for t in shown)]
        for label, points in rows.items():
            lines.append(f"  {label:<14}" + _cells(points, shown, lambda p: f"{_ratio(p)} ({p['variance']:.2g})"))
        lines.append("  cosine of the mean step with the way to the truth")
        for label, points in rows.items():
            lines.append(f"  {label:<14}" + _cells(points, shown, lambda p: f"{p['towards_truth']:.2f}"))
    return lines


def _cells(points: Sequence[Mapping[str, Any]], shown: Sequence[int], cell: Any) -> str:
    """One line's cells; what looks at no single timestep has one, at the left."""
    if len(points) == 1:
        return f"{cell(points[0]):>20}"
    by_timestep = {point["timestep"]: cell(point) for point in points}
    return "".join(f"{by_timestep.get(t, ''):>20}" for t in shown)


def _ratio(point: Mapping[str, Any]) -> str:
    ratio = point["signal_to_noise"]
    return "no noise" if ratio is None else f"{ratio:.3g}"


def _shown(rows: Rows) -> list[int]:
    """At most six of the timesteps, evenly."""
    every = sorted({p["timestep"] for points in rows.values() for p in points if len(points) > 1})
    return every[:: max(1, -(-len(every) // 6))]
