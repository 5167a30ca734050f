"""How the field becomes a mesh, and how the mesh lands in the scene."""

import bpy

from ..recipe.settings_form import MESH_OVERRIDES
from .choices import current_preset, draw_override
from .sidebar import ObjectSidebar


class LIMBECK_PT_mesh(ObjectSidebar, bpy.types.Panel):
    """Resolution, density level, budget of faces, texture, and what happens when it is done."""

    bl_label = "Mesh"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields = self.layout, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        preset = current_preset(fields)
        column = layout.column()
        for name in MESH_OVERRIDES:
            draw_override(column, fields, name, preset)
        row = layout.row()
        row.use_property_split = False  # split, the words are cut in a sidebar of 240 pixels
        row.prop(fields, "import_when_done")


classes = (LIMBECK_PT_mesh,)
