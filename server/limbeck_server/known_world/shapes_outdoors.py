"""Things that stand, grow and travel outdoors; what has a front shows it towards -Y."""

from __future__ import annotations

from limbeck_server.known_world.primitives import (
    box,
    capsule,
    cone,
    cylinder,
    dome,
    prism,
    round_cone,
    sphere,
    torus,
)
from limbeck_server.known_world.shape import Part, pair

WOOD = (0.50, 0.31, 0.16)
ROOF = (0.33, 0.37, 0.45)
GLASS = (0.55, 0.80, 0.95)
TYRE = (0.11, 0.11, 0.12)
STEEL = (0.70, 0.71, 0.74)
LAMP = (0.98, 0.95, 0.70)
REAR_LAMP = (0.80, 0.08, 0.06)
CREAM = (0.95, 0.91, 0.80)
CLAY = (0.76, 0.39, 0.24)
FLOWER = (0.93, 0.35, 0.60)

_WALLS = [(-0.30, -0.37), (0.30, -0.37), (0.30, 0.11), (0.0, 0.37), (-0.30, 0.11)]
_ROOF_SIDE = [(0.0, 0.365), (0.0, 0.47), (0.415, 0.11), (0.415, 0.01)]
_CAR_BODY = [(-0.48, -0.13), (-0.48, 0.0), (-0.22, 0.05), (0.46, 0.05), (0.48, -0.13)]
_CABIN = [(-0.24, 0.03), (-0.10, 0.21), (0.27, 0.21), (0.38, 0.03)]
_SIDE_WINDOWS = [(-0.17, 0.065), (-0.075, 0.185), (0.24, 0.185), (0.30, 0.065)]
_WINDSCREEN = [(-0.265, 0.07), (-0.255, 0.10), (-0.15, 0.22), (-0.10, 0.18), (-0.19, 0.06)]
_REAR_WINDOW = [(0.40, 0.07), (0.405, 0.09), (0.33, 0.21), (0.28, 0.18), (0.34, 0.06)]
_HULL = [(-0.17, 0.42), (0.17, 0.42), (0.21, 0.05), (0.16, -0.22), (0.0, -0.48), (-0.16, -0.22), (-0.21, 0.05)]
_DECK = [(-0.13, 0.38), (0.13, 0.38), (0.17, 0.05), (0.12, -0.20), (0.0, -0.41), (-0.12, -0.20), (-0.17, 0.05)]
_MAINSAIL = [(0.04, -0.04), (0.40, -0.04), (0.04, 0.45)]
_JIB = [(-0.07, -0.04), (-0.38, -0.10), (-0.07, 0.38)]
_WING = [(0.0, -0.16), (0.50, 0.04), (0.52, 0.14), (0.0, 0.10)]
_TAILPLANE = [(0.0, 0.32), (0.22, 0.42), (0.22, 0.50), (0.0, 0.48)]
_TAIL_FIN = [(0.26, 0.05), (0.40, 0.30), (0.50, 0.30), (0.50, 0.05)]
_ROCKET_FIN = [(0.10, -0.10), (0.34, -0.36), (0.34, -0.48), (0.10, -0.36)]

OUTDOOR_PARTS: dict[str, tuple[Part, ...]] = {
    "house": (
        Part(prism(_WALLS, 0.31, axis="y")),
        *pair(prism(_ROOF_SIDE, 0.36, axis="y"), ROOF),
        Part(box((0.20, 0.14, 0.35), (0.06, 0.06, 0.12)), ROOF),
        Part(box((0.0, -0.31, -0.24), (0.08, 0.03, 0.13)), CREAM),
        *pair(box((0.19, -0.31, -0.08), (0.06, 0.025, 0.07)), GLASS),
        Part(cylinder((0.0, -0.31, 0.14), 0.075, 0.025, axis="y"), GLASS),
        *pair(box((0.30, -0.14, -0.10), (0.025, 0.08, 0.08)), GLASS),
        *pair(box((0.30, 0.14, -0.10), (0.025, 0.08, 0.08)), GLASS),
    ),
    "tree": (
        Part(cylinder((0.0, 0.0, -0.38), 0.09, 0.16), WOOD),
        Part(cone((0.0, 0.0, -0.06), 0.40, 0.06, 0.20)),
        Part(cone((0.0, 0.0, 0.15), 0.32, 0.05, 0.18)),
        Part(cone((0.0, 0.0, 0.36), 0.23, 0.0, 0.19)),
    ),
    "mushroom": (
        Part(dome((0.0, 0.0, 0.0), 0.46, 0.06)),
        Part(round_cone((0.0, 0.0, -0.36), (0.0, 0.0, 0.05), 0.16, 0.12), CREAM),
        Part(cylinder((0.0, 0.0, 0.05), 0.40, 0.025), CREAM),
        Part(sphere((0.0, -0.30, 0.29), 0.11), CREAM),
        *pair(sphere((0.30, -0.10, 0.28), 0.10), CREAM),
        *pair(sphere((0.22, 0.26, 0.26), 0.11), CREAM),
        Part(sphere((0.02, 0.03, 0.41), 0.11), CREAM),
        *pair(sphere((0.28, -0.30, 0.14), 0.08), CREAM),
    ),
    "cactus": (
        Part(capsule((0.0, 0.0, -0.30), (0.0, 0.0, 0.34), 0.15)),
        Part(capsule((0.0, 0.0, -0.04), (0.31, 0.0, -0.04), 0.08)),
        Part(capsule((0.31, 0.0, -0.04), (0.31, 0.0, 0.22), 0.08)),
        Part(capsule((0.0, 0.0, 0.10), (-0.29, 0.0, 0.10), 0.075)),
        Part(capsule((-0.29, 0.0, 0.10), (-0.29, 0.0, 0.32), 0.075)),
        Part(cone((0.0, 0.0, -0.41), 0.17, 0.25, 0.13), CLAY),
        Part(cylinder((0.0, 0.0, -0.30), 0.28, 0.04), CLAY),
        Part(sphere((0.0, -0.05, 0.49), 0.07), FLOWER),
    ),
    "car": (
        Part(prism(_CAR_BODY, 0.20, axis="x", rounding=0.035)),
        Part(prism(_CABIN, 0.165, axis="x", rounding=0.03)),
        Part(prism(_SIDE_WINDOWS, 0.20, axis="x"), GLASS),
        Part(prism(_WINDSCREEN, 0.14, axis="x"), GLASS),
        Part(prism(_REAR_WINDOW, 0.14, axis="x"), GLASS),
        *pair(cylinder((0.20, -0.29, -0.14), 0.125, 0.06, axis="x", rounding=0.02), TYRE),
        *pair(cylinder((0.20, 0.29, -0.14), 0.125, 0.06, axis="x", rounding=0.02), TYRE),
        *pair(cylinder((0.235, -0.29, -0.14), 0.06, 0.035, axis="x"), STEEL),
        *pair(cylinder((0.235, 0.29, -0.14), 0.06, 0.035, axis="x"), STEEL),
        *pair(cylinder((0.14, -0.50, -0.04), 0.05, 0.03, axis="y"), LAMP),
        *pair(box((0.15, 0.50, -0.01), (0.05, 0.03, 0.03)), REAR_LAMP),
        Part(box((0.0, -0.50, -0.13), (0.20, 0.035, 0.03), rounding=0.01), STEEL),
    ),
    "boat": (
        Part(prism(_HULL, 0.11, (0.0, 0.0, -0.24))),
        Part(prism(_DECK, 0.03, (0.0, 0.0, -0.125)), WOOD),
        Part(cylinder((0.0, -0.01, 0.13), 0.035, 0.36), WOOD),
        Part(prism(_MAINSAIL, 0.03, axis="x"), CREAM),
        Part(prism(_JIB, 0.03, axis="x"), CREAM),
        Part(box((0.0, 0.22, -0.08), (0.09, 0.10, 0.06), rounding=0.01)),
    ),
    "airplane": (
        Part(round_cone((0.0, -0.36, 0.0), (0.0, 0.42, 0.06), 0.13, 0.06)),
        *pair(prism(_WING, 0.035, (0.0, 0.0, -0.04))),
        *pair(prism(_TAILPLANE, 0.03, (0.0, 0.0, 0.07))),
        Part(prism(_TAIL_FIN, 0.03, axis="x")),
        Part(capsule((0.0, -0.26, 0.09), (0.0, -0.12, 0.10), 0.085), GLASS),
        Part(cone((0.0, -0.52, 0.0), 0.02, 0.06, 0.05, axis="y"), STEEL),
        Part(box((0.0, -0.505, 0.0), (0.035, 0.03, 0.20), rounding=0.02), TYRE),
        *pair(cylinder((0.30, -0.05, -0.10), 0.06, 0.12, axis="y", rounding=0.03), STEEL),
    ),
    "rocket": (
        Part(round_cone((0.0, 0.0, -0.22), (0.0, 0.0, 0.22), 0.19, 0.145)),
        Part(round_cone((0.0, 0.0, 0.27), (0.0, 0.0, 0.53), 0.125, 0.03), REAR_LAMP),
        *pair(prism(_ROCKET_FIN, 0.035, axis="y"), REAR_LAMP),
        Part(prism([(-y, z) for y, z in _ROCKET_FIN], 0.035, axis="x"), REAR_LAMP),
        Part(prism(_ROCKET_FIN, 0.035, axis="x"), REAR_LAMP),
        Part(cone((0.0, 0.0, -0.43), 0.15, 0.11, 0.05), STEEL),
        Part(cylinder((0.0, -0.13, 0.10), 0.075, 0.06, axis="y", rounding=0.01), GLASS),
        Part(torus((0.0, -0.165, 0.10), 0.085, 0.03, axis="y"), STEEL),
    ),
}
