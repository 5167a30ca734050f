"""How one camera of the scene stands and sees: plain numbers, read from Blender once.

**Lens.** Blender spans the sensor over one side of the frame (`sensor_fit`), and measures shifts in that side. With
`side` the square's side in millimetres on the sensor: focal = lens / side, shift = shift * span / side, where `span` is
the sensor dimension that the fit uses. A positive `shift_x` moves the picture's contents left, here as in Blender.

**Custom properties** on a camera object: `limbeck_weight` (how often it is drawn, 1), `limbeck_prompt` (appended to the
prompt, after a comma, in place of the view words).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

from .camera_path import evaluation

MAX_SUFFIX_CHARACTERS = 198
"""The protocol takes 200; a comma and a space go before it."""
PERSPECTIVE, AIM = "PERSPECTIVE", "AIM"
"""What `limbeck.fix_camera` can do about a camera that cannot serve."""


class BadCameraError(LimbeckError):
    """A camera that cannot serve: `camera_name` says which, `fix` (PERSPECTIVE, AIM or empty) what a button can do."""

    def __init__(self, camera_name: str, sentence: str, label: str, fix: str = "") -> None:
        remedy = remedy_for(ErrorCode.INVALID_FIELD, label=label, field="rig.cameras")
        super().__init__(ErrorCode.INVALID_FIELD, f"Camera '{camera_name}' {sentence}", remedy)
        self.camera_name, self.fix = camera_name, fix


def bad_camera(camera_name: str, sentence: str, label: str, fix: str = "") -> BadCameraError:
    """Return the error for a camera that cannot serve, naming it."""
    return BadCameraError(camera_name, sentence, label, fix)


@dataclass(frozen=True, eq=False)
class CameraPose:
    """A camera as it stands in the scene at one frame. Data only: undo and file loads leave it valid.

    Attributes:
        name: of the camera object, with the frame if that is another than the current one.
        matrix_world: (4, 4) float64, as Blender evaluates it, scale included.
        lens: focal length, horizontal and vertical shift as shares of the square picture's height.
        weight: how often it is drawn.
        prompt_suffix: empty lets the view words be chosen by its position.
    """

    name: str
    matrix_world: np.ndarray
    lens: tuple[float, float, float]
    weight: float = 1.0
    prompt_suffix: str = ""


_KINDS = {"ORTHO": "orthographic", "PANO": "panoramic"}
CameraLike = bpy.types.Object | CameraPose


def poses_of(scene: bpy.types.Scene, cameras: Sequence[CameraLike]) -> list[CameraPose]:
    """Return how cameras stand at the scene's current frame; poses stay as they are.

    Blender keeps cameras of excluded collections where they were when it last looked; they are evaluated apart.

    Raises:
        LimbeckError: one of them is no camera, is disabled in viewports, or its lens, weight or prompt cannot be used.
    """
    context = bpy.context
    view_layer = context.view_layer if context.scene == scene else scene.view_layers[0]
    # Locations that a script has just set reach `matrix_world` with the next evaluation.
    view_layer.update()
    for camera in cameras:
        if not isinstance(camera, CameraPose):
            check_is_camera(camera)
    found = [one if isinstance(one, CameraPose) else one.evaluated_get(view_layer.depsgraph) for one in cameras]
    if all(isinstance(one, CameraPose) or one.is_evaluated for one in found):
        return [one if isinstance(one, CameraPose) else pose_of(one, scene.render) for one in found]
    frame = scene.frame_current_final
    with evaluation(scene, [one for one in cameras if not isinstance(one, CameraPose)]) as evaluated:
        return [
            one if isinstance(one, CameraPose) else pose_of(evaluated(one, frame), scene.render, must_be_evaluated=True)
            for one in cameras
        ]


def path_poses(scene: bpy.types.Scene, pairs: Sequence[tuple[bpy.types.Object, float]]) -> list[CameraPose]:
    """Return one pose for each camera and frame of a path; the user's own frame stays as it is.

    The weight of a camera is shared out over the path, so that a path counts as much as one camera.

    Raises:
        LimbeckError: see `poses_of`; the message names the frame.
    """
    poses = []
    for camera, _ in pairs:
        check_is_camera(camera)
    with evaluation(scene, [camera for camera, _ in pairs]) as evaluated:
        for camera, frame in pairs:
            name = f"{camera.name}, frame {frame:g}"
            pose = pose_of(evaluated(camera, frame), scene.render, name=name, must_be_evaluated=True)
            poses.append(CameraPose(name, pose.matrix_world, pose.lens, pose.weight / len(pairs), pose.prompt_suffix))
    return poses


def pose_of(
    camera: bpy.types.Object, render: bpy.types.RenderSettings, name: str | None = None, must_be_evaluated: bool = False
) -> CameraPose:
    """Return how a camera object stands by its own numbers, nothing being updated.

    Raises:
        LimbeckError: it is no camera, or its lens, weight or prompt cannot be used.
    """
    check_is_camera(camera)
    name = name or camera.name
    if must_be_evaluated and not camera.is_evaluated:
        sentence = "is disabled in viewports, so Blender does not keep its place up to date."
        raise bad_camera(name, sentence, "Switch the screen icon on in the Outliner; hiding with the eye is fine.")
    # Blender tells its evaluated copies nothing of custom properties that a script has set.
    written = camera.original
    return CameraPose(
        name=name,
        matrix_world=np.array(camera.matrix_world, dtype=np.float64),
        lens=lens_of(camera, render, name),
        weight=_weight_of(written, name),
        prompt_suffix=_suffix_of(written, name),
    )


def check_is_camera(camera: object) -> None:
    """Return nothing, or raise.

    Raises:
        LimbeckError: it is no camera object.
    """
    if getattr(camera, "type", None) != "CAMERA":
        name = getattr(camera, "name", repr(camera))
        raise bad_camera(name, "is no camera object.", "Put camera objects only into the rig.")


def lens_of(
    camera: bpy.types.Object, render: bpy.types.RenderSettings, name: str | None = None
) -> tuple[float, float, float]:
    """Return focal length, horizontal and vertical shift as shares of the square picture's height.

    Raises:
        LimbeckError: the camera is orthographic or panoramic, or a number is not finite.
    """
    data, name = camera.data, name or camera.name
    if data.type != "PERSP":
        kind = _KINDS.get(data.type, f"of type {data.type.lower()}")
        label = "Set the camera's lens type to Perspective."
        raise bad_camera(name, f"is {kind}; the server sees in perspective.", label, PERSPECTIVE)
    width, height = render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y
    fit = data.sensor_fit if data.sensor_fit != "AUTO" else ("HORIZONTAL" if width >= height else "VERTICAL")
    # With Auto it is the sensor's width that spans the larger side, also in a portrait frame.
    span = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    side = span * max(width, height) / (width if fit == "HORIZONTAL" else height)
    lens = (data.lens / side, data.shift_x * span / side, data.shift_y * span / side)
    if not np.isfinite(lens).all() or lens[0] <= 0:
        raise bad_camera(name, "has a lens that is not finite.", "Reset the camera's lens and shift.")
    return lens


def _weight_of(camera: bpy.types.Object, name: str) -> float:
    weight = camera.get("limbeck_weight", 1.0)
    if not isinstance(weight, int | float) or not 0 <= weight <= 1e6:
        sentence = f"has limbeck_weight {weight!r}; a number from 0 to 1,000,000 was expected."
        raise bad_camera(name, sentence, "Correct the camera's weight.")
    return float(weight)


def _suffix_of(camera: bpy.types.Object, name: str) -> str:
    suffix = camera.get("limbeck_prompt", "")
    if not isinstance(suffix, str) or len(suffix) > MAX_SUFFIX_CHARACTERS:
        sentence = f"has a limbeck_prompt that is no text of at most {MAX_SUFFIX_CHARACTERS} characters."
        raise bad_camera(name, sentence, "Shorten the camera's prompt.")
    words = suffix.strip()
    # The server appends it to the prompt as it is.
    return words if not words or words[0] in ",.;:" else f", {words}"
