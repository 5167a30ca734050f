"""Cameras that travel one at a time: where somebody looks from, and where a picture was taken. Data only.

Frames and units as in `recipe.Cameras`: the object's frame (Z up, front towards -Y, the object inside a ball of radius
0.6), cameras look along their own -Z, lenses are shares of the picture's height.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from limbeck_protocol.recipe import Array

VIEWER_SIZE = 48
"""Side of a viewer's picture in pixels, unless it asks for another."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One camera, as servers tell of it."""

    camera_to_world: Array
    """(4, 4) float32, rigid."""
    lens: Array
    """(3,) float32: focal length, horizontal shift, vertical shift."""


class ViewerCamera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The camera that a viewer looks through, in the object's frame; shapes as in `View`.

    What is as usual is left out on the wire, so that servers of version 1.0 understand it too.
    """

    camera_to_world: Array
    lens: Array
    size: Annotated[int, Meta(ge=16, le=256)] = VIEWER_SIZE
    """Side of the square picture in pixels. Time and bytes grow with its square."""
