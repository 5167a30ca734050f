"""Recipe of the active object, and what can be done with it; several results at once."""

import bpy
from limbeck_protocol.errors import LimbeckError

from ..recipe.picture_form import makes_image
from ..results.image_import import active_image
from ..results.recipe_on_object import Origin, is_result, read_origin, selected_results
from ..results.wanted_results import troubles, wanted_ids
from .sidebar import Sidebar, wrapped

_SHOWN_TROUBLES = 4


class LIMBECK_PT_result(Sidebar, bpy.types.Panel):
    """What the active object was made with, and how well it went."""

    bl_label = "Result"
    bl_parent_id = "LIMBECK_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The active object carries a recipe."""
        return is_result(context.active_object)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, thing = self.layout, context.active_object
        if not _draw_origin(layout, thing, context.region):
            return
        column = layout.column(align=True)
        column.operator("limbeck.rerun", icon="FILE_REFRESH")
        column.operator("limbeck.edit_result", text="Edit...", icon="GREASEPENCIL")
        row = column.row(align=True)
        row.operator("limbeck.branch", text="Branch", icon="GRAPH").new_seed = False
        row.operator("limbeck.branch", text="New Seed").new_seed = True
        if len(selected_results(context.selected_objects)) > 1:
            column.operator("limbeck.compare_recipes", icon="ARROW_LEFTRIGHT")
        row = column.row(align=True)
        row.operator("limbeck.mark_as_asset", icon="ASSET_MANAGER")
        row.operator("limbeck.copy_recipe", text="", icon="COPYDOWN")


class LIMBECK_PT_image_result(bpy.types.Panel):
    """What the image that an Image Editor shows was made with."""

    bl_label = "Limbeck"
    bl_space_type = "IMAGE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Limbeck"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The image carries a recipe."""
        return is_result(active_image(context))

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout = self.layout
        if not _draw_origin(layout, active_image(context), context.region):
            return
        column = layout.column(align=True)
        column.operator("limbeck.rerun", icon="FILE_REFRESH")
        row = column.row(align=True)
        row.operator("limbeck.branch", text="Branch", icon="GRAPH").new_seed = False
        row.operator("limbeck.branch", text="New Seed").new_seed = True
        column.operator("limbeck.copy_recipe", icon="COPYDOWN")


def _draw_origin(layout: bpy.types.UILayout, thing: bpy.types.ID, region: bpy.types.Region | None) -> bool:
    """Draw recipe and metrics of a result, or why they cannot be read; return whether they can."""
    try:
        origin = read_origin(thing)
    except LimbeckError as error:
        column = layout.column(align=True)
        for number, line in enumerate(wrapped(str(error), region)):
            column.label(text=line, icon="BLANK1" if number else "ERROR")
        return False
    _draw_recipe(layout, origin, region)
    _draw_metrics(layout, origin)
    return True


def _draw_recipe(layout: bpy.types.UILayout, origin: Origin, region: bpy.types.Region | None) -> None:
    recipe, column = origin.recipe, layout.column(align=True)
    for number, line in enumerate(wrapped(recipe.prompt, region)):
        column.label(text=line, icon="BLANK1" if number else "OUTPUT")
    for name, value in (("Loss", recipe.loss), ("Prior", recipe.prior), ("Preset", recipe.preset)):
        _draw_pair(column, name, value)
    _draw_pair(column, "Seed", str(recipe.seed))
    if recipe.image and recipe.image.generator:
        _draw_pair(column, "Made of", recipe.image.generator)


def _draw_metrics(layout: bpy.types.UILayout, origin: Origin) -> None:
    """Draw the plain ones; lists and maps stay with the server's page on the job."""
    plain = {name: value for name, value in origin.metrics.items() if isinstance(value, bool | int | float | str)}
    if not plain:
        return
    header, body = layout.panel("LIMBECK_metrics", default_closed=True)
    header.label(text="Metrics")
    if body is not None:
        column = body.column(align=True)
        for name, value in plain.items():
            text = f"{value:.3g}" if isinstance(value, float) else str(value)
            _draw_pair(column, name.replace("_", " ").capitalize(), text)


def _draw_pair(layout: bpy.types.UILayout, name: str, value: str) -> None:
    split = layout.split(factor=0.4)
    split.label(text=name)
    split.label(text=value)


class LIMBECK_PT_variants(Sidebar, bpy.types.Panel):
    """Several seeds or losses by one click."""

    bl_label = "Variants"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields = self.layout, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(fields, "variant_kind", expand=True)
        layout.prop(fields, "variant_count" if fields.variant_kind == "SEEDS" else "variant_losses")
        layout.operator("limbeck.variants", icon="DUPLICATE")
        waiting = len(wanted_ids())
        if waiting:
            layout.label(text=f"{waiting} still to come", icon="TIME")
        for prompt, trouble in troubles()[-_SHOWN_TROUBLES:]:
            column = layout.column(align=True)
            for number, line in enumerate(wrapped(f"{prompt}: {trouble}", context.region)):
                column.label(text=line, icon="BLANK1" if number else "ERROR")
        if not makes_image(fields):
            layout.prop(fields, "mark_as_asset")


classes = (LIMBECK_PT_result, LIMBECK_PT_variants, LIMBECK_PT_image_result)
