"""Choosing a loss, a prior or a preset from the server's catalog; overriding the preset, and giving that up again."""

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .. import runtime
from ..properties.overrides import preset_value
from ..recipe.catalog_view import (
    KINDS,
    Difference,
    choice_named,
    differences,
    fits,
    label,
    parameter_named,
    parameter_span,
    preset_settings,
    problem,
)
from ..recipe.loss_parameter_sync import add_item, key_of, set_value
from ..recipe.picture_form import made_kind, preset_field, preset_of
from ..recipe.settings_form import OVERRIDES, overrides_in_force, overrides_of
from .common import failed

_SHOWN_CHANGES = 12


def changes_by(fields: bpy.types.PropertyGroup, preset: str) -> list[Difference]:
    """Return what choosing another preset would change, overrides being kept; empty when the catalog does not say."""
    catalog = runtime.session().catalog
    before = preset_settings(catalog, preset_of(fields), fields.loss, fields.prior)
    after = preset_settings(catalog, preset, fields.loss, fields.prior)
    if before is None or after is None:
        return []
    kept = overrides_of(fields)
    return differences(before | kept, after | kept)


class LIMBECK_OT_choose(bpy.types.Operator):
    """Choose a loss, a prior or a preset by its name."""

    bl_idname = "limbeck.choose"
    bl_label = "Choose"
    bl_options = {"UNDO", "INTERNAL"}

    kind: bpy.props.EnumProperty(
        name="Kind",
        description="What is chosen",
        items=[(kind, kind.capitalize(), "") for kind in KINDS],
        options={"SKIP_SAVE", "HIDDEN"},
    )
    value: bpy.props.StringProperty(name="Name", description="As the server gives it", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """What the server says of it; of a preset, also which settings it would change."""
        choice = choice_named(runtime.session().catalog, properties.kind, properties.value)
        lines = [choice.description] if choice is not None and choice.description else []
        if properties.kind == "preset" and properties.value != preset_of(context.scene.limbeck):
            changed = changes_by(context.scene.limbeck, properties.value)
            lines += [
                f"{label(change.setting)}: {change.before} -> {change.after}" for change in changed[:_SHOWN_CHANGES]
            ]
            if len(changed) > _SHOWN_CHANGES:
                lines.append(f"and {len(changed) - _SHOWN_CHANGES} more")
        return "\n".join(lines) or f"Use {properties.value}"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write its name into the field."""
        fields = context.scene.limbeck
        setattr(fields, preset_field(fields) if self.kind == "preset" else self.kind, self.value)
        return {"FINISHED"}


class LIMBECK_OT_set_loss_parameter(bpy.types.Operator):
    """Override a parameter of the chosen loss."""

    bl_idname = "limbeck.set_loss_parameter"
    bl_label = "Override"
    bl_description = "Use a value of your own for this parameter of the loss"
    bl_options = {"REGISTER", "UNDO"}

    parameter: bpy.props.StringProperty(name="Parameter", description="Its name", options={"SKIP_SAVE", "HIDDEN"})
    value: bpy.props.FloatProperty(
        name="Value", description="A number; not given: what the preset says", precision=3, options={"SKIP_SAVE"}
    )
    choice: bpy.props.StringProperty(
        name="Choice", description="One of a few words, where the parameter is a choice", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add or change the override."""
        fields, catalog = context.scene.limbeck, runtime.session().catalog
        info = parameter_named(catalog, fields.loss, self.parameter)
        if info is None:
            sentence = f"The server lists no parameter '{self.parameter}' of the loss '{fields.loss}'."
            return failed(self, LimbeckError(ErrorCode.INVALID_FIELD, sentence))
        given = self._given()
        for value in given:
            if isinstance(value, str) != bool(info.choices) or (info.choices and not fits(info, value)):
                kind = "" if info.choices else "a number, "
                sentence = f"'{info.name}' of the loss '{fields.loss}' is {kind}{parameter_span(info)}; got '{value}'."
                return failed(self, LimbeckError(ErrorCode.INVALID_FIELD, sentence))
        item = fields.loss_parameters.get(key_of(fields.loss, info.name))
        if item is None:
            item = add_item(fields.loss_parameters, fields.loss, info)
        item.override = True
        for value in given:
            set_value(item, value)
        return {"FINISHED"}

    def _given(self) -> list[float | str]:
        is_set = self.properties.is_property_set
        return [getattr(self, name) for name in ("value", "choice") if is_set(name)]


class LIMBECK_OT_apply_preset(bpy.types.Operator):
    """Copy the preset's values into the overrides, so that they stay whatever the preset says later."""

    bl_idname = "limbeck.apply_preset"
    bl_label = "Pin Preset Values"
    bl_description = (
        "Replace every override by what this preset says, and tick it: the values stay when another preset is chosen"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The server says what the preset stands for."""
        fields, catalog = context.scene.limbeck, runtime.session().catalog
        preset = preset_of(fields)
        reason = problem(catalog, loss=fields.loss, prior=fields.prior, preset=preset, makes=made_kind(fields))
        if preset_settings(catalog, preset, fields.loss, fields.prior) is None:
            cls.poll_message_set(reason or "Connect to a server first: it says what the preset stands for")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Tick and fill every override that the preset knows."""
        fields = context.scene.limbeck
        for name in overrides_in_force(fields):
            value = preset_value(fields, name)
            if value is not None:
                setattr(fields, name, value)
                setattr(fields, f"override_{name}", True)
        return {"FINISHED"}


class LIMBECK_OT_clear_overrides(bpy.types.Operator):
    """Let the preset decide again."""

    bl_idname = "limbeck.clear_overrides"
    bl_label = "Clear Overrides"
    bl_description = "Let the preset decide again"
    bl_options = {"REGISTER", "UNDO"}

    setting: bpy.props.StringProperty(name="Setting", description="Empty: all of them", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Something is overridden."""
        fields = context.scene.limbeck
        is_any = bool(overrides_of(fields)) or any(item.override for item in fields.loss_parameters)
        if not is_any:
            cls.poll_message_set("Nothing is overridden; the preset decides everything")
        return is_any

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Untick."""
        fields = context.scene.limbeck
        for name in OVERRIDES:
            if self.setting in ("", name):
                setattr(fields, f"override_{name}", False)
        for item in fields.loss_parameters:
            if self.setting in ("", item.name):
                item.override = False
        return {"FINISHED"}


classes = (
    LIMBECK_OT_choose,
    LIMBECK_OT_set_loss_parameter,
    LIMBECK_OT_apply_preset,
    LIMBECK_OT_clear_overrides,
)
