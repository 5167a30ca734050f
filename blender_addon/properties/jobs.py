"""The jobs list's rows, on the window manager: neither saved with the file nor undone with it.

Only ids stand here: how a job stands is read from the session at each drawing, so that a row is never out of date.
"""

import bpy


class LIMBECK_job_row(bpy.types.PropertyGroup):
    """One job of the server; `name` is its prompt, which the list can be searched for."""

    job_id: bpy.props.StringProperty(description="The job's id on the server")


class LIMBECK_job_list(bpy.types.PropertyGroup):
    """The rows and which of them is selected, as `window_manager.limbeck`."""

    rows: bpy.props.CollectionProperty(description="The server's newest jobs", type=LIMBECK_job_row)
    selected: bpy.props.IntProperty(name="Selected Job", description="The job whose details are shown", default=0)


classes = (LIMBECK_job_row, LIMBECK_job_list)


def register() -> None:
    """Put the list on the window manager."""
    bpy.types.WindowManager.limbeck = bpy.props.PointerProperty(type=LIMBECK_job_list)


def unregister() -> None:
    """Take it away again."""
    del bpy.types.WindowManager.limbeck
