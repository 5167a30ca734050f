"""The object's frame in the scene: where its centre lies, how it is turned, how large it becomes.

One frame serves both ways: cameras are sent to the server relative to it, and the mesh comes back into it. So what a
camera saw while the object grew is what it sees once the object is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import bpy
import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from mathutils import Matrix, Quaternion, Vector

BALL_RADIUS = 0.6
"""The object fits into this ball around its origin, in object units."""
_LEAST_SIZE = 1e-6


@dataclass(frozen=True)
class Placement:
    """A frame without shear: scene = location + rotation * (size * object).

    Attributes:
        location: the object's centre, in scene units.
        rotation: unit quaternion, w x y z; the object's front looks along its rotated -Y.
        size: scene units per object unit; the object's largest dimension is about one object unit.
    """

    location: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    size: float = 1.0

    def __post_init__(self) -> None:
        try:
            numbers = np.asarray([*self.location, *self.rotation, self.size], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise _bad("location", "A location of three numbers and a size of one were expected.") from error
        if numbers.shape != (8,) or not np.isfinite(numbers).all():
            raise _bad("location", "A location of three finite numbers was expected.")
        if not 1e-6 <= self.size <= 1e6:
            raise _bad("size", f"The size should be a length above 0, in scene units; {self.size:g} came.")

    @cached_property
    def matrix(self) -> np.ndarray:
        """(4, 4) float64: object units to scene units, the size included."""
        w, x, y, z = np.asarray(self.rotation, dtype=np.float64) / np.linalg.norm(self.rotation)
        result = np.eye(4)
        result[:3, :3] = self.size * np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        result[:3, 3] = self.location
        return result

    def rotated(self, matrix: Matrix) -> Matrix:
        """Return a rigid `matrix` of the object's frame as one of the scene (the size applies to its translation)."""
        local = matrix.copy()
        local.translation = local.translation * self.size
        return Matrix.Translation(self.location) @ Quaternion(self.rotation).to_matrix().to_4x4() @ local

    def to_object(self, point: Vector) -> Vector:
        """Return a point of the scene in object units."""
        return Quaternion(self.rotation).inverted() @ (point - Vector(self.location)) / self.size


def _bad(field: str, sentence: str) -> LimbeckError:
    return LimbeckError(
        ErrorCode.INVALID_FIELD,
        sentence,
        remedy_for(ErrorCode.INVALID_FIELD, label=f"Correct the {field}.", field=field),
    )


def placement_of(target: bpy.types.Object) -> Placement:
    """Return the frame that an object of the scene marks out.

    An Empty marks it by what is drawn: its cube or circle is the box that the object fills, so the size is twice the
    display size times the largest scale; its -Y is the object's front, its Z the object's upward direction (mirrored or
    sheared Empties keep these two). Any other object marks it by its bounding box in the scene's axes: centre and
    largest dimension, no rotation.

    Raises:
        LimbeckError: the object has no extent or its matrix is not finite.
    """
    matrix = target.matrix_world
    if not np.isfinite(np.asarray(matrix)).all():
        raise _bad("target", f"The matrix of '{target.name}' holds numbers that are not finite.")
    if target.type == "EMPTY":
        axes = matrix.to_3x3().col
        size = 2.0 * target.empty_display_size * max(axis.length for axis in axes)
        return _checked(target, matrix.translation, _turn(target, *axes[1:]), size)
    corners = np.asarray([matrix @ Vector(corner) for corner in target.bound_box])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return _checked(target, (low + high) / 2, Quaternion(), float((high - low).max()))


def _turn(target: bpy.types.Object, back: Vector, up: Vector) -> Quaternion:
    """Return the rotation whose Y looks along `back` and whose Z comes as near to `up` as it can."""
    right = back.cross(up)
    if right.length <= 1e-6 * max(back.length, up.length) ** 2:
        raise _bad("target", f"'{target.name}' has no extent along its Y or Z; give it a scale above 0.")
    back, right = back.normalized(), right.normalized()
    return Matrix((right, back, right.cross(back))).transposed().to_quaternion()


def _checked(target: bpy.types.Object, location: Vector, rotation: Quaternion, size: float) -> Placement:
    if not size > _LEAST_SIZE:
        raise _bad("target", f"'{target.name}' has no extent; an Empty or an object with a bounding box was expected.")
    return Placement(tuple(map(float, location)), tuple(map(float, rotation)), float(size))
