"""Widgets that several panels share: a menu of the server's offer, and a setting with its override.

The menus are drawn from the catalog each time they open, so that a loss or a preset that is new on the server is there.
"""

from collections.abc import Mapping
from typing import Any

import bpy
from limbeck_protocol.messages import ParameterInfo

from .. import runtime
from ..recipe.catalog_view import choices, parameter_named, preset_settings, shown
from ..recipe.picture_form import made_kind, preset_field, preset_of
from .sidebar import LABEL_SHARE

_NO_VALUE = "preset's"
_CHOSEN_FOR = "limbeck_loss_parameter"
"""Under which name a parameter's menu finds the item that it was opened for."""
_MENUS = {"loss": "LIMBECK_MT_losses", "prior": "LIMBECK_MT_priors", "preset": "LIMBECK_MT_presets"}


class _Choices:
    """Base of the menus: one entry for each name that the server offers."""

    kind: str

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        catalog, fields = runtime.session().catalog, context.scene.limbeck
        now = getattr(fields, field_of(fields, self.kind))
        for choice in choices(catalog, self.kind, makes=made_kind(fields), prior=fields.prior):
            text = choice.title if choice.title == choice.name else f"{choice.name}: {choice.title}"
            icon = "CHECKMARK" if choice.name == now else "BLANK1"
            entry = self.layout.operator("limbeck.choose", text=text, icon=icon)
            entry.kind, entry.value = self.kind, choice.name
        if catalog is None:
            self.layout.separator()
            self.layout.label(text="A server that is connected may offer more", icon="INFO")


class LIMBECK_MT_losses(_Choices, bpy.types.Menu):
    """The losses that the server offers."""

    bl_label = "Loss"
    bl_description = "Which distillation loss guides: choose from what the server offers"
    kind = "loss"


class LIMBECK_MT_priors(_Choices, bpy.types.Menu):
    """The priors that the server offers."""

    bl_label = "Prior"
    bl_description = "Which diffusion model guides: choose from what the server offers"
    kind = "prior"


class LIMBECK_MT_presets(_Choices, bpy.types.Menu):
    """The presets that the server offers."""

    bl_label = "Preset"
    bl_description = "Which values hold where nothing is overridden; each entry's tooltip says what it would change"
    kind = "preset"


class LIMBECK_MT_parameter(bpy.types.Menu):
    """What the parameter of a loss, told by `draw_value`, can be."""

    bl_label = "Parameter"
    bl_description = "A parameter of the loss's own: choose from what the server offers"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        item = getattr(context, _CHOSEN_FOR, None)
        info = parameter_named(runtime.session().catalog, item.loss, item.parameter) if item is not None else None
        if info is None:
            self.layout.label(text="A server that is connected says what there is", icon="INFO")
            return
        for choice in info.choices:
            icon = "CHECKMARK" if choice == item.choice else "BLANK1"
            entry = self.layout.operator("limbeck.set_loss_parameter", text=choice, icon=icon)
            entry.parameter, entry.choice = info.name, choice


def draw_value(layout: bpy.types.UILayout, item: bpy.types.PropertyGroup, info: ParameterInfo) -> None:
    """Draw an overridden parameter of the chosen loss: a number's field, or a menu of the choices.

    The choice is stored as text, for the reason that names are (`properties/guidance.py`).
    """
    if info.choices:
        layout.context_pointer_set(_CHOSEN_FOR, item)
        layout.menu("LIMBECK_MT_parameter", text=item.choice or "Choose")
    else:
        layout.prop(item, "value", text="")


def draw_choice(layout: bpy.types.UILayout, fields: bpy.types.PropertyGroup, kind: str) -> None:
    """Draw a field whose names the server offers, as a menu; red when the server that is connected has no such name.

    A prior is also a text: a hub id or a model's folder is on no list.
    """
    name = getattr(fields, field_of(fields, kind))
    if kind == "prior":
        row = layout.row(align=True)
        row.prop(fields, kind)
        row.menu(_MENUS[kind], text="", icon="DOWNARROW_HLT")
        return
    row = layout.split(factor=LABEL_SHARE)
    offered = choices(runtime.session().catalog, kind, makes=made_kind(fields))
    row.alert = all(choice.name != name for choice in offered)
    left = row.row()
    left.alignment = "RIGHT"
    left.label(text=kind.capitalize())
    row.menu(_MENUS[kind], text=name or "Choose")


def field_of(fields: bpy.types.PropertyGroup, kind: str) -> str:
    """Return which of the panel's fields holds the name that was chosen of a kind."""
    return preset_field(fields) if kind == "preset" else kind


def current_preset(fields: bpy.types.PropertyGroup) -> dict[str, Any] | None:
    """Return what the chosen preset stands for with the chosen loss and prior; None when no catalog says."""
    return preset_settings(runtime.session().catalog, preset_of(fields), fields.loss, fields.prior)


def draw_override(
    layout: bpy.types.UILayout, fields: bpy.types.PropertyGroup, name: str, preset: Mapping[str, Any] | None
) -> None:
    """Draw a setting: a checkbox, then the value of one's own, or greyed what the preset says."""
    row = layout.row(align=True, heading=fields.bl_rna.properties[name].name)
    row.prop(fields, f"override_{name}", text="")
    value = row.row(align=True)
    if getattr(fields, f"override_{name}"):
        value.prop(fields, name, text="")
    else:
        value.active = False
        value.label(text=shown(preset[name], name) if preset is not None and name in preset else _NO_VALUE)


classes = (LIMBECK_MT_losses, LIMBECK_MT_priors, LIMBECK_MT_presets, LIMBECK_MT_parameter)
