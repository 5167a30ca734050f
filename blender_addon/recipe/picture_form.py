"""Whether the panel makes an object or a picture, and the fields that are about a picture -> a recipe's `image`."""

from __future__ import annotations

import bpy
from limbeck_protocol.recipe import Image

OBJECT, IMAGE = "object", "image"
"""What is made, as the catalog's presets say it; the panel's enum has the same words in capitals."""
THE_PRESETS = "PRESET"
"""The choice of a generator that leaves it to the preset."""


def made_kind(fields: bpy.types.PropertyGroup) -> str:
    """Return `object` or `image`: what the panel's prompt shall become."""
    return str(fields.makes).lower()


def makes_image(fields: bpy.types.PropertyGroup) -> bool:
    """Return whether the panel's prompt shall become a picture."""
    return made_kind(fields) == IMAGE


def preset_field(fields: bpy.types.PropertyGroup) -> str:
    """Return which field holds the preset: objects and pictures have presets, and a choice of one, of their own."""
    return "image_preset" if makes_image(fields) else "preset"


def preset_of(fields: bpy.types.PropertyGroup) -> str:
    """Return the name of the chosen preset."""
    return str(getattr(fields, preset_field(fields)))


def image_from(fields: bpy.types.PropertyGroup) -> Image | None:
    """Return what a recipe says of a picture; None when an object shall be made."""
    if not makes_image(fields):
        return None
    chosen = fields.image_generator
    return Image(generator=None if chosen == THE_PRESETS else chosen.lower(), size=fields.image_size or None)
