"""What must hold for camera arrays that the types cannot say: shapes, rigid matrices, lenses that see something.

Plain functions on arrays; each raises `LimbeckError` with the dotted name of the field that is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

_ROTATION_TOLERANCE = 1e-3
_MAX_DISTANCE = 1000.0
"""Object units; the object fits into a ball of radius 0.6."""
_MAX_LENS = 1000.0


def invalid(field: str, sentence: str) -> LimbeckError:
    """Return an INVALID_FIELD error whose remedy points at `field`."""
    return LimbeckError(
        ErrorCode.INVALID_FIELD, f"{field}: {sentence}", remedy_for(ErrorCode.INVALID_FIELD, field=field)
    )


def check_cameras(
    camera_to_world: Any, lens: Any, weight: Any, prompt_suffix: list[str], limit: int, field: str
) -> None:
    """Check n explicit cameras: (n, 4, 4), (n, 3) and (n,) float32 arrays, and n suffixes, 1 <= n <= limit.

    Raises:
        LimbeckError: INVALID_FIELD, naming `field` and what is wrong below it.
    """
    count = len(prompt_suffix)
    if not 1 <= count <= limit:
        raise invalid(f"{field}.prompt_suffix", f"expected one suffix per camera, 1 to {limit}; there are {count}.")
    _check_array(camera_to_world, (count, 4, 4), f"{field}.camera_to_world")
    _check_array(lens, (count, 3), f"{field}.lens")
    _check_array(weight, (count,), f"{field}.weight")
    _check_rigid(camera_to_world, f"{field}.camera_to_world")
    _check_lens(lens, f"{field}.lens")
    if (weight < 0).any():
        raise invalid(f"{field}.weight", "expected weights of at least 0.")


def check_viewer_camera(camera_to_world: Any, lens: Any) -> None:
    """Check one camera: (4, 4) and (3,) float32 arrays.

    Raises:
        LimbeckError: INVALID_FIELD, naming what is wrong.
    """
    _check_array(camera_to_world, (4, 4), "viewer.camera_to_world")
    _check_array(lens, (3,), "viewer.lens")
    _check_rigid(camera_to_world[None], "viewer.camera_to_world")
    _check_lens(lens[None], "viewer.lens")


def _check_array(array: Any, shape: tuple[int, ...], field: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise invalid(field, f"expected a float32 array of shape {shape}; {found} came.")
    if not np.isfinite(array).all():
        raise invalid(field, "expected finite numbers; there is a NaN or an infinity.")


def _check_rigid(matrices: Any, field: str) -> None:
    """Check (n, 4, 4): a rotation, a place within reach, and a last row of 0 0 0 1. Scale and mirrors are refused."""
    rotations = matrices[:, :3, :3].astype(np.float64)
    if (np.abs(matrices[:, 3] - np.array([0, 0, 0, 1], np.float32)) > _ROTATION_TOLERANCE).any():
        raise invalid(field, "expected a last row of 0 0 0 1 in each matrix (row-major, camera to world).")
    if (np.abs(matrices[:, :3, 3]) > _MAX_DISTANCE).any():
        raise invalid(field, f"expected cameras within {_MAX_DISTANCE:g} object units of the object.")
    squared = rotations.transpose(0, 2, 1) @ rotations
    if (np.abs(squared - np.eye(3)) > _ROTATION_TOLERANCE).any():
        raise invalid(
            field, "expected rotations without scale or shear: unit-length, perpendicular axes. Apply the scale."
        )
    if (np.linalg.det(rotations) < 0).any():
        raise invalid(field, "expected rotations without mirroring. Apply the camera's (negative) scale.")


def _check_lens(lens: Any, field: str) -> None:
    if (lens[:, 0] <= 0).any() or (np.abs(lens) > _MAX_LENS).any():
        raise invalid(field, f"expected a focal length above 0, and no number beyond {_MAX_LENS:g} picture heights.")
