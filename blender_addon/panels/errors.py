"""An error in the panel: its sentence, and its remedy as a button."""

import bpy
from limbeck_protocol.errors import LimbeckError

from ..panel_state import View, remedy_button
from ..preferences import remote_endpoint
from .sidebar import draw_button, draw_text


def draw_error(layout: bpy.types.UILayout, error: LimbeckError, region: bpy.types.Region | None) -> None:
    """Draw an error as its sentence, what to do about it, and the button that does it."""
    box = layout.box()
    draw_text(box, error.message, region, "ERROR")
    draw_text(box, error.remedy.label, region, "BLANK1")
    draw_button(box, remedy_button(error.remedy, is_remote=remote_endpoint() is not None))


def draw_failure(layout: bpy.types.UILayout, view: View, region: bpy.types.Region | None) -> None:
    """Draw a state of the panel that came from an error; a cross takes it away."""
    box = layout.box()
    draw_text(box, view.sentence, region, "ERROR")
    draw_text(box, view.hint, region, "BLANK1")
    row = box.row(align=True)
    draw_button(row, view.button)
    if view.button.operator != "limbeck.dismiss_error":
        row.operator("limbeck.dismiss_error", text="", icon="X")
