"""Figures with a face; it looks towards -Y."""

from __future__ import annotations

from limbeck_server.known_world.primitives import (
    box,
    capsule,
    cone,
    cylinder,
    round_cone,
    sphere,
    torus,
)
from limbeck_server.known_world.shape import Part, pair

BLACK = (0.07, 0.07, 0.08)
BEAK = (0.96, 0.48, 0.05)
CARROT = (0.95, 0.45, 0.08)
TWIG = (0.36, 0.22, 0.12)
SCARF = (0.80, 0.10, 0.12)
STEEL = (0.60, 0.62, 0.66)
DARK = (0.20, 0.21, 0.24)
GLOW = (0.45, 0.95, 0.98)
ALARM = (0.90, 0.15, 0.12)

FIGURE_PARTS: dict[str, tuple[Part, ...]] = {
    "snowman": (
        Part(sphere((0.0, 0.0, -0.30), 0.26)),
        Part(sphere((0.0, 0.0, 0.03), 0.19)),
        Part(sphere((0.0, 0.0, 0.27), 0.14)),
        Part(cylinder((0.0, 0.0, 0.385), 0.17, 0.03), BLACK),
        Part(cylinder((0.0, 0.0, 0.47), 0.115, 0.08), BLACK),
        Part(torus((0.0, 0.0, 0.165), 0.115, 0.045), SCARF),
        Part(cone((0.0, -0.20, 0.26), 0.0001, 0.045, 0.08, axis="y"), CARROT),
        *pair(sphere((0.055, -0.115, 0.315), 0.033), BLACK),
        Part(sphere((0.0, -0.185, 0.07), 0.036), BLACK),
        Part(sphere((0.0, -0.19, -0.04), 0.036), BLACK),
        *pair(capsule((0.15, 0.0, 0.06), (0.42, -0.02, 0.20), 0.033), TWIG),
    ),
    "duck": (
        Part(round_cone((0.0, -0.08, -0.17), (0.0, 0.20, -0.13), 0.27, 0.21)),
        Part(round_cone((0.0, 0.24, -0.09), (0.0, 0.46, 0.10), 0.15, 0.05)),
        Part(round_cone((0.0, -0.13, -0.03), (0.0, -0.18, 0.16), 0.19, 0.15)),
        Part(sphere((0.0, -0.18, 0.27), 0.21)),
        *pair(round_cone((0.23, 0.01, -0.11), (0.22, 0.25, -0.02), 0.11, 0.05)),
        Part(box((0.0, -0.40, 0.235), (0.11, 0.13, 0.042), rounding=0.04), BEAK),
        Part(box((0.0, -0.37, 0.18), (0.09, 0.11, 0.037), rounding=0.035), BEAK),
        *pair(sphere((0.105, -0.335, 0.335), 0.045), BLACK),
    ),
    "robot": (
        Part(box((0.0, 0.0, 0.0), (0.22, 0.15, 0.20), rounding=0.03)),
        Part(box((0.0, 0.0, 0.35), (0.17, 0.14, 0.13), rounding=0.03)),
        Part(cylinder((0.0, 0.0, 0.21), 0.07, 0.04), DARK),
        *pair(cylinder((0.075, -0.14, 0.37), 0.05, 0.03, axis="y"), GLOW),
        Part(box((0.0, -0.14, 0.27), (0.10, 0.025, 0.02)), DARK),
        Part(box((0.0, -0.15, 0.02), (0.12, 0.025, 0.09)), STEEL),
        *pair(sphere((0.05, -0.175, 0.02), 0.035), ALARM),
        Part(cylinder((0.0, 0.0, 0.51), 0.03, 0.05), DARK),
        Part(sphere((0.0, 0.0, 0.54), 0.045), ALARM),
        *pair(capsule((0.26, 0.0, 0.13), (0.33, -0.02, -0.14), 0.06), STEEL),
        *pair(sphere((0.335, -0.02, -0.19), 0.08)),
        *pair(box((0.11, 0.0, -0.30), (0.06, 0.07, 0.14)), STEEL),
        *pair(box((0.115, -0.04, -0.46), (0.095, 0.15, 0.05), rounding=0.02), DARK),
    ),
}
