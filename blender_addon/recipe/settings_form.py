"""The panel's overrides and the loss's own parameters -> a recipe's settings, and why they cannot be used yet.

Only what is ticked is sent; the server's preset decides the rest. Nothing here asks the server: the catalog is given.
"""

from __future__ import annotations

from typing import Any

import bpy
from limbeck_protocol.messages import Catalog

from .catalog_view import loss_named, parameter_named, parameter_problem, problem
from .loss_parameter_sync import value_of
from .picture_form import made_kind, makes_image, preset_of
from .recipe_form import as_written

GUIDANCE_OVERRIDES = ("guidance_scale",)
SHAPE_OVERRIDES = ("steps", "render_size", "field_resolution")
MESH_OVERRIDES = ("mesh_resolution", "density_level", "face_budget", "texture_size")
PICTURE_OVERRIDES = ("steps",)
OVERRIDES = (*GUIDANCE_OVERRIDES, *SHAPE_OVERRIDES, *MESH_OVERRIDES)
"""Settings that the panel offers to override, by the part of it where they stand."""


def overrides_in_force(fields: bpy.types.PropertyGroup) -> tuple[str, ...]:
    """Return the settings that the panel can override: of a picture, those of fields and meshes mean nothing."""
    return (*GUIDANCE_OVERRIDES, *PICTURE_OVERRIDES) if makes_image(fields) else OVERRIDES


def overrides_of(fields: bpy.types.PropertyGroup) -> dict[str, Any]:
    """Return the ticked settings by name, as the protocol's `Settings` wants them."""
    found: dict[str, Any] = {}
    for name in overrides_in_force(fields):
        if getattr(fields, f"override_{name}"):
            value = getattr(fields, name)
            if name == "render_size":
                found[name] = [(0.0, value)]
            elif name == "density_level":
                found[name] = as_written(value) if value > 0.0 else None
            else:
                found[name] = as_written(value) if isinstance(value, float) else value
    return found


def loss_parameters_of(fields: bpy.types.PropertyGroup, catalog: Catalog | None) -> dict[str, float | str]:
    """Return the ticked parameters of the chosen loss by name; once a catalog is known, only those it lists."""
    found = {
        item.parameter: value_of(item, parameter_named(catalog, item.loss, item.parameter))
        for item in fields.loss_parameters
        if item.override and item.loss == fields.loss
    }
    loss = loss_named(catalog, fields.loss)
    if loss is None:
        return found
    known = {parameter.name for parameter in loss.parameters}
    return {name: value for name, value in found.items() if name in known}


def forgotten_parameters(fields: bpy.types.PropertyGroup, catalog: Catalog | None) -> list[str]:
    """Return the names of ticked parameters that the server's loss does not have; they are kept, and not sent."""
    if loss_named(catalog, fields.loss) is None:
        return []
    sent = loss_parameters_of(fields, catalog)
    ticked = [item.parameter for item in fields.loss_parameters if item.override and item.loss == fields.loss]
    return [name for name in ticked if name not in sent]


def settings_from(fields: bpy.types.PropertyGroup, catalog: Catalog | None) -> dict[str, Any]:
    """Return the settings to send: overrides, and the loss's own parameters where any is ticked."""
    settings = overrides_of(fields)
    parameters = loss_parameters_of(fields, catalog)
    return settings | ({"loss_parameters": parameters} if parameters else {})


def settings_problem(fields: bpy.types.PropertyGroup, catalog: Catalog | None) -> str:
    """Return why the server would refuse what is chosen, as a sentence; empty when nothing is known against it."""
    names = {"loss": fields.loss, "prior": fields.prior, "preset": preset_of(fields), "makes": made_kind(fields)}
    return problem(catalog, **names) or parameter_problem(catalog, fields.loss, loss_parameters_of(fields, catalog))
