"""Where previews are shown."""

import bpy

from ..previews import image_editor_preview
from ..recipe.picture_form import makes_image
from .sidebar import Sidebar


class LIMBECK_PT_preview(Sidebar, bpy.types.Panel):
    """Where previews are shown."""

    bl_label = "Live Preview"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields = self.layout, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        if not makes_image(fields):  # a picture has no place in the 3-D view
            layout.prop(fields, "viewport_preview")
            row = layout.row()
            row.active = fields.viewport_preview
            row.prop(fields, "viewport_preview_size")
        is_shown = image_editor_preview.find() is not None
        text = "Close Image Preview" if is_shown else "Open in Image Editor"
        layout.operator("limbeck.toggle_image_preview", text=text, icon="IMAGE_DATA", depress=is_shown)


classes = (LIMBECK_PT_preview,)
