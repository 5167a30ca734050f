"""Noise of the field, taken out before a surface is drawn around it.

A distilled density is noisy at the size of its own voxels. Drawn as it is, the noise becomes pinholes, specks and
tunnels that no picture shows: a red cube with a handle. So the field is blurred a little first, as what a camera
would see of it: density becomes the opacity of a slab (at most 1, so that a spike of density cannot spread), is
blurred, and becomes density again.

Measured on fields distilled at 32 pixels (40 voxels a side, mesh resolution 96), blur 0 -> 1.2: IoU of a duck 0.848 ->
0.870, a cube 0.858 -> 0.879, a torus 0.710 -> 0.720; a chair with thin legs loses, 0.643 -> 0.611. The duck's false
handle goes, and so does the cube's at resolution 128.
"""

from __future__ import annotations

import numpy as np

from limbeck_server.meshing.mesh import Array

SLAB = 2.0
"""Thickness of the slab whose opacity is blurred, in standard deviations of the blur."""


def gaussian_blur(grid: Array, deviation: float) -> Array:
    """Return the grid (x, y, z) float32 blurred along each axis with a normalised Gaussian, `deviation` in grid points.

    Beyond its sides the grid goes on as it ends there.
    """
    reach = int(np.ceil(3 * deviation))
    ticks = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (ticks / deviation) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in range(3):
        lines = np.moveaxis(grid, axis, 0)
        padded = np.pad(lines, [(reach, reach), (0, 0), (0, 0)], mode="edge")
        blurred = np.zeros_like(lines)
        for offset, weight in enumerate(weights):
            blurred += weight * padded[offset : offset + len(lines)]
        grid = np.moveaxis(blurred, 0, axis)
    return grid


def blur_density(grid: Array, spacing: float, deviation: float) -> Array:
    """Return densities (x, y, z) float32 without noise finer than `deviation` grid points; 0 changes nothing.

    Args:
        grid: densities >= 0, (x, y, z) float32.
        spacing: between grid points, in world units.
        deviation: of the Gaussian, in grid points.

    Raises:
        ValueError: the deviation is below 0.
    """
    if deviation < 0:
        raise ValueError(f"the density blur must be 0 or more; {deviation} came")
    if deviation == 0:
        return grid
    thickness = SLAB * deviation * spacing
    opacity = gaussian_blur(-np.expm1(-thickness * grid), deviation)
    # A slab that float32 cannot tell from opaque has a density of 16 / thickness or more: as solid as anything.
    densities: Array = -np.log1p(-np.minimum(opacity, np.float32(1 - 2**-23))) / thickness
    return densities
