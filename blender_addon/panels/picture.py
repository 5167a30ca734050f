"""What a picture is made of, how large it is, and for how long; in the place of the panels about objects."""

import bpy

from ..recipe.picture_form import makes_image
from ..recipe.settings_form import PICTURE_OVERRIDES
from .choices import current_preset, draw_override
from .sidebar import Sidebar


class LIMBECK_PT_picture(Sidebar, bpy.types.Panel):
    """Generator, size, steps and seed of a picture."""

    bl_label = "Picture"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The prompt makes a picture."""
        return makes_image(context.scene.limbeck)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields = self.layout, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(fields, "image_generator")
        layout.prop(fields, "image_size")
        if fields.image_size == 0:
            row = layout.row()
            row.active = False
            row.label(text="0: the prior's own size", icon="BLANK1")
        preset = current_preset(fields)
        for name in PICTURE_OVERRIDES:
            draw_override(layout, fields, name, preset)
        layout.prop(fields, "seed")


classes = (LIMBECK_PT_picture,)
