"""From where the object is looked at while it grows."""

import bpy

from ..panel_form import has_own_orbit
from .sidebar import Sidebar


class LIMBECK_PT_rig(Sidebar, bpy.types.Panel):
    """Where the object grows and from where it is looked at."""

    bl_label = "Place and Cameras"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields = self.layout, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(fields, "target")
        row = layout.row()
        row.active = fields.target is None
        row.prop(fields, "size")
        layout.prop(fields, "rig_source")
        row = layout.row()
        row.active = fields.rig_source != "ORBIT"
        row.prop(fields, "cameras", text="Cameras", icon="OUTLINER_COLLECTION")
        column = layout.column()
        column.active = fields.rig_source != "CAMERAS" and not has_own_orbit(fields.target)
        column.prop(fields, "orbit_azimuth_deg")
        column.prop(fields, "orbit_elevation_deg")
        column.prop(fields, "orbit_distance")
        if has_own_orbit(fields.target):
            layout.label(text=f"'{fields.target.name}' brings its own orbit", icon="INFO")


classes = (LIMBECK_PT_rig,)
