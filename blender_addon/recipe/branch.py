"""A result's recipe -> the panel's fields, for changing something and generating again.

What the panel cannot say is not lost silently: `branch_into` returns a sentence for each such thing.
"""

from __future__ import annotations

from typing import Any

import bpy
import msgspec
from limbeck_protocol.editing import EDIT_LOSS, KEPT_SETTINGS, common_preset
from limbeck_protocol.messages import Catalog
from limbeck_protocol.recipe import Orbit, Recipe, Settings

from ..rig.orbit_box import has_own_orbit
from .catalog_view import is_schedule, parameter_named, parameter_start, preset_settings
from .loss_parameter_sync import key_of, set_value
from .picture_form import THE_PRESETS, preset_field
from .recipe_form import as_written, bad_field
from .settings_form import overrides_in_force

LIMIT_SEED = 2**31 - 1
"""Blender's whole numbers end here; a recipe's seed may be larger."""
_RUNTIME_SETTINGS = frozenset({"threads", "device", "preview_every"})
"""They say where and how a job runs; the server decides them anew."""


def branch_into(scene: bpy.types.Scene, recipe: Recipe, catalog: Catalog | None, *, new_seed: bool) -> list[str]:
    """Load a recipe into the panel's fields of a scene; return what the panel cannot say, a sentence each.

    Args:
        scene: its `limbeck` fields are overwritten, but for the place.
        recipe: as it stands on a result, all its settings known.
        catalog: what the server offers, None when it is not known; settings that are the preset's own are not ticked.
        new_seed: take the next seed.

    Raises:
        LimbeckError: the seed is larger than Blender's numbers; nothing was changed.
    """
    fields, seed = scene.limbeck, recipe.seed + int(new_seed)
    if seed > LIMIT_SEED:
        raise bad_field("seed", f"The seed {seed} is larger than the panel's {LIMIT_SEED}.", "Use Re-run, or a script.")
    unsaid = []
    if recipe.start:
        unsaid.append("it began with another job's result; the panel begins anew. Use Re-run or Edit for that.")
    if recipe.loss == EDIT_LOSS:
        recipe = _of_another_loss(recipe, fields.bl_rna.properties["loss"].default)
        unsaid.append(f"its loss '{EDIT_LOSS}' edits a result; the panel has '{recipe.loss}' as its preset says.")
    fields.prompt, fields.negative_prompt = recipe.prompt, recipe.negative_prompt or ""
    unsaid += _load_image(fields, recipe)
    setattr(fields, preset_field(fields), recipe.preset)
    fields.loss, fields.prior, fields.seed = recipe.loss, recipe.prior, seed
    settings = {name: value for name, value in _set_fields(recipe.settings).items() if name not in _RUNTIME_SETTINGS}
    preset = preset_settings(catalog, recipe.preset, recipe.loss, recipe.prior)
    if recipe.image:
        settings.pop("learning_rate", None)  # a preset's is that of one generator; the server knows the others'
    unsaid += _load_overrides(fields, settings, preset)
    _load_loss_parameters(fields, recipe, catalog)
    return unsaid if recipe.image else unsaid + _load_rig(fields, recipe)


def _load_image(fields: bpy.types.PropertyGroup, recipe: Recipe) -> list[str]:
    """Load whether a picture is made, and what it is made of; the rig of a picture means nothing and is left alone."""
    fields.makes = "IMAGE" if recipe.image else "OBJECT"
    if not recipe.image:
        return []
    fields.image_size = recipe.image.size or 0
    kinds = {item.identifier for item in fields.bl_rna.properties["image_generator"].enum_items}
    generator = THE_PRESETS if recipe.image.generator is None else recipe.image.generator.upper()
    if generator not in kinds:
        return [f"the panel does not know its generator '{recipe.image.generator}' and keeps its own."]
    fields.image_generator = generator
    return []


def _of_another_loss(recipe: Recipe, loss: str) -> Recipe:
    """Return a recipe that makes something new from that of an edit, whose pace and guidance suit an edit alone."""
    kept = {name: getattr(recipe.settings, name) for name in KEPT_SETTINGS}
    return msgspec.structs.replace(
        recipe, loss=loss, preset=common_preset(recipe.preset), settings=Settings(**kept), start=msgspec.UNSET
    )


def _set_fields(settings: Settings) -> dict[str, Any]:
    values = {field.name: getattr(settings, field.name) for field in msgspec.structs.fields(Settings)}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET and name != "loss_parameters"}


def _load_overrides(fields: bpy.types.PropertyGroup, settings: dict[str, Any], preset: dict[str, Any] | None) -> list:
    """Tick what differs from the preset, all of it when the preset is not known; untick the rest."""
    unsaid, known = [], overrides_in_force(fields)
    for name in known:
        value = settings.get(name, msgspec.UNSET)
        is_other = value is not msgspec.UNSET and (preset is None or not _is_same(value, preset.get(name)))
        setattr(fields, f"override_{name}", is_other)
        if is_other:
            setattr(fields, name, _as_number(value))
            if is_schedule(value) and len(value) > 1:
                unsaid.append(f"{name} changes along the run; the panel holds its last value throughout.")
    if preset is not None:
        other = [name for name in settings if name not in known and not _is_same(settings[name], preset.get(name))]
        unsaid += [f"{name} is not the preset's, and the panel cannot set it." for name in other]
    return unsaid


def _load_loss_parameters(fields: bpy.types.PropertyGroup, recipe: Recipe, catalog: Catalog | None) -> None:
    values = recipe.settings.loss_parameters
    for item in fields.loss_parameters:
        if item.loss == recipe.loss:
            item.override = False
    for name, value in ({} if values is msgspec.UNSET else values).items():
        info = parameter_named(catalog, recipe.loss, name)
        if info is not None and _is_same(
            value, parameter_start(catalog, info, recipe.loss, recipe.prior, recipe.preset)
        ):
            continue
        key = key_of(recipe.loss, name)
        item = fields.loss_parameters.get(key) or fields.loss_parameters.add()
        item.name, item.loss, item.parameter = key, recipe.loss, name
        item.override = True
        set_value(item, value)


def _load_rig(fields: bpy.types.PropertyGroup, recipe: Recipe) -> list[str]:
    orbit, unsaid = recipe.rig.orbit, []
    if orbit is not None:
        for field in msgspec.structs.fields(Orbit):
            if hasattr(fields, f"orbit_{field.name}"):
                setattr(fields, f"orbit_{field.name}", getattr(orbit, field.name))
            elif not _is_same(getattr(orbit, field.name), field.default):
                unsaid.append(f"the orbit's {field.name} is not the usual one, and the panel cannot set it.")
    if recipe.rig.cameras is not None:
        unsaid.append("its cameras were those of a scene; the panel uses the cameras that this scene has now.")
    if orbit is not None and has_own_orbit(fields.target):
        unsaid.append(f"the orbit of '{fields.target.name}' counts as long as that is chosen under Place At.")
    fields.rig_source = "ORBIT" if recipe.rig.cameras is None else "CAMERAS" if orbit is None else "BOTH"
    return unsaid


def _as_number(value: Any) -> Any:
    if value is None:
        return 0.0  # the panel's word for a density level that is chosen automatically
    return value[-1][1] if is_schedule(value) else value


def _is_same(first: Any, second: Any) -> bool:
    """Return whether two settings are equal, at the precision in which Blender keeps numbers."""
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_is_same, first, second))
    if isinstance(first, float) and isinstance(second, (int, float)):
        return as_written(first) == as_written(float(second))
    return bool(first == second)
