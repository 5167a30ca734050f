"""Settings that may override the preset's: for each a checkbox and a value.

Only what is ticked is sent; the preset decides the rest on the server, so choosing another preset never costs an
override. Ticking begins at what the preset says just now, unticking forgets the value. Ranges are the protocol's own.
"""

import bpy

from .. import runtime
from ..recipe.catalog_view import is_schedule, preset_settings
from ..recipe.picture_form import preset_of
from ..recipe.recipe_form import settings_ranges

_RANGES = settings_ranges()


def preset_value(fields: bpy.types.PropertyGroup, name: str) -> float | None:
    """Return what the preset says as a single number (a schedule's last one); None when it is not known.

    The level that is chosen automatically is 0 here.
    """
    settings = preset_settings(runtime.session().catalog, preset_of(fields), fields.loss, fields.prior)
    if settings is None or name not in settings:
        return None
    value = settings[name]
    if value is None:
        return 0.0
    return value[-1][1] if is_schedule(value) else value


def begin_at_preset(name: str):
    """Return a checkbox's update function: a fresh override starts at the preset's value, a dropped one is unset."""

    def update(fields, _context) -> None:
        if not getattr(fields, f"override_{name}"):
            fields.property_unset(name)
        elif not fields.is_property_set(name):
            value = preset_value(fields, name)
            if value is not None:
                setattr(fields, name, value)

    return update


def _tick(name: str):
    described = f"Use a value of your own instead of the preset's: {name.replace('_', ' ')}"
    return bpy.props.BoolProperty(name="Override", description=described, update=begin_at_preset(name))


def _whole(name: str, label: str, description: str, default: int):
    low, high = _RANGES[name]
    return bpy.props.IntProperty(name=label, description=description, default=default, min=int(low), max=int(high))


class OverrideFields:
    """A checkbox and a value for each setting that the panel offers."""

    override_guidance_scale: _tick("guidance_scale")
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance Scale",
        description="How strongly the prompt pulls; 1 is no guidance",
        default=7.5,
        min=_RANGES["guidance_scale"][0],
        max=_RANGES["guidance_scale"][1],
        soft_max=100.0,
    )
    override_steps: _tick("steps")
    steps: _whole("steps", "Steps", "Steps of the optimiser: more are slower and finer", 300)
    override_render_size: _tick("render_size")
    render_size: _whole(
        "render_size", "Quality", "Side of the pictures that the prior judges, in pixels, for the whole run", 64
    )
    override_field_resolution: _tick("field_resolution")
    field_resolution: _whole("field_resolution", "Field Resolution", "Cells of the field along each side", 56)
    override_mesh_resolution: _tick("mesh_resolution")
    mesh_resolution: _whole("mesh_resolution", "Resolution", "Cells along each side when the surface is cut", 128)
    override_density_level: _tick("density_level")
    density_level: bpy.props.FloatProperty(
        name="Density Level",
        description="Density at which the surface lies; lower is thicker. 0: chosen by silhouettes",
        default=0.0,
        min=0.0,
        max=_RANGES["density_level"][1],
        soft_max=100.0,
    )
    override_face_budget: _tick("face_budget")
    face_budget: _whole("face_budget", "Face Budget", "Triangles of the mesh at most", 12_000)
    override_texture_size: _tick("texture_size")
    texture_size: _whole("texture_size", "Texture Size", "Side of the texture, in pixels", 1024)
