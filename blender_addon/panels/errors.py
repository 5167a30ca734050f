"""An error in the panel: its sentence, and its remedy as a button."""

import bpy
from limbeck_protocol.errors import LimbeckError, RemedyAction

from ..preferences import ONLINE_ACCESS_FIELD
from ..server_process import PREFERENCES_FIELD
from .sidebar import wrapped

_ADDON = __package__.rpartition(".")[0]
_REMEDY_OPERATORS = {
    RemedyAction.START_SERVER: "limbeck.start_server",
    RemedyAction.RETRY: "limbeck.refresh",
}


def draw_error(layout: bpy.types.UILayout, error: LimbeckError, region: bpy.types.Region | None) -> None:
    """Draw an error as its sentence, and its remedy as a button where one of ours helps, else as text."""
    box = layout.box()
    column = box.column(align=True)
    for number, line in enumerate(wrapped(error.message, region)):
        column.label(text=line, icon="ERROR" if number == 0 else "BLANK1")
    remedy = error.remedy
    operator = _REMEDY_OPERATORS.get(remedy.action)
    if remedy.field == ONLINE_ACCESS_FIELD:
        operator = "screen.userpref_show"
    for line in wrapped(remedy.label, region):
        column.label(text=line, icon="BLANK1")
    if remedy.field == PREFERENCES_FIELD:
        box.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = _ADDON
    elif operator is not None:
        box.operator(operator, icon="FILE_REFRESH")
