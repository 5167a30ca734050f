"""What all panels of the sidebar share: their place, and how sentences fit its width."""

import textwrap

import bpy

ICON_UNIT_PX = 20
_LETTER_PX = 7


class Sidebar:
    """Base of the panels: sidebar of the 3-D view, tab Limbeck."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Limbeck"


def width(region: bpy.types.Region | None) -> float:
    """Return the sidebar's width in pixels of a display that is not scaled."""
    return (region.width if region else 240) / (bpy.context.preferences.system.ui_scale or 1.0)


def wrapped(text: str, region: bpy.types.Region | None) -> list[str]:
    """Return the text as lines that fit the sidebar's width."""
    return textwrap.wrap(text, max(20, int((width(region) - 60) / _LETTER_PX)))
