"""What guides: the loss with its own parameters, the prior, the words to keep away from, and what the preset decides.

The preset decides on the server whatever is not ticked here; overrides survive the choice of another preset. So the
sub-panel *Preset* has two lists: what you have changed of it, and what each other preset would change.
"""

import bpy

from .. import runtime
from ..operators.guidance import changes_by
from ..recipe.catalog_view import (
    choice_named,
    differences,
    fits,
    fitting_presets,
    label,
    loss_named,
    parameter_span,
    parameter_start,
    shown,
)
from ..recipe.loss_parameter_sync import key_of, value_of
from ..recipe.picture_form import made_kind, preset_of
from ..recipe.settings_form import GUIDANCE_OVERRIDES, forgotten_parameters, overrides_of, settings_problem
from .choices import classes as choice_classes
from .choices import current_preset, draw_choice, draw_override, draw_value
from .sidebar import Sidebar, draw_text, is_cut


class LIMBECK_PT_guidance(Sidebar, bpy.types.Panel):
    """Which loss and which model guide, and away from what."""

    bl_label = "Guidance"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields, catalog = self.layout, context.scene.limbeck, runtime.session().catalog
        layout.use_property_split = True
        layout.use_property_decorate = False
        reason = settings_problem(fields, catalog)
        if reason:
            column = layout.column()
            column.alert = True
            draw_text(column, reason, context.region, "ERROR")
        draw_choice(layout, fields, "loss")
        loss = loss_named(catalog, fields.loss)
        if loss is not None:
            draw_text(layout, f"{loss.title}. {loss.description}", context.region, "BLANK1")
            for info in loss.parameters:
                _draw_parameter(layout, fields, info, context.region)
        for name in forgotten_parameters(fields, catalog):
            gone = f"The server's loss '{fields.loss}' has no {label(name).lower()} any more; it is not sent."
            draw_text(layout, gone, context.region, "INFO")
        for name in GUIDANCE_OVERRIDES:
            draw_override(layout, fields, name, current_preset(fields))
        draw_choice(layout, fields, "prior")
        layout.prop(fields, "negative_prompt")


def _draw_parameter(layout, fields, info, region) -> None:
    """Draw a loss's own parameter as the server describes it, its range below."""
    item = fields.loss_parameters.get(key_of(fields.loss, info.name))
    start = shown(parameter_start(runtime.session().catalog, info, fields.loss, fields.prior, preset_of(fields)))
    row = layout.row(align=True, heading=label(info.name))
    if item is None:  # not synchronised yet: another file, a new scene
        row.operator("limbeck.set_loss_parameter", text=start).parameter = info.name
    else:
        row.prop(item, "override", text="")
        value = row.row(align=True)
        if item.override:
            value.alert = not fits(info, value_of(item, info))
            draw_value(value, item, info)
        else:
            value.active = False
            value.label(text=start)
    column = layout.column()
    column.active = False
    name = f"{label(info.name)}: " if is_cut(label(info.name), region) else ""
    draw_text(column, f"{name}{parameter_span(info)}. {info.description}", region, "BLANK1")


class LIMBECK_PT_preset(Sidebar, bpy.types.Panel):
    """What the preset decides, what you have changed of it, and what another one would change."""

    bl_label = "Preset"
    bl_parent_id = "LIMBECK_PT_guidance"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields, catalog = self.layout, context.scene.limbeck, runtime.session().catalog
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        draw_choice(column, fields, "preset")
        now = current_preset(fields)
        if now is None:
            sentence = settings_problem(fields, catalog) or "A server says what the preset stands for; none has yet."
            draw_text(layout, sentence, context.region, "INFO")
            return
        choice = choice_named(catalog, "preset", preset_of(fields))
        if choice is not None:
            draw_text(layout, choice.description, context.region, "INFO")
        _draw_own_changes(layout, fields, now)
        row = layout.row(align=True)
        row.operator("limbeck.apply_preset", text="Pin Values", icon="PINNED")
        row.operator("limbeck.clear_overrides", text="Clear", icon="X").setting = ""
        for other in fitting_presets(catalog, fields.loss, fields.prior, made_kind(fields)):
            if other != preset_of(fields):
                _draw_changes_by(layout, fields, other, context.region)


def _draw_own_changes(layout, fields, preset) -> None:
    """Draw each override beside what the preset says, with a button that drops it."""
    own = overrides_of(fields)
    before = {name: value for name, value in preset.items() if name in own}
    equal = set(own) - {change.setting for change in differences(before, own)}
    column = layout.column(align=True)
    for name, value in own.items():
        row = column.row(align=True)
        if name in equal:
            text = f"{label(name)}: {shown(value, name)}, as the preset"
        else:
            text = f"{label(name)}: {shown(before[name], name) if name in before else 'unset'} -> {shown(value, name)}"
        row.label(text=text, icon="MODIFIER")
        row.operator("limbeck.clear_overrides", text="", icon="X").setting = name


def _draw_changes_by(layout, fields, preset: str, region) -> None:
    """Draw what choosing another preset would change, overrides being kept."""
    changes = changes_by(fields, preset)
    box = layout.box().column(align=True)
    row = box.row()
    row.label(text=f"'{preset}' would change" if changes else f"'{preset}' would change nothing")
    choose = row.operator("limbeck.choose", text="", icon="CHECKMARK")
    choose.kind, choose.value = "preset", preset
    for change in changes:
        draw_text(box, f"{label(change.setting)}: {change.before or 'unset'} -> {change.after}", region, "BLANK1")


classes = (*choice_classes, LIMBECK_PT_guidance, LIMBECK_PT_preset)
