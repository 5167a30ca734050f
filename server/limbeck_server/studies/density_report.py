"""The study `densities` as text."""

from __future__ import annotations

from typing import Any

TABLE_1 = {
    "cosine": "cos",
    "cosine_low": "cos 10%",
    "relative_error": "error",
    "scaled_error": "scaled",
    "draw_cosine": "cos, 1 draw",
    "log_bias": "ln bias^2",
    "log_variance": "ln var",
    "log_relative_variance": "ln var/mean^2",
    "std": "std",
}
TABLE_2 = {
    "nll": "NLL",
    "nll_median": "median",
    "precision": "precision",
    "recall": "recall",
    "mmd": "MMD",
}


def report(result: dict[str, Any]) -> str:
    """Return the tables and the choices behind them, of what `densities.run` returned."""
    lines = ["What the paper leaves open, and was chosen here:"]
    lines += [f"  {name}: {text}" for name, text in result["choices"].items()]
    for density, found in result["densities"].items():
        for bandwidth, table in found["table_1"].items():
            lines += ["", f"Table 1, {density}, lambda = {bandwidth}: gradients against the exact mean shift"]
            lines += _table(table, TABLE_1)
        for kind, table in found["table_2"].items():
            lines += ["", f"Table 2, {density}, {kind} denoiser (entropy {found['entropy_nats']:.3f} nats)"]
            lines += _table(table, TABLE_2)
    lines += [
        "",
        "cos, error: of the mean over all draws, median over points; cos 10%: its 10th percentile; scaled: the error",
        "after the one factor that fits best (SDS has no scale of its own); std: of one draw.",
        f"{result['seconds']:.0f} s, seed {result['seed']}",
    ]
    return "\n".join(lines)


def _table(rows: dict[str, dict[str, float]], columns: dict[str, str]) -> list[str]:
    width = max(len(label) for label in rows)
    head = " " * (width + 2) + "".join(f"{title:>{max(len(title), 8) + 2}}" for title in columns.values())
    body = [
        f"  {label:<{width}}" + "".join(f"{row[key]:>{max(len(title), 8) + 2}.3f}" for key, title in columns.items())
        for label, row in rows.items()
    ]
    return [head, *body]
