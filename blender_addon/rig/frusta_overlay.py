"""The rig in the viewport: the object's box and front, the orbit's band, the cameras' squares, the view in work.

A draw handler exists only while somebody wants to see it, and never without a window. It reads the scene each time it
draws and keeps nothing of Blender's; what is drawn where is computed in `rig_geometry.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from limbeck_protocol.errors import LimbeckError

from ..connection.followed_job import FollowedJob
from ..recipe.picture_form import makes_image
from .camera_pose import CameraPose, pose_of
from .camera_rig import pose_to_object
from .placement import Placement
from .rig_form import (
    cameras_from,
    forget_path,
    last_path,
    orbit_from_fields,
    placement_as_drawn,
    uses_cameras,
    uses_orbit,
    uses_path,
)
from .rig_geometry import (
    box_lines,
    front_lines,
    frustum_lines,
    joined,
    object_depth,
    orbit_lines,
    path_lines,
    transformed,
)

_CAMERA_DEPTH_SHARE = 0.25
"""How far a camera's square is drawn before it, as a share of its distance from the object."""

BOX_COLOUR = (1.0, 1.0, 1.0, 0.35)
FRONT_COLOUR = (0.35, 0.95, 0.45, 0.9)
ORBIT_COLOUR = (0.35, 0.65, 1.0, 0.55)
CAMERA_COLOUR = (1.0, 0.65, 0.2, 0.8)
VIEW_COLOUR = (1.0, 0.25, 0.65, 1.0)

_handler: object | None = None
_view: tuple[str, np.ndarray, np.ndarray] | None = None
"""Of the followed job: its id, the camera to the object's frame (4, 4), the lens (3,)."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Lines of one colour: segments (n, 2, 3) in scene units, RGBA, width in pixels."""

    lines: np.ndarray
    colour: tuple[float, float, float, float]
    width_px: float = 1.5


def show() -> None:
    """Draw the rig in every 3-D view from now on; does nothing without a window."""
    global _handler
    if _handler is None and not bpy.app.background:
        _handler = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")
        tag_redraw()


def hide() -> None:
    """Draw it no more, and forget what was only there to be drawn."""
    global _handler, _view
    _view = None
    forget_path()
    if _handler is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handler, "WINDOW")
        _handler = None
        tag_redraw()


def is_shown() -> bool:
    """Return whether the rig is being drawn."""
    return _handler is not None


def tag_redraw() -> None:
    """Ask every 3-D view to draw again."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def layers_of(scene: bpy.types.Scene) -> list[Layer]:
    """Return what there is to draw for a scene's rig, in scene units. Reads only, and needs no window.

    What cannot serve is left out: the panel says why.
    """
    if makes_image(scene.limbeck):
        return []  # a picture has no rig
    try:
        placement = placement_as_drawn(scene)
    except LimbeckError:
        return []
    frame = placement.matrix
    layers = [
        Layer(transformed(box_lines(), frame), BOX_COLOUR, 1.0),
        Layer(transformed(front_lines(), frame), FRONT_COLOUR, 2.0),
    ]
    if uses_orbit(scene):
        layers += _orbit_layers(scene, frame)
    if uses_cameras(scene):
        layers += _camera_layers(scene, placement)
    return layers


def _orbit_layers(scene: bpy.types.Scene, frame: np.ndarray) -> list[Layer]:
    try:
        return [Layer(transformed(orbit_lines(orbit_from_fields(scene)), frame), ORBIT_COLOUR)]
    except LimbeckError:
        return []


def _camera_layers(scene: bpy.types.Scene, placement: Placement) -> list[Layer]:
    usable = []
    for pose in _poses(scene):
        try:
            usable.append((pose_to_object(pose, placement), pose.lens))
        except LimbeckError:
            continue
    lines = [
        frustum_lines(matrix, lens, _CAMERA_DEPTH_SHARE * float(np.linalg.norm(matrix[:3, 3])))
        for matrix, lens in usable
    ]
    if uses_path(scene):
        lines.append(path_lines([matrix for matrix, _ in usable]))
    return [Layer(transformed(joined(*lines), placement.matrix), CAMERA_COLOUR)]


def _poses(scene: bpy.types.Scene) -> list[CameraPose]:
    path = last_path(scene) if uses_path(scene) else None
    if path is not None:
        return path
    poses = []
    for camera in cameras_from(scene):
        try:
            poses.append(pose_of(camera, scene.render))
        except LimbeckError:
            continue
    return poses


def view_layer_of(camera_to_object: np.ndarray, lens: np.ndarray, placement: Placement) -> Layer:
    """Return the view that is being optimised, drawn up to the object's centre.

    Args:
        camera_to_object: (4, 4), as the server tells it.
        lens: (3,), likewise.
        placement: where the job's result will stand.
    """
    matrix = np.asarray(camera_to_object, dtype=np.float64)
    lines = frustum_lines(matrix, [float(value) for value in lens], object_depth(matrix))
    return Layer(transformed(lines, placement.matrix), VIEW_COLOUR, 2.5)


def follow(job: FollowedJob | None) -> None:
    """Note which view the followed job optimises, and draw again if that is another one than before.

    Called with each turn of the timer; what is noted is numbers only.
    """
    global _view
    now = None if job is None or job.view is None or job.has_ended else (job.job_id, *job.view)
    has_moved = (now is None) != (_view is None) or (now is not None and now[1] is not _view[1])
    _view = now
    if has_moved and is_shown():
        tag_redraw()


def followed_view(scene: bpy.types.Scene) -> Layer | None:
    """Return the view that the followed job optimises, if this scene asked for the job and the server told a view."""
    if _view is None:
        return None
    job_id, matrix, lens = _view
    entry = scene.limbeck.jobs.get(job_id)
    if entry is None:
        return None
    return view_layer_of(matrix, lens, Placement(tuple(entry.location), tuple(entry.rotation), entry.size))


def _draw() -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    context = bpy.context
    if not context.space_data.overlay.show_overlays:
        return
    layers = layers_of(context.scene)
    view = followed_view(context.scene)
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("viewportSize", (context.region.width, context.region.height))
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    for layer in [*layers, view] if view is not None else layers:
        if len(layer.lines):
            shader.uniform_float("lineWidth", layer.width_px * context.preferences.system.ui_scale)
            shader.uniform_float("color", layer.colour)
            points = np.ascontiguousarray(layer.lines.reshape(-1, 3), dtype=np.float32)
            batch_for_shader(shader, "LINES", {"pos": points}).draw(shader)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")
