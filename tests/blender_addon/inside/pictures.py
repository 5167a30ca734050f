"""What the scripts about pictures share: a scene whose panel asks for an image, and the images that arrived."""

from __future__ import annotations

import sys

import bpy


def fresh(prompt: str = "a red mug"):
    """Return the panel's fields of an empty file, set to make an image."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon = sys.modules["limbeck"]
    if not addon.is_registered():
        addon.register()
    fields = bpy.context.scene.limbeck
    fields.prompt, fields.makes = prompt, "IMAGE"
    return fields


def pictures() -> list[bpy.types.Image]:
    """Return the images that came from jobs."""
    return [image for image in bpy.data.images if "limbeck_job" in image]
