"""Fields with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

LEVEL = 5.0


def solid(signed_distance: Callable[[np.ndarray], np.ndarray], sharpness: float = 200.0):
    """A density that crosses LEVEL exactly where the signed distance is 0: softplus(LEVEL' - sharpness * distance)."""
    start = np.log(np.expm1(LEVEL))

    def density(points: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, start - sharpness * signed_distance(points.astype(np.float64)))

    return density


def ball_distance(radius: float, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)):
    return lambda points: np.linalg.norm(points - np.array(centre), axis=1) - radius


def torus_distance(ring: float, tube: float):
    return lambda points: np.hypot(np.hypot(points[:, 0], points[:, 1]) - ring, points[:, 2]) - tube


def box_distance(half: tuple[float, float, float], centre: tuple[float, float, float] = (0.0, 0.0, 0.0)):
    def distance(points: np.ndarray) -> np.ndarray:
        outside = np.abs(points - np.array(centre)) - np.array(half)
        return np.linalg.norm(np.maximum(outside, 0), axis=1) + np.minimum(outside.max(axis=1), 0)

    return distance


def union(*distances):
    return lambda points: np.min([distance(points) for distance in distances], axis=0)


def minus(outer, hole):
    return lambda points: np.maximum(outer(points), -hole(points))


def rainbow(points: np.ndarray) -> np.ndarray:
    """A colour that says where the point is; it changes by at most 2 per unit of length."""
    return 0.5 + 0.5 * np.sin(4.0 * points + np.array([0.0, 1.0, 2.0]))


@pytest.fixture(scope="session")
def fields() -> SimpleNamespace:
    return SimpleNamespace(
        LEVEL=LEVEL,
        solid=solid,
        ball=ball_distance,
        torus=torus_distance,
        box=box_distance,
        union=union,
        minus=minus,
        rainbow=rainbow,
    )
