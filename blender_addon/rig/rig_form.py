"""The panel's rig fields -> place, cameras, orbit, rig; and what the panel says about them before anything is sent.

Functions that the panel calls while it draws (`cameras_from`, `orbit_from_fields`, `camera_states`, `rig_problem`,
`shares`) read only. Those that hand something over (`placement_from`, `poses_from`, `rig_from`) let Blender evaluate
the scene first.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.recipe import Orbit, Rig

from ..recipe.catalog_view import KNOWN_WORLD_PRIORS
from ..recipe.recipe_form import as_written, bad_field
from .camera_notes import camera_note, orbit_note
from .camera_path import path_cameras
from .camera_pose import BadCameraError, CameraPose, path_poses, pose_of, poses_of
from .camera_rig import pose_to_object, rig_of
from .orbit_box import RANGE_FIELDS, has_own_orbit, orbit_from, orbit_from_empty
from .placement import Placement, placement_of

_last_path: tuple[tuple[object, ...], list[CameraPose]] | None = None
"""The path that was sampled last, and what it was sampled for: plain numbers, for the overlay to draw."""

_DISABLED = "Camera '{}' is disabled in viewports. Enable it with the screen icon of the Outliner."


_TARGET_GONE = "Choose another object under Place At, or clear that field."


@dataclass(frozen=True)
class CameraState:
    """What the panel shows about one camera: `error` if it cannot serve, else a `note` if its view is unusual."""

    camera: bpy.types.Object
    error: str = ""
    fix: str = ""
    note: str = ""


def placement_from(scene: bpy.types.Scene) -> Placement:
    """Return where the next result belongs: at the target, or at the 3D cursor with the panel's size.

    Raises:
        LimbeckError: the target has no extent, or was deleted.
    """
    if scene.limbeck.target is not None and bpy.context.scene == scene:
        bpy.context.view_layer.update()
    return placement_as_drawn(scene)


def placement_as_drawn(scene: bpy.types.Scene) -> Placement:
    """Return the same as `placement_from` by what Blender evaluated last; reads only.

    Raises:
        LimbeckError: the target has no extent, or was deleted.
    """
    fields = scene.limbeck
    if fields.target is not None:
        if is_target_gone(scene):
            raise bad_field("target", f"'{fields.target.name}' was deleted from the scene.", _TARGET_GONE)
        return placement_of(fields.target)
    return Placement(location=tuple(scene.cursor.location), size=fields.size)


def is_target_gone(scene: bpy.types.Scene) -> bool:
    """Return whether the target was deleted: the field itself keeps such an object, which nobody sees, in the file."""
    target = scene.limbeck.target
    return target is not None and target.name_full not in scene.objects and not target.users_scene


def uses_cameras(scene: bpy.types.Scene) -> bool:
    """Return whether the rig holds cameras of the scene."""
    return scene.limbeck.rig_source in {"CAMERAS", "BOTH"}


def uses_orbit(scene: bpy.types.Scene) -> bool:
    """Return whether the rig holds an orbit."""
    return scene.limbeck.rig_source in {"ORBIT", "BOTH"}


def uses_path(scene: bpy.types.Scene) -> bool:
    """Return whether the rig's cameras are frames of an animation."""
    return uses_cameras(scene) and scene.limbeck.camera_source == "PATH"


def cameras_from(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Return the camera objects of the chosen kind by name, each once; those of a path without their frames."""
    fields = scene.limbeck
    if fields.camera_source == "PATH":
        found = [camera for camera, _ in path_cameras(scene, fields.path_samples)]
    elif fields.camera_source == "SELECTED":
        view_layer = bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]
        found = list(view_layer.objects.selected)
    else:
        found = list(fields.cameras.all_objects if fields.cameras is not None else scene.objects)
    cameras = (camera for camera in dict.fromkeys(found) if camera.type == "CAMERA")
    return sorted(cameras, key=lambda camera: camera.name)


def poses_from(scene: bpy.types.Scene) -> list[CameraPose]:
    """Return the cameras of the chosen kind, a path as one pose for each of its frames.

    Raises:
        LimbeckError: a camera cannot serve.
    """
    global _last_path
    if scene.limbeck.camera_source != "PATH":
        return poses_of(scene, cameras_from(scene))
    poses = path_poses(scene, path_cameras(scene, scene.limbeck.path_samples))
    _last_path = (_path_key(scene), poses)
    return poses


def last_path(scene: bpy.types.Scene) -> list[CameraPose] | None:
    """Return the path as it was sampled last, None if that was for another range or number of frames."""
    return _last_path[1] if _last_path is not None and _last_path[0] == _path_key(scene) else None


def forget_path() -> None:
    """Forget the path that was sampled last."""
    global _last_path
    _last_path = None


def _path_key(scene: bpy.types.Scene) -> tuple[object, ...]:
    names = tuple(camera.name for camera in cameras_from(scene))
    return (scene.session_uid, scene.frame_start, scene.frame_end, scene.limbeck.path_samples, names)


def orbit_from_fields(scene: bpy.types.Scene) -> Orbit:
    """Return the orbit of the target Empty if it has ranges of its own, else the panel's.

    Raises:
        LimbeckError: a range cannot be used.
    """
    fields = scene.limbeck
    if has_own_orbit(fields.target):
        return orbit_from_empty(fields.target)
    values = {name: [as_written(end) for end in getattr(fields, f"orbit_{name}")] for name in RANGE_FIELDS}
    return orbit_from(values | {"weight": as_written(fields.orbit_weight)})


def rig_from(scene: bpy.types.Scene) -> Rig:
    """Return the rig that the panel describes, in the object's frame.

    Raises:
        LimbeckError: there is no camera, or one cannot serve, or the orbit's ranges cannot be used.
    """
    placement = placement_from(scene)
    poses = poses_from(scene) if uses_cameras(scene) else None
    return rig_of(scene, placement, poses, orbit_from_fields(scene) if uses_orbit(scene) else None)


def shares(scene: bpy.types.Scene) -> tuple[float, float]:
    """Return how often the orbit and the cameras are drawn, two shares that add up to 1 (or 0, with no weight at all).

    Raises:
        LimbeckError: the orbit's ranges or a camera's weight cannot be used.
    """
    orbit = orbit_from_fields(scene).weight if uses_orbit(scene) else 0.0
    weights = [pose_of(camera, scene.render).weight for camera in cameras_from(scene)] if uses_cameras(scene) else []
    cameras = sum(weights) / len(weights) if weights and uses_path(scene) else sum(weights)
    total = orbit + cameras
    return (orbit / total, cameras / total) if total > 0 else (0.0, 0.0)


def camera_states(
    scene: bpy.types.Scene, placement: Placement, depsgraph: bpy.types.Depsgraph | None
) -> list[CameraState]:
    """Return what is to be said about each camera of the rig. Reads only.

    Args:
        scene: whose rig it is.
        placement: the object's frame.
        depsgraph: of the view layer that is looked at.
    """
    return [_state_of(camera, scene, placement, depsgraph) for camera in cameras_from(scene)]


def _state_of(
    camera: bpy.types.Object, scene: bpy.types.Scene, placement: Placement, depsgraph: bpy.types.Depsgraph | None
) -> CameraState:
    try:
        pose = pose_of(camera, scene.render)
        if depsgraph is None or not camera.evaluated_get(depsgraph).is_evaluated:
            # Where it stands is not up to date, so nothing is said about that.
            return CameraState(camera, error=_DISABLED.format(camera.name) if camera.hide_viewport else "")
        knows_only_usual_views = scene.limbeck.prior in KNOWN_WORLD_PRIORS
        note = camera_note(pose_to_object(pose, placement), pose.lens, knows_only_usual_views=knows_only_usual_views)
    except BadCameraError as error:
        return CameraState(camera, str(error), error.fix)
    return CameraState(camera, note=f"Camera '{camera.name}' {note}." if note else "")


def orbit_sentence(scene: bpy.types.Scene) -> tuple[str, bool]:
    """Return what is to be said about the orbit, and whether it is an error; empty when nothing is. Reads only."""
    try:
        note = orbit_note(orbit_from_fields(scene), knows_only_usual_views=scene.limbeck.prior in KNOWN_WORLD_PRIORS)
    except LimbeckError as error:
        return str(error), True
    return (f"The orbit {note}." if note else "", False)


def rig_problem(scene: bpy.types.Scene) -> str:
    """Return why there is no rig, as a sentence for a greyed-out button; empty when there is one. Reads only."""
    if is_target_gone(scene):
        return f"'{scene.limbeck.target.name}' was deleted. {_TARGET_GONE.rstrip('.')}"
    if not uses_cameras(scene) or cameras_from(scene):
        return ""
    if uses_path(scene):
        return "Give the scene an active camera for its path, or choose an orbit"
    if scene.limbeck.rig_source == "CAMERAS":
        if scene.limbeck.camera_source == "SELECTED":
            return "Select a camera for the rig, or choose an orbit"
        return "Add a camera to the rig, or choose an orbit"
    return ""
