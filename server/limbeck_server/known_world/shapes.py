"""Every shape of the known world by name."""

from __future__ import annotations

from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.shape import Part, Shape
from limbeck_server.known_world.shapes_figures import FIGURE_PARTS
from limbeck_server.known_world.shapes_household import HOUSEHOLD_PARTS
from limbeck_server.known_world.shapes_outdoors import OUTDOOR_PARTS
from limbeck_server.known_world.shapes_plain import PLAIN_PARTS

__all__ = ["SHAPES", "Part", "Shape"]

_PARTS = {**PLAIN_PARTS, **HOUSEHOLD_PARTS, **OUTDOOR_PARTS, **FIGURE_PARTS}

SHAPES: dict[str, Shape] = {name: Shape(name, _PARTS[name]) for name in SHAPE_NAMES}
