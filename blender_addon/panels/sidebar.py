"""What all panels of the sidebar share: their place, how sentences fit its width, and how a button is drawn."""

import textwrap

import bpy

from ..panel_state import Button
from ..recipe.picture_form import makes_image

ICON_UNIT_PX = 20
_LETTER_PX = 7
LABEL_SHARE = 0.4
"""As Blender splits a property from its label."""
_MARGIN_PX = 60
"""Frame, icon and scroll bar beside a line of text."""


class Sidebar:
    """Base of the panels: sidebar of the 3-D view, tab Limbeck."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Limbeck"


class ObjectSidebar(Sidebar):
    """Base of the panels that are about objects: not there while the prompt makes a picture."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The prompt makes an object."""
        return not makes_image(context.scene.limbeck)


def width(region: bpy.types.Region | None) -> float:
    """Return the sidebar's width in pixels of a display that is not scaled."""
    return (region.width if region else 240) / (bpy.context.preferences.system.ui_scale or 1.0)


def wrap(text: str, letters: int) -> list[str]:
    """Return the text as lines of so many letters at most; what is one long word, such as a path, is cut."""
    return textwrap.wrap(text, max(20, letters))


def wrapped(text: str, region: bpy.types.Region | None) -> list[str]:
    """Return the text as lines that fit the sidebar's width: 25 letters at 240 pixels."""
    return wrap(text, int((width(region) - _MARGIN_PX) / _LETTER_PX))


def is_cut(label: str, region: bpy.types.Region | None) -> bool:
    """Return whether a property's label does not fit its share of the sidebar's width: 10 letters at 240 pixels."""
    return len(label) * _LETTER_PX > LABEL_SHARE * (width(region) - _MARGIN_PX)


def draw_text(layout: bpy.types.UILayout, text: str, region: bpy.types.Region | None, icon: str = "NONE") -> None:
    """Draw a text in lines that fit; the icon stands before the first, and the others begin below its text."""
    column = layout.column(align=True)
    rest = "NONE" if icon == "NONE" else "BLANK1"
    for number, line in enumerate(wrapped(text, region)):
        column.label(text=line, icon=icon if number == 0 else rest)


def draw_button(layout: bpy.types.UILayout, button: Button) -> None:
    """Draw a button of the state machine; it greys out and says why by its operator's own poll."""
    drawn = layout.operator(button.operator, text=button.label, icon=button.icon)
    for name, value in button.keywords.items():
        setattr(drawn, name, value)
