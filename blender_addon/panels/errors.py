"""An error in the panel: its sentence, and its remedy as a button."""

from dataclasses import replace

import bpy
from limbeck_protocol.errors import LimbeckError

from ..panel_state import View, remedy_button
from ..preferences import remote_endpoint
from .sidebar import draw_button, draw_text

_OF_ONE_JOB = {"limbeck.retry", "limbeck.show_log"}


def draw_error(layout: bpy.types.UILayout, error: LimbeckError, region: bpy.types.Region | None, job_id: str) -> None:
    """Draw the error of a listed job as its sentence, what to do about it, and the button that does it for this job."""
    box = layout.box()
    draw_text(box, error.message, region, "ERROR")
    draw_text(box, error.remedy.label, region, "BLANK1")
    button = remedy_button(error.remedy, is_remote=remote_endpoint() is not None)
    if button.operator in _OF_ONE_JOB:
        button = replace(button, keywords={**button.keywords, "job_id": job_id})
    draw_button(box, button)


def draw_failure(layout: bpy.types.UILayout, view: View, region: bpy.types.Region | None) -> None:
    """Draw a state of the panel that came from an error; a cross takes it away."""
    box = layout.box()
    draw_text(box, view.sentence, region, "ERROR")
    draw_text(box, view.hint, region, "BLANK1")
    row = box.row(align=True)
    draw_button(row, view.button)
    if view.button.operator != "limbeck.dismiss_error":
        row.operator("limbeck.dismiss_error", text="", icon="X")
