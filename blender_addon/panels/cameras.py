"""From where the object is looked at while it grows, and what is to be said about that before anything is sent."""

import bpy
from limbeck_protocol.errors import LimbeckError

from ..rig.camera_pose import AIM
from ..rig.orbit_box import RANGE_FIELDS, has_own_orbit
from ..rig.rig_form import (
    CameraState,
    camera_states,
    last_path,
    orbit_sentence,
    placement_as_drawn,
    shares,
    uses_cameras,
    uses_orbit,
)
from .sidebar import ObjectSidebar, draw_text

LISTED_CAMERAS = 16
_ORBIT_TITLES = {
    "azimuth_deg": "Azimuth",
    "elevation_deg": "Elevation",
    "distance": "Distance",
    "field_of_view_deg": "View Angle",
    "weight": "Orbit Weight",
}


class LIMBECK_PT_rig(ObjectSidebar, bpy.types.Panel):
    """From where the object is looked at; where it stands is the Shape panel's."""

    bl_label = "Cameras"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, scene, fields = self.layout, context.scene, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        row = layout.row()
        row.use_property_split = False
        row.prop(context.window_manager, "limbeck_show_rig", icon="OVERLAY", toggle=True)
        layout.operator("limbeck.add_orbit_box", icon="EMPTY_AXIS")
        layout.prop(fields, "rig_source")
        if uses_orbit(scene):
            _draw_orbit(layout, context)
        if uses_cameras(scene):
            _draw_cameras(layout, context)


def _draw_orbit(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    scene, fields = context.scene, context.scene.limbeck
    column = layout.column()
    if has_own_orbit(fields.target):
        column.label(text=f"Orbit of '{fields.target.name}'", icon="EMPTY_AXIS")
        for name in (*RANGE_FIELDS, "weight"):
            if f"limbeck_{name}" in fields.target:
                column.prop(fields.target, f'["limbeck_{name}"]', text=_ORBIT_TITLES[name])
    else:
        for name in RANGE_FIELDS:
            column.prop(fields, f"orbit_{name}")
        if uses_cameras(scene):
            column.prop(fields, "orbit_weight")
    sentence, is_error = orbit_sentence(scene)
    if sentence:
        draw_text(layout, sentence, context.region, "ERROR" if is_error else "INFO")


def _draw_cameras(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    scene, fields = context.scene, context.scene.limbeck
    layout.prop(fields, "camera_source")
    if fields.camera_source == "COLLECTION":
        layout.prop(fields, "cameras", icon="OUTLINER_COLLECTION")
    elif fields.camera_source == "PATH":
        _draw_path(layout, context)
    try:
        states = camera_states(scene, placement_as_drawn(scene), context.view_layer.depsgraph)
    except LimbeckError as error:
        draw_text(layout, str(error), context.region, "ERROR")
        return
    if not states:
        layout.label(text="No camera here", icon="INFO")
        return
    # Those that cannot serve come first, whatever their names: they are what keeps the job from starting.
    states.sort(key=lambda state: (not state.error, not state.note))
    for state in states[:LISTED_CAMERAS]:
        _draw_camera(layout, state, context.region)
    if len(states) > LISTED_CAMERAS:
        layout.label(text=f"and {len(states) - LISTED_CAMERAS} more", icon="BLANK1")
    _draw_shares(layout, scene, states)


def _draw_path(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    scene = context.scene
    layout.prop(scene.limbeck, "path_samples")
    poses = last_path(scene)
    text = "Check Path" if poses is None else f"Check Path Again ({len(poses)} views)"
    layout.operator("limbeck.sample_path", text=text, icon="CURVE_PATH")


def _draw_camera(layout: bpy.types.UILayout, state: CameraState, region: bpy.types.Region | None) -> None:
    box = layout.box()
    box.use_property_split = False
    column = box.column(align=True)
    column.enabled = state.camera.is_editable
    row = column.row(align=True)
    row.label(text=state.camera.name, icon="CAMERA_DATA")
    row.prop(state.camera, "limbeck_view_weight", text="")
    column.prop(state.camera, "limbeck_view_prompt", text="", placeholder="view words as usual")
    if state.error or state.note:
        draw_text(box, state.error or state.note, region, "ERROR" if state.error else "INFO")
    if state.fix:
        text = "Aim at Object" if state.fix == AIM else "Make Perspective"
        button = box.operator("limbeck.fix_camera", text=text, icon="TOOL_SETTINGS")
        button.camera, button.fix = state.camera.name, state.fix


def _draw_shares(layout: bpy.types.UILayout, scene: bpy.types.Scene, states: list[CameraState]) -> None:
    if not uses_orbit(scene) or any(state.error for state in states):
        return
    try:
        orbit, cameras = shares(scene)
    except LimbeckError:
        return  # the orbit's own error is shown above
    layout.label(text=f"Orbit {orbit:.0%}, cameras {cameras:.0%} of the views", icon="BLANK1")


classes = (LIMBECK_PT_rig,)
