"""Which loss and which prior guide, and away from what."""

import bpy

from .sidebar import Sidebar


class LIMBECK_PT_guidance(Sidebar, bpy.types.Panel):
    """Which model guides, and away from what."""

    bl_label = "Guidance"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        self.layout.prop(context.scene.limbeck, "prior")
        self.layout.prop(context.scene.limbeck, "negative_prompt")


classes = (LIMBECK_PT_guidance,)
