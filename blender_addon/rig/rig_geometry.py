"""The lines of the rig that the viewport shows: numpy only, no Blender, no graphics card.

Lines are segments (n, 2, 3) float64, in object units (Z up, front towards -Y) unless a function says otherwise.
Angles and lenses mean what they mean to the server: azimuth 0 is in front of the object, 90 at its left side (+X); a
lens is focal length, horizontal and vertical shift as shares of the square picture's height.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from limbeck_protocol.recipe import Orbit

CIRCLE_SEGMENTS = 96
_MERIDIAN_STEP_DEG = 45.0
_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
"""Of the picture, from its middle, y upwards."""
_EMPTY = np.zeros((0, 2, 3))

_LETTERS = {
    "F": [(0, 0, 0, 4), (0, 4, 2, 4), (0, 2, 1.5, 2)],
    "R": [(0, 0, 0, 4), (0, 4, 2, 4), (2, 4, 2, 2), (2, 2, 0, 2), (1, 2, 2, 0)],
    "O": [(0, 0, 0, 4), (0, 4, 2, 4), (2, 4, 2, 0), (2, 0, 0, 0)],
    "N": [(0, 0, 0, 4), (0, 4, 2, 0), (2, 0, 2, 4)],
    "T": [(1, 0, 1, 4), (0, 4, 2, 4)],
}
"""Strokes x0 y0 x1 y1 on a grid of 2 by 4."""


def joined(*parts: np.ndarray) -> np.ndarray:
    """Return several sets of lines as one."""
    return np.concatenate(parts) if parts else _EMPTY


def polyline(points: np.ndarray, *, closed: bool = False) -> np.ndarray:
    """Return the lines along points (n, 3), back to the first one if `closed`."""
    if closed:
        points = np.concatenate([points, points[:1]])
    return np.stack([points[:-1], points[1:]], axis=1)


def transformed(lines: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the lines mapped by an affine matrix (4, 4)."""
    return lines @ matrix[:3, :3].T + matrix[:3, 3]


@cache
def box_lines() -> np.ndarray:
    """Return the twelve edges of the box that the object fills: a unit cube around the origin."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    pairs = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]
    return np.array([[corners[a], corners[b]] for a, b in pairs])


@cache
def front_lines() -> np.ndarray:
    """Return an arrow on the box's floor that points out of its front (-Y), and the word FRONT before it."""
    tip, tail = np.array([0.0, -0.82, -0.5]), np.array([0.0, -0.5, -0.5])
    barbs = [tip + np.array([side * 0.1, 0.12, 0.0]) for side in (-1, 1)]
    arrow = np.array([[tail, tip], [tip, barbs[0]], [tip, barbs[1]]])
    return joined(arrow, _floor_text("FRONT", middle=(0.0, -1.08, -0.5), height=0.16))


def _floor_text(text: str, middle: Sequence[float], height: float) -> np.ndarray:
    """Return capital letters that lie flat and are read from -Y."""
    unit, advance = height / 4, 3
    start = -(advance * len(text) - 1) / 2
    strokes = [
        [[x0 + start + advance * place, y0 - 2, 0.0], [x1 + start + advance * place, y1 - 2, 0.0]]
        for place, letter in enumerate(text)
        for x0, y0, x1, y1 in _LETTERS[letter]
    ]
    return np.array(strokes) * unit + np.asarray(middle)


def orbit_points(azimuth_deg: np.ndarray, elevation_deg: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Return positions (n, 3) on an orbit; the three arrays are broadcast against each other."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    parts = np.broadcast_arrays(
        np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)
    )
    return np.asarray(distance)[..., None] * np.stack(parts, axis=-1)


@lru_cache(maxsize=8)
def orbit_lines(orbit: Orbit) -> np.ndarray:
    """Return the band that the orbit's cameras stand in: arcs at its elevation limits and distances, and meridians."""
    low, high = orbit.azimuth_deg
    is_round = high - low >= 360.0
    segments = max(2, round(CIRCLE_SEGMENTS * min(high - low, 360.0) / 360.0))
    azimuths = np.linspace(low, low + min(high - low, 360.0), segments + 1)
    lines = []
    for distance in dict.fromkeys(orbit.distance):
        for elevation in dict.fromkeys(orbit.elevation_deg):
            lines.append(polyline(orbit_points(azimuths, np.full_like(azimuths, elevation), distance)))
    meridians = np.arange(low, low + 360.0, _MERIDIAN_STEP_DEG) if is_round else np.array([low, high])
    elevations = np.linspace(*orbit.elevation_deg, max(2, round((orbit.elevation_deg[1] - orbit.elevation_deg[0]) / 4)))
    for azimuth in meridians:
        for distance in dict.fromkeys(orbit.distance):
            lines.append(polyline(orbit_points(np.full_like(elevations, azimuth), elevations, distance)))
        for elevation in dict.fromkeys(orbit.elevation_deg):
            lines.append(polyline(orbit_points(azimuth, elevation, np.array(orbit.distance))))
    return joined(*lines)


def picture_corners(lens: Sequence[float], depth: float) -> np.ndarray:
    """Return where the corners (4, 3) of the server's square picture lie at a depth, in the camera's own axes."""
    focal, shift_x, shift_y = lens
    return np.column_stack([(_CORNERS + np.array([shift_x, shift_y])) / focal, -np.ones(4)]) * depth


def frustum_lines(camera_to_object: np.ndarray, lens: Sequence[float], depth: float) -> np.ndarray:
    """Return a camera as the server sees it: four edges, the square at `depth`, and a triangle at its upper side.

    Args:
        camera_to_object: (4, 4), rigid; the camera looks along its own -Z.
        lens: focal length, horizontal and vertical shift as shares of the square's height.
        depth: how far the square lies before the camera.
    """
    corners = picture_corners(lens, depth)
    edges = np.stack([np.zeros_like(corners), corners], axis=1)
    left, right = corners[3], corners[2]
    side = right - left
    top = (left + right) / 2 + np.array([0.0, np.linalg.norm(side) / 4, 0.0])
    triangle = polyline(np.stack([left + side / 4, top, right - side / 4]), closed=True)
    return transformed(joined(edges, polyline(corners, closed=True), triangle), camera_to_object)


def object_depth(camera_to_object: np.ndarray) -> float:
    """Return how far before the camera the object's centre lies; at least a tenth of its distance."""
    position = camera_to_object[:3, 3]
    return max(float(camera_to_object[:3, 2] @ position), 0.1 * float(np.linalg.norm(position)))


def path_lines(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Return the line through the places of cameras (4, 4), in their order."""
    if len(matrices) < 2:
        return _EMPTY
    return polyline(np.stack([matrix[:3, 3] for matrix in matrices]))
