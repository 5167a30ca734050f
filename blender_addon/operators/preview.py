"""Previews: in the viewport and in an Image Editor."""

import bpy

from ..previews import image_editor_preview


class LIMBECK_OT_toggle_viewport_preview(bpy.types.Operator):
    """Show the growing object in the 3-D view, or stop showing it."""

    bl_idname = "limbeck.toggle_viewport_preview"
    bl_label = "Toggle Viewport Preview"
    bl_description = "Show the growing object in the 3-D view, or stop showing it"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Turn the field over; the timer does the rest."""
        fields = context.scene.limbeck
        fields.viewport_preview = not fields.viewport_preview
        return {"FINISHED"}


class LIMBECK_OT_toggle_image_preview(bpy.types.Operator):
    """Show previews large in an Image Editor, or remove their image."""

    bl_idname = "limbeck.toggle_image_preview"
    bl_label = "Preview in Image Editor"
    bl_description = "Show previews in an Image Editor, splitting this area if there is none; press again to end it"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make the image and show it, or remove it."""
        if image_editor_preview.find() is not None:
            image_editor_preview.switch_off()
            return {"FINISHED"}
        image = image_editor_preview.switch_on()
        area = image_editor(context)
        if area is not None:
            area.spaces.active.image = image
            image_editor_preview.fit_soon()  # a new area has no size until Blender has drawn once
        return {"FINISHED"}


def image_editor(context: bpy.types.Context) -> bpy.types.Area | None:
    """Return an Image Editor of the window: the first that is there, else the right third of this area, split off."""
    areas = context.window.screen.areas if context.window else []
    editor = next((area for area in areas if area.type == "IMAGE_EDITOR"), None)
    if editor is not None or context.area is None or bpy.app.background:
        return editor
    before = {area.as_pointer() for area in areas}
    bpy.ops.screen.area_split(direction="VERTICAL", factor=0.65)
    for area in context.window.screen.areas:
        if area.as_pointer() not in before:
            area.type = "IMAGE_EDITOR"
            return area
    return None


classes = (LIMBECK_OT_toggle_viewport_preview, LIMBECK_OT_toggle_image_preview)
