"""Fields of pictures: whether one is made instead of an object, of what, and how large."""

import bpy

from .guidance import suggest

_LEAST, _MOST = 16, 2048
"""Sides that a recipe may name, in pixels; 0 leaves it to the prior."""


def _keep_in_range(fields: bpy.types.PropertyGroup, _context) -> None:
    if 0 < fields.image_size < _LEAST:
        fields.image_size = _LEAST


class PictureFields:
    """What the prompt becomes, and what a picture is made of."""

    makes: bpy.props.EnumProperty(
        name="Make",
        description="What the prompt becomes",
        items=[
            ("OBJECT", "Object", "An object of the scene: a textured mesh, seen from all around", "MESH_DATA", 0),
            ("IMAGE", "Image", "A picture: an image of this file, without cameras and without a mesh", "IMAGE_DATA", 1),
        ],
        default="OBJECT",
    )
    image_generator: bpy.props.EnumProperty(
        name="Made of",
        description="What is optimised until the prior agrees with the picture",
        items=[
            ("PRESET", "As the Preset", "What the preset is made for"),
            ("LATENTS", "Latents", "What the prior itself diffuses"),
            ("PIXELS", "Pixels", "The colours of the picture, each on its own"),
            ("MLP", "Network", "A small network that gives each place its colour; smooth, and of any size"),
        ],
        default="PRESET",
    )
    image_size: bpy.props.IntProperty(
        name="Size",
        description="Side of the picture, in pixels. 0: that of the prior's own pictures",
        default=0,
        min=0,
        max=_MOST,
        update=_keep_in_range,
    )
    image_preset: bpy.props.StringProperty(
        name="Preset",
        description="Decides everything that is not set here, for images",
        default="image",
        search=suggest("preset"),
        search_options={"SUGGESTION"},
    )
