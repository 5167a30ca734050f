"""What grows: its size and place, for how long, and how finely."""

import bpy

from ..recipe.settings_form import SHAPE_OVERRIDES
from .choices import current_preset, draw_override
from .sidebar import ObjectSidebar


class LIMBECK_PT_shape(ObjectSidebar, bpy.types.Panel):
    """Size, place, seed, and how finely the field is grown."""

    bl_label = "Shape"
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
        preset = current_preset(fields)
        column = layout.column()
        for name in SHAPE_OVERRIDES:
            draw_override(column, fields, name, preset)
        layout.prop(fields, "seed")


classes = (LIMBECK_PT_shape,)
