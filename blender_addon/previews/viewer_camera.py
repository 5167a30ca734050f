"""From a 3-D view's matrices to the camera that a viewer looks through, and from a picture back to its place on screen.

Plain functions on arrays: nothing here knows of Blender. Frames: the scene's; the object's (`placement.py`), in object
units; and the *picture plane* of a camera, the plane one unit in front of it, where a point (x, y, z) of the camera's
own axes stands at (x / -z, y / -z). A rectangle of that plane is (left, right, bottom, top).

An orthographic view has no such camera. It is replaced by one that is `FAR` object units away from the object, exactly
in front of it: seen from there, nothing of the object is out of its place by more than 1 in 100.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Rectangle = tuple[float, float, float, float]

RADIUS = 0.72
"""Of the ball, in object units, outside which servers render nothing."""
FAR = 100.0
_MOST = 1000.0
"""Distances and numbers of a lens beyond this are refused by servers."""


@dataclass(frozen=True)
class Sight:
    """What a 3-D view sees.

    Attributes:
        camera_to_world: (4, 4) float64, rigid: the camera in the object's frame.
        window: what the region shows of the picture plane.
    """

    camera_to_world: np.ndarray
    window: Rectangle


def sight_of(view_matrix: np.ndarray, window_matrix: np.ndarray, object_to_scene: np.ndarray) -> Sight | None:
    """Return what a 3-D view sees; None if its matrices make no sense (a region that was never drawn).

    Args:
        view_matrix: (4, 4) from the scene to the camera's own axes, `RegionView3D.view_matrix`.
        window_matrix: (4, 4) projection, `RegionView3D.window_matrix`: of perspective or not, shifted or not.
        object_to_scene: (4, 4) from the object's frame to the scene: a rotation, a uniform scale, a translation.
    """
    view, window, frame = (np.asarray(m, dtype=np.float64) for m in (view_matrix, window_matrix, object_to_scene))
    if not all(np.isfinite(m).all() for m in (view, window, frame)) or not np.linalg.det(view) or not window[0, 0]:
        return None
    scene_to_object = np.linalg.inv(frame)
    axes = _without_scale((scene_to_object @ np.linalg.inv(view))[:3, :3])
    camera = np.eye(4)
    camera[:3, :3] = axes
    is_perspective = abs(window[3, 2]) > 0.5
    if is_perspective:
        camera[:3, 3] = (scene_to_object @ np.linalg.inv(view))[:3, 3]
        left, right = ((edge + window[0, 2]) / window[0, 0] for edge in (-1.0, 1.0))
        bottom, top = ((edge + window[1, 2]) / window[1, 1] for edge in (-1.0, 1.0))
        return Sight(camera, (left, right, bottom, top))
    camera[:3, 3] = FAR * axes[:, 2]
    size = np.cbrt(abs(np.linalg.det(frame[:3, :3])))
    centre = (view @ frame)[:2, 3]
    left, right = (((edge - window[0, 3]) / window[0, 0] - centre[0]) / (size * FAR) for edge in (-1.0, 1.0))
    bottom, top = (((edge - window[1, 3]) / window[1, 1] - centre[1]) / (size * FAR) for edge in (-1.0, 1.0))
    return Sight(camera, (left, right, bottom, top))


def lens_for(sight: Sight) -> np.ndarray | None:
    """Return the lens (3,) float64 of a square picture around what can be seen of the object, as close as can be.

    None if nothing can be seen of it, or it is too far away for servers.
    """
    ball = ball_rectangle(sight.camera_to_world)
    if ball is None or np.linalg.norm(sight.camera_to_world[:3, 3]) > _MOST:
        return None
    left, bottom = max(ball[0], sight.window[0]), max(ball[2], sight.window[2])
    right, top = min(ball[1], sight.window[1]), min(ball[3], sight.window[3])
    side = max(right - left, top - bottom)
    if not (right > left and top > bottom and np.isfinite(side)):
        return None
    lens = np.array([1.0, (left + right) / 2, (bottom + top) / 2]) / side
    return lens if np.abs(lens).max() <= _MOST else None


def place_on_screen(sight: Sight, camera_to_world: np.ndarray, lens: np.ndarray) -> Rectangle | None:
    """Return where a square picture belongs in a view, in shares of the region from its lower left corner.

    A picture from the view's own camera belongs exactly where it was taken. One from another camera is a still: it is
    put where the object is now, so that its outline on the screen stays about where the object stands.

    Args:
        sight: what the view sees now.
        camera_to_world: (4, 4) the picture's camera.
        lens: (3,) its lens.

    Returns:
        None if there is no such place: one of the cameras has the object around it, or behind it.
    """
    focal, shift_x, shift_y = (float(number) for number in lens)
    if not focal > 0:
        return None
    square = np.array([shift_x - 0.5, shift_x + 0.5, shift_y - 0.5, shift_y + 0.5]) / focal
    if not np.allclose(sight.camera_to_world, camera_to_world, atol=1e-4, rtol=1e-5):
        then, now = ball_rectangle(camera_to_world), ball_rectangle(sight.camera_to_world)
        if then is None or now is None or not np.isfinite([*then, *now]).all():
            return None
        for low in (0, 2):
            scale = (now[low + 1] - now[low]) / (then[low + 1] - then[low])
            square[low : low + 2] = now[low] + (square[low : low + 2] - then[low]) * scale
    left, right, bottom, top = sight.window
    across, up = (square[:2] - left) / (right - left), (square[2:] - bottom) / (top - bottom)
    return float(across[0]), float(across[1]), float(up[0]), float(up[1])


def ball_rectangle(camera_to_world: np.ndarray) -> Rectangle | None:
    """Return the smallest rectangle of the picture plane that holds the object's ball; None if it is all behind.

    Where the ball reaches beyond a right angle from the camera's axis, the rectangle has no end there.
    """
    matrix = np.asarray(camera_to_world, dtype=np.float64)
    x, y, z = matrix[:3, :3].T @ -matrix[:3, 3]
    horizontal, vertical = _tangents(x, -z), _tangents(y, -z)
    return (*horizontal, *vertical) if horizontal and vertical else None


def _tangents(aside: float, depth: float) -> tuple[float, float] | None:
    """Return the slopes of the two tangents from the origin to the ball's circle in a plane through the axis."""
    distance = np.hypot(aside, depth)
    if distance <= RADIUS:
        return -np.inf, np.inf
    middle, half = np.arctan2(aside, depth), np.arcsin(RADIUS / distance)
    right_angle = np.pi / 2 - 1e-6
    if middle - half >= right_angle or middle + half <= -right_angle:
        return None
    low = np.tan(middle - half) if middle - half > -right_angle else -np.inf
    high = np.tan(middle + half) if middle + half < right_angle else np.inf
    return float(low), float(high)


def _without_scale(axes: np.ndarray) -> np.ndarray:
    return axes / np.linalg.norm(axes, axis=0)
