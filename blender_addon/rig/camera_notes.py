"""What is unusual about a view, as a note: it can serve, but the prior may not know pictures like it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from limbeck_protocol.recipe import Orbit

from .placement import BALL_RADIUS

_USUAL = Orbit()
_SIZE_FACTOR = 1.35
"""How much larger or smaller than usual the object may appear."""
_DISTANCE_FACTOR = 1.6
_ELEVATION_MARGIN_DEG = 10.0
_MAX_ROLL_DEG = 20.0
_MAX_OFFSET = 0.15
"""How far from the picture's middle the object's centre may lie, as a share of the picture's side."""


def focal_length(field_of_view_deg: float) -> float:
    """Return the focal length as a share of the picture's height."""
    return 0.5 / math.tan(math.radians(field_of_view_deg) / 2)


def usual_distance() -> float:
    """Return the middle of the usual orbit's distances, in object units."""
    return sum(_USUAL.distance) / 2


def _usual_size() -> float:
    return focal_length(sum(_USUAL.field_of_view_deg) / 2) / usual_distance()


def camera_note(camera_to_object: np.ndarray, lens: Sequence[float], *, knows_only_usual_views: bool) -> str:
    """Return a phrase that goes on after a camera's name ("shows ..."), empty when nothing is unusual.

    Args:
        camera_to_object: (4, 4), rigid, in object units.
        lens: focal length, horizontal and vertical shift as shares of the picture's height.
        knows_only_usual_views: whether the prior knows no views but those much like the usual orbit's.
    """
    rotation, position = camera_to_object[:3, :3], camera_to_object[:3, 3]
    x, y, z = -rotation.T @ position  # where the object's centre lies in the camera's own axes
    distance = float(np.linalg.norm(position))
    if z >= 0:
        return "sees the object at its edge at most: turn it towards the object"
    middle = np.array([lens[0] * x / -z - lens[1], lens[0] * y / -z - lens[2]])
    if (np.abs(middle) > 0.5 + lens[0] * BALL_RADIUS / -z).any():
        return "does not have the object in its picture: turn it towards the object"
    if not knows_only_usual_views:
        return ""
    size = lens[0] / -z / _usual_size()
    if not 1 / _SIZE_FACTOR <= size <= _SIZE_FACTOR:
        return (
            f"shows the object at {size:.0%} of the size that this prior knows: "
            f"a distance of {usual_distance():.3g} sizes and a square of "
            f"{sum(_USUAL.field_of_view_deg) / 2:.0f} degrees suit it"
        )
    if np.abs(middle).max() > _MAX_OFFSET:
        return "has the object away from the middle of its square, where this prior knows it"
    elevation = math.degrees(math.asin(np.clip(position[2] / distance, -1.0, 1.0)))
    low, high = _USUAL.elevation_deg
    if not low - _ELEVATION_MARGIN_DEG <= elevation <= high + _ELEVATION_MARGIN_DEG:
        return f"looks from {elevation:.0f} degrees; this prior knows views from {low:.0f} to {high:.0f} degrees"
    roll = math.degrees(math.atan2(rotation[2, 0], rotation[2, 1]))
    if abs(roll) > _MAX_ROLL_DEG and abs(elevation) < 80.0:
        return f"is rolled by {abs(roll):.0f} degrees; this prior knows upright views"
    if not 1 / _DISTANCE_FACTOR <= distance / usual_distance() <= _DISTANCE_FACTOR:
        return f"stands {distance:.3g} sizes away; this prior knows the perspective of {usual_distance():.3g} sizes"
    return ""


def orbit_note(orbit: Orbit, *, knows_only_usual_views: bool) -> str:
    """Return a phrase that goes on after "The orbit", empty when nothing is unusual."""
    if not knows_only_usual_views:
        return ""
    sizes = [
        focal_length(angle) / distance / _usual_size()
        for angle, distance in zip(orbit.field_of_view_deg[::-1], orbit.distance, strict=True)
    ]
    if max(sizes) > _SIZE_FACTOR or min(sizes) < 1 / _SIZE_FACTOR:
        return (
            f"shows the object at {min(sizes):.0%} to {max(sizes):.0%} of the size that this prior knows: "
            f"a distance of {usual_distance():.3g} and {sum(_USUAL.field_of_view_deg) / 2:.0f} degrees suit it"
        )
    low, high = _USUAL.elevation_deg
    if orbit.elevation_deg[0] < low - _ELEVATION_MARGIN_DEG or orbit.elevation_deg[1] > high + _ELEVATION_MARGIN_DEG:
        return f"goes beyond {low:.0f} to {high:.0f} degrees of elevation, which this prior knows"
    return ""
