"""The scene's cameras, and orbits that Empties mark out -> the protocol's rig.

**Which square.** The server renders squares; a scene's render frame seldom is one. The square covers the frame's
*larger* dimension, so whatever the artist has framed is in the picture; the strips beside it are simply seen too. With
sensor fit *Auto* this makes the picture independent of the render resolution.

**Lens.** Blender spans the sensor over one side of the frame (`sensor_fit`), and measures shifts in that side. With
`side` the square's side in millimetres on the sensor: focal = lens / side, shift = shift * span / side, where `span` is
the sensor dimension that the fit uses. A positive `shift_x` moves the picture's contents left, here as in Blender.

**Custom properties.** On a camera: `limbeck_weight` (how often it is drawn, 1), `limbeck_prompt` (appended to the
prompt in place of the view words). On an Empty: `limbeck_azimuth_deg`, `limbeck_elevation_deg`, `limbeck_distance`,
`limbeck_field_of_view_deg` (two numbers each), `limbeck_jitter`, `limbeck_weight`: the fields of the protocol's Orbit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bpy
import msgspec
import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import MAX_CAMERAS, Cameras, Orbit, Rig
from mathutils import Matrix, Quaternion

from .placement import Placement

BALL_RADIUS = 0.6
"""The object fits into this ball around its origin, in object units."""
LIMIT_DISTANCE = 1000.0
ORBIT_FIELDS = tuple(field.name for field in msgspec.structs.fields(Orbit))


def bad_camera(camera_name: str, sentence: str, label: str) -> LimbeckError:
    """Return the error for a camera that cannot serve, naming it."""
    remedy = remedy_for(ErrorCode.INVALID_FIELD, label=label, field="rig.cameras")
    return LimbeckError(ErrorCode.INVALID_FIELD, f"Camera '{camera_name}' {sentence}", remedy)


def rig_of(
    scene: bpy.types.Scene,
    placement: Placement,
    cameras: Sequence[bpy.types.Object] | None = None,
    orbit: Orbit | None = None,
) -> Rig:
    """Return the rig of some cameras, an orbit, or both.

    Args:
        scene: its render frame decides how sensors span the picture.
        placement: the object's frame.
        cameras: camera objects, or None for none.
        orbit: the orbit, or None for none.

    Raises:
        LimbeckError: there is neither, or a camera cannot serve.
    """
    if not cameras and orbit is None:
        label = "Add a camera to the rig, or use an orbit."
        remedy = remedy_for(ErrorCode.INVALID_FIELD, label=label, field="rig")
        raise LimbeckError(ErrorCode.INVALID_FIELD, "The rig holds no camera and no orbit.", remedy)
    return Rig(orbit=orbit, cameras=cameras_of(scene, placement, cameras) if cameras else None)


def cameras_of(scene: bpy.types.Scene, placement: Placement, cameras: Sequence[bpy.types.Object]) -> Cameras:
    """Return the cameras in the object's frame, as the protocol wants them.

    Raises:
        LimbeckError: too many, not a perspective camera, a matrix or number that is not finite, a mirrored or flattened
            camera, one inside the object's ball or with the whole ball behind it, a bad weight or prompt.
    """
    if len(cameras) > MAX_CAMERAS:
        raise bad_camera(cameras[MAX_CAMERAS].name, f"is one too many: {MAX_CAMERAS} fit.", "Remove some cameras.")
    # Locations that a script has just set reach `matrix_world` with the next evaluation.
    bpy.context.view_layer.update()
    return Cameras(
        camera_to_world=np.stack([camera_to_object(camera, placement) for camera in cameras]).astype(np.float32),
        lens=np.asarray([lens_of(camera, scene.render) for camera in cameras], dtype=np.float32),
        weight=np.asarray([_weight_of(camera) for camera in cameras], dtype=np.float32),
        prompt_suffix=[_suffix_of(camera) for camera in cameras],
    )


def camera_to_object(camera: bpy.types.Object, placement: Placement) -> np.ndarray:
    """Return the rigid camera-to-object matrix (4, 4) float64: scale removed, translation in object units.

    Raises:
        LimbeckError: see `cameras_of`.
    """
    name = getattr(camera, "name", repr(camera))
    if getattr(camera, "type", None) != "CAMERA":
        raise bad_camera(name, "is no camera object.", "Put camera objects only into the rig.")
    matrix = camera.matrix_world
    if not np.isfinite(np.asarray(matrix)).all():
        raise bad_camera(name, "has a matrix with numbers that are not finite.", "Clear the camera's transform.")
    axes = matrix.to_3x3().normalized() if all(axis.length > 0 for axis in matrix.to_3x3().col) else None
    if axes is None or axes.determinant() < 0.9:  # 1 for any scale without mirroring, flattening and shear
        raise bad_camera(name, "is mirrored, flattened or sheared.", "Clear or apply the camera's scale.")
    rotation = Quaternion(placement.rotation).inverted() @ matrix.to_quaternion()
    position = placement.to_object(matrix.translation)
    result = np.asarray(Matrix.Translation(position) @ rotation.normalized().to_matrix().to_4x4(), dtype=np.float64)
    distance = np.linalg.norm(result[:3, 3])
    if distance > LIMIT_DISTANCE:
        raise bad_camera(name, "is more than 1,000 sizes of the object away.", "Move it closer.")
    if distance <= BALL_RADIUS:
        raise bad_camera(name, "stands inside the object.", "Move it further out, or make the object smaller.")
    # The depth of the ball's centre along the view direction, which is the camera's own -Z.
    if result[:3, 2] @ result[:3, 3] <= -BALL_RADIUS:
        raise bad_camera(name, "looks away from the object.", "Turn the camera towards the object.")
    return result


def lens_of(camera: bpy.types.Object, render: bpy.types.RenderSettings) -> tuple[float, float, float]:
    """Return focal length, horizontal and vertical shift as shares of the square picture's height.

    Raises:
        LimbeckError: the camera is orthographic or panoramic, or a number is not finite.
    """
    data = camera.data
    if data.type != "PERSP":
        raise bad_camera(camera.name, f"is of type {data.type.lower()}.", "Set the camera's lens type to Perspective.")
    width, height = render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y
    fit = data.sensor_fit if data.sensor_fit != "AUTO" else ("HORIZONTAL" if width >= height else "VERTICAL")
    # With Auto it is the sensor's width that spans the larger side, also in a portrait frame.
    span = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    side = span * max(width, height) / (width if fit == "HORIZONTAL" else height)
    lens = (data.lens / side, data.shift_x * span / side, data.shift_y * span / side)
    if not np.isfinite(lens).all() or lens[0] <= 0:
        raise bad_camera(camera.name, "has a lens that is not finite.", "Reset the camera's lens and shift.")
    return lens


def _weight_of(camera: bpy.types.Object) -> float:
    weight = camera.get("limbeck_weight", 1.0)
    if not isinstance(weight, int | float) or not 0 <= weight <= 1e6:
        sentence = f"has limbeck_weight {weight!r}; a number from 0 to 1,000,000 was expected."
        raise bad_camera(camera.name, sentence, "Correct the camera's weight.")
    return float(weight)


def _suffix_of(camera: bpy.types.Object) -> str:
    suffix = camera.get("limbeck_prompt", "")
    if not isinstance(suffix, str) or len(suffix) > 200:
        sentence = "has a limbeck_prompt that is no text of at most 200 characters."
        raise bad_camera(camera.name, sentence, "Shorten the camera's prompt.")
    return suffix


def orbit_from(values: Mapping[str, Any]) -> Orbit:
    """Return the protocol's orbit from some of its fields; the others keep their defaults.

    Raises:
        LimbeckError: a field is unknown, of the wrong kind, out of range, or a range runs backwards.
    """
    try:
        orbit = msgspec.convert(dict(values), Orbit)
    except (msgspec.ValidationError, TypeError) as error:
        raise _bad_orbit(f"The orbit cannot be read: {error}; its fields are {', '.join(ORBIT_FIELDS)}.") from error
    for name in ("azimuth_deg", "elevation_deg", "distance", "field_of_view_deg"):
        low, high = getattr(orbit, name)
        if not low <= high:
            raise _bad_orbit(f"The orbit's {name} runs from {low:g} to {high:g}; the smaller number comes first.")
    if orbit.distance[0] <= BALL_RADIUS:
        raise _bad_orbit(f"The orbit's distance starts at {orbit.distance[0]:g}, inside the object ({BALL_RADIUS:g}).")
    return orbit


def _bad_orbit(sentence: str) -> LimbeckError:
    remedy = remedy_for(ErrorCode.INVALID_FIELD, label="Correct the orbit.", field="rig.orbit")
    return LimbeckError(ErrorCode.INVALID_FIELD, sentence, remedy)


def orbit_from_empty(empty: bpy.types.Object) -> Orbit:
    """Return the orbit that an Empty's custom properties `limbeck_*` describe.

    Raises:
        LimbeckError: see `orbit_from`.
    """
    found = {name: empty.get(f"limbeck_{name}") for name in ORBIT_FIELDS}
    values = {name: _plain(value) for name, value in found.items() if value is not None}
    return orbit_from(values)


def _plain(value: Any) -> Any:
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
