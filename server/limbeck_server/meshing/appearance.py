"""Which colour a place on the surface shows: that of the field there, or what a camera above would see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limbeck_server.meshing.mesh import Array, Colour, Density
from limbeck_server.meshing.surface import evaluate

SAMPLES = 4
SurfaceColour = Callable[[Array, Array], Array]
"""(n, 3) positions on the surface, (n, 3) outward unit normals -> (n, 3) colours in 0..1."""


def seen_colour(density: Density, colour: Colour, depth: float) -> SurfaceColour:
    """Return the colours that the surface shows, gathered over `depth` below it.

    A NeRF's picture is not the colour of a surface but a mean along the ray, weighted by T_i (1 - exp(-density_i
    step)) (Max 1995, "Optical models for direct volume rendering"), mostly from a little below the level that was
    meshed. The same mean, taken along the inward normal, colours the mesh like the pictures. What light is left at
    the end belongs to the last sample.

    Args:
        density: of the field.
        colour: of the field.
        depth: world units; 0 takes the colour at the surface alone.

    Raises:
        ValueError: the depth is below 0.
    """
    if depth < 0:
        raise ValueError(f"the colour depth must be 0 or more; {depth} came")
    if depth == 0:
        return lambda points, normals: evaluate(colour, points)
    step = depth / SAMPLES

    def gathered(points: Array, normals: Array) -> Array:
        total = np.zeros((len(points), 3), dtype=np.float32)
        light = np.ones((len(points), 1), dtype=np.float32)
        for index in range(SAMPLES):
            inside = points - np.float32((index + 0.5) * step) * normals
            last = index == SAMPLES - 1
            passed = np.zeros_like(light) if last else light * np.exp(-step * evaluate(density, inside))[:, None]
            total += (light - passed) * evaluate(colour, inside)
            light = passed
        return total

    return gathered
