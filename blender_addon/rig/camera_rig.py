"""The scene's cameras -> the protocol's rig.

**Which square.** The server renders squares; a scene's render frame seldom is one. The square covers the frame's
*larger* dimension, so whatever the artist has framed is in the picture; the strips beside it are simply seen too. With
sensor fit *Auto* this makes the picture independent of the render resolution. How one camera is read: `camera_pose.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import MAX_CAMERAS, Cameras, Orbit, Rig

from .camera_pose import (
    AIM,
    BadCameraError,
    CameraLike,
    CameraPose,
    bad_camera,
    check_is_camera,
    lens_of,
    path_poses,
    pose_of,
    poses_of,
)
from .orbit_box import ORBIT_FIELDS, orbit_from, orbit_from_empty
from .placement import BALL_RADIUS, Placement

__all__ = [
    "BALL_RADIUS",
    "LIMIT_DISTANCE",
    "ORBIT_FIELDS",
    "BadCameraError",
    "CameraPose",
    "bad_camera",
    "camera_to_object",
    "cameras_of",
    "lens_of",
    "orbit_from",
    "orbit_from_empty",
    "path_poses",
    "pose_of",
    "pose_to_object",
    "poses_of",
    "rig_of",
]

LIMIT_DISTANCE = 1000.0
_IDENTITY = np.eye(3)
_MAX_SHEAR = 2e-5
"""Largest cosine between two axes of a camera: what float32 leaves through a chain of parents; 0.01 pixels of 512."""


def rig_of(
    scene: bpy.types.Scene,
    placement: Placement,
    cameras: Sequence[CameraLike] | None = None,
    orbit: Orbit | None = None,
) -> Rig:
    """Return the rig of some cameras, an orbit, or both.

    Args:
        scene: its render frame decides how sensors span the picture.
        placement: the object's frame.
        cameras: camera objects, poses of them (`path_poses`), or None for none.
        orbit: the orbit, or None for none.

    Raises:
        LimbeckError: there is neither, or a camera cannot serve.
    """
    if not cameras and orbit is None:
        label = "Add a camera to the rig, or use an orbit."
        remedy = remedy_for(ErrorCode.INVALID_FIELD, label=label, field="rig")
        raise LimbeckError(ErrorCode.INVALID_FIELD, "The rig holds no camera and no orbit.", remedy)
    return Rig(orbit=orbit, cameras=cameras_of(scene, placement, cameras) if cameras else None)


def cameras_of(scene: bpy.types.Scene, placement: Placement, cameras: Sequence[CameraLike]) -> Cameras:
    """Return the cameras in the object's frame, as the protocol wants them.

    Raises:
        LimbeckError: too many, not a perspective camera, a matrix or number that is not finite, a mirrored, sheared or
            flattened camera, one inside the object's ball or with the whole ball behind it, a bad weight or prompt.
    """
    if len(cameras) > MAX_CAMERAS:
        name = getattr(cameras[MAX_CAMERAS], "name", repr(cameras[MAX_CAMERAS]))
        raise bad_camera(name, f"is one too many: {MAX_CAMERAS} fit.", "Remove some cameras.")
    poses = poses_of(scene, cameras)
    return Cameras(
        camera_to_world=np.stack([pose_to_object(pose, placement) for pose in poses]).astype(np.float32),
        lens=np.asarray([pose.lens for pose in poses], dtype=np.float32),
        weight=np.asarray([pose.weight for pose in poses], dtype=np.float32),
        prompt_suffix=[pose.prompt_suffix for pose in poses],
    )


def camera_to_object(camera: bpy.types.Object, placement: Placement) -> np.ndarray:
    """Return the rigid camera-to-object matrix (4, 4) float64: scale removed, translation in object units.

    Raises:
        LimbeckError: see `cameras_of`.
    """
    check_is_camera(camera)
    return _to_object(camera.name, np.array(camera.matrix_world, dtype=np.float64), placement)


def pose_to_object(pose: CameraPose, placement: Placement) -> np.ndarray:
    """Return the rigid camera-to-object matrix (4, 4) float64: scale removed, translation in object units.

    Raises:
        LimbeckError: see `cameras_of`.
    """
    return _to_object(pose.name, pose.matrix_world, placement)


def _to_object(name: str, matrix: np.ndarray, placement: Placement) -> np.ndarray:
    if not np.isfinite(matrix).all():
        raise bad_camera(name, "has a matrix with numbers that are not finite.", "Clear the camera's transform.")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / np.where(lengths > 0, lengths, 1.0)
    # Unit axes at right angles to each other; turned the other way round in a mirrored camera.
    if not (np.abs(axes.T @ axes - _IDENTITY) <= _MAX_SHEAR).all() or np.linalg.det(axes) < 0:
        label = "Clear or apply the scale of the camera and of its parents."
        raise bad_camera(name, "is mirrored, flattened or sheared.", label)
    frame = placement.matrix
    result = np.eye(4)
    result[:3, :3] = (frame[:3, :3] / placement.size).T @ axes
    result[:3, 3] = frame[:3, :3].T @ (matrix[:3, 3] - frame[:3, 3]) / placement.size**2
    distance = np.linalg.norm(result[:3, 3])
    if distance > LIMIT_DISTANCE:
        raise bad_camera(name, "is more than 1,000 sizes of the object away.", "Move it closer.")
    if distance <= BALL_RADIUS:
        raise bad_camera(name, "stands inside the object.", "Move it further out, or make the object smaller.")
    # The depth of the ball's centre along the view direction, which is the camera's own -Z.
    if result[:3, 2] @ result[:3, 3] <= -BALL_RADIUS:
        raise bad_camera(name, "looks away from the object.", "Turn the camera towards the object.", AIM)
    return result
