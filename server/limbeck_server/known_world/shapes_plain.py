"""Plain solids, all in the main colour."""

from __future__ import annotations

import math

from limbeck_server.known_world.primitives import box, capsule, cone, cylinder, prism, pyramid, sphere, torus
from limbeck_server.known_world.shape import Part

_STAR_HEIGHT = -0.03


def _ray_of_star(index: int) -> list[tuple[float, float]]:
    """Return one of five kites that together make the star: its middle, a notch, a tip, the next notch."""

    def corner(radius: float, turns: float) -> tuple[float, float]:
        return radius * math.sin(2 * math.pi * turns), radius * math.cos(2 * math.pi * turns) + _STAR_HEIGHT

    turn = index / 5
    return [(0.0, _STAR_HEIGHT), corner(0.235, turn - 0.1), corner(0.52, turn), corner(0.235, turn + 0.1)]


PLAIN_PARTS: dict[str, tuple[Part, ...]] = {
    "sphere": (Part(sphere((0.0, 0.0, 0.0), 0.5)),),
    "cube": (Part(box((0.0, 0.0, 0.0), (0.35, 0.35, 0.35), rounding=0.03)),),
    "cylinder": (Part(cylinder((0.0, 0.0, 0.0), 0.35, 0.46, rounding=0.02)),),
    "cone": (Part(cone((0.0, 0.0, 0.02), 0.4, 0.0, 0.45)),),
    "torus": (Part(torus((0.0, 0.0, 0.0), 0.39, 0.13)),),
    "capsule": (Part(capsule((0.0, 0.0, -0.28), (0.0, 0.0, 0.28), 0.23)),),
    "pyramid": (Part(pyramid((0.0, 0.0, -0.30), 0.36, 0.74)),),
    "star": tuple(Part(prism(_ray_of_star(index), 0.08, axis="y", rounding=0.03)) for index in range(5)),
}
