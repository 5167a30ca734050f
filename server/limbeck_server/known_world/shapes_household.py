"""Things of the house. Sizes are shares of a world in which everything lies within 0.6 of the origin."""

from __future__ import annotations

from limbeck_server.known_world.primitives import (
    arch,
    box,
    cone,
    cylinder,
    lathe,
    prism,
    round_cone,
    sphere,
)
from limbeck_server.known_world.shape import Part, pair

STEEL = (0.62, 0.64, 0.67)
WOOD = (0.55, 0.35, 0.17)
LINEN = (0.93, 0.92, 0.88)
DARK = (0.16, 0.16, 0.18)
BRASS = (0.80, 0.62, 0.25)

_MUG_PROFILE = [(0.0, -0.40), (0.32, -0.40), (0.32, 0.38), (0.25, 0.38), (0.25, -0.31), (0.0, -0.31)]
_CLAW_ROOT = [(0.10, 0.42), (0.10, 0.24), (0.24, 0.23), (0.30, 0.39)]
_CLAW_TIP = [(0.24, 0.23), (0.35, 0.13), (0.42, 0.17), (0.39, 0.30), (0.30, 0.39)]

HOUSEHOLD_PARTS: dict[str, tuple[Part, ...]] = {
    "dumbbell": (
        Part(cylinder((0.0, 0.0, 0.0), 0.06, 0.44, axis="x"), STEEL),
        *pair(cylinder((0.29, 0.0, 0.0), 0.29, 0.08, axis="x", rounding=0.03)),
        *pair(cylinder((0.43, 0.0, 0.0), 0.21, 0.08, axis="x", rounding=0.03)),
    ),
    "hammer": (
        Part(cylinder((0.0, 0.0, -0.12), 0.075, 0.41, rounding=0.03)),
        Part(box((0.0, 0.0, 0.33), (0.12, 0.10, 0.10), rounding=0.02), STEEL),
        Part(cylinder((-0.18, 0.0, 0.33), 0.085, 0.12, axis="x"), STEEL),
        Part(cylinder((-0.30, 0.0, 0.33), 0.125, 0.07, axis="x", rounding=0.02), STEEL),
        Part(prism(_CLAW_ROOT, 0.08, axis="y"), STEEL),
        Part(prism(_CLAW_TIP, 0.08, axis="y"), STEEL),
    ),
    "mug": (
        Part(lathe(_MUG_PROFILE, (-0.10, 0.0, 0.0), rounding=0.01)),
        Part(arch((0.21, 0.0, 0.0), 0.19, 0.05, 80.0)),
    ),
    "bottle": (
        Part(cylinder((0.0, 0.0, -0.21), 0.21, 0.31, rounding=0.03)),
        Part(round_cone((0.0, 0.0, 0.02), (0.0, 0.0, 0.25), 0.21, 0.08)),
        Part(cylinder((0.0, 0.0, 0.32), 0.08, 0.12)),
        Part(cylinder((0.0, 0.0, 0.47), 0.11, 0.07, rounding=0.02), DARK),
        Part(cylinder((0.0, 0.0, -0.20), 0.222, 0.15), LINEN),
    ),
    "lamp": (
        Part(cone((0.0, 0.0, 0.26), 0.36, 0.19, 0.22)),
        Part(cylinder((0.0, 0.0, -0.20), 0.04, 0.30), BRASS),
        Part(cone((0.0, 0.0, -0.47), 0.24, 0.18, 0.04), BRASS),
        Part(sphere((0.0, 0.0, 0.50), 0.045), BRASS),
    ),
    "table": (
        Part(box((0.0, 0.0, 0.22), (0.43, 0.32, 0.05), rounding=0.015)),
        *pair(box((0.35, 0.24, -0.06), (0.05, 0.05, 0.26))),
        *pair(box((0.35, -0.24, -0.06), (0.05, 0.05, 0.26))),
    ),
    "chair": (
        Part(box((0.0, 0.0, -0.04), (0.24, 0.24, 0.045), rounding=0.015)),
        *pair(box((0.19, 0.19, 0.0), (0.045, 0.045, 0.49))),
        *pair(box((0.19, -0.19, -0.26), (0.045, 0.045, 0.24))),
        Part(box((0.0, 0.19, 0.34), (0.24, 0.04, 0.16), rounding=0.015)),
    ),
    "sofa": (
        Part(box((0.0, 0.01, -0.12), (0.44, 0.24, 0.09), rounding=0.03)),
        Part(box((0.0, 0.19, 0.08), (0.44, 0.09, 0.22), rounding=0.05)),
        *pair(box((0.43, 0.01, -0.04), (0.09, 0.25, 0.16), rounding=0.06)),
        *pair(box((0.17, -0.05, 0.0), (0.16, 0.19, 0.06), rounding=0.04), LINEN),
        *pair(cylinder((0.42, -0.16, -0.23), 0.04, 0.06), DARK),
        *pair(cylinder((0.42, 0.18, -0.23), 0.04, 0.06), DARK),
    ),
    "bed": (
        Part(box((0.0, 0.0, -0.13), (0.31, 0.44, 0.06), rounding=0.01), WOOD),
        Part(box((0.0, 0.425, 0.03), (0.305, 0.04, 0.215), rounding=0.02), WOOD),
        Part(box((0.0, -0.425, -0.06), (0.305, 0.04, 0.12), rounding=0.02), WOOD),
        *pair(box((0.26, 0.40, -0.20), (0.045, 0.045, 0.06)), WOOD),
        *pair(box((0.26, -0.40, -0.20), (0.045, 0.045, 0.06)), WOOD),
        Part(box((0.0, 0.0, -0.02), (0.285, 0.40, 0.08), rounding=0.03), LINEN),
        Part(box((0.0, -0.12, -0.015), (0.325, 0.285, 0.11), rounding=0.04)),
        *pair(box((0.14, 0.29, 0.08), (0.115, 0.08, 0.05), rounding=0.045), LINEN),
    ),
}
