"""The twelve colours of the known world."""

from __future__ import annotations

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.12, 0.12),
    "orange": (0.96, 0.52, 0.06),
    "yellow": (0.96, 0.86, 0.12),
    "green": (0.16, 0.66, 0.20),
    "cyan": (0.16, 0.82, 0.86),
    "blue": (0.13, 0.27, 0.86),
    "purple": (0.52, 0.16, 0.72),
    "pink": (0.96, 0.52, 0.72),
    "brown": (0.43, 0.25, 0.12),
    "white": (0.94, 0.94, 0.94),
    "grey": (0.52, 0.52, 0.52),
    "black": (0.10, 0.10, 0.10),
}
"""Colour word -> display RGB in 0..1, before shading. White and black keep off the ends, so that shading shows."""
