"""The server: which one, how it stands, started and stopped, found and examined; keys for one elsewhere."""

import bpy

from .. import preferences, runtime
from .main import current_view
from .sidebar import Sidebar, draw_text


class LIMBECK_PT_server(Sidebar, bpy.types.Panel):
    """Which server, how it stands, and what can be done with it."""

    bl_label = "Server"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, session, page = self.layout, runtime.session(), preferences.current()
        draw_text(layout, f"{_where(page)}: {current_view().state}", context.region, "NETWORK_DRIVE")
        row = layout.row(align=True)
        if page.server_mode == "LOCAL":
            row.operator("limbeck.start_server", text="Start", icon="PLAY")
            row.operator("limbeck.stop_server", text="Stop", icon="SNAP_FACE")
        else:
            row.operator("limbeck.refresh", text="Connect", icon="LINKED")
            row.operator("limbeck.disconnect", icon="UNLINKED")
        row.operator("limbeck.refresh", text="", icon="FILE_REFRESH")
        if session.has_own_server:
            layout.label(text="Started by this Blender", icon="INFO")
        _draw_tools(layout, context, page)
        _draw_remote(layout, page)
        layout.operator("limbeck.open_preferences", text="Preferences...", icon="PREFERENCES").page = "ADDON"


def _where(page) -> str:
    if page.server_mode == "LOCAL":
        return "This computer"
    return (preferences.remote_endpoint() or "no line yet").removeprefix("tcp://")


def _draw_tools(layout: bpy.types.UILayout, context: bpy.types.Context, page) -> None:
    if page.server_mode != "LOCAL":
        return
    tools = runtime.tools()
    row = layout.row(align=True)
    row.operator("limbeck.find_server", icon="VIEWZOOM")
    row.operator("limbeck.run_doctor", icon="HEART")
    if tools.notice:
        is_busy = tools.is_searching or tools.is_examining
        draw_text(layout, tools.notice, context.region, "SORTTIME" if is_busy else "INFO")
    if not tools.findings:
        return
    column = layout.box().column(align=True)
    for finding in tools.findings:
        missing = "ERROR" if finding.is_needed else "DOT"
        draw_text(column, f"{finding.name}: {finding.text}", context.region, "CHECKMARK" if finding.is_ok else missing)
        if finding.remedy and finding.is_needed:
            draw_text(column, finding.remedy, context.region, "BLANK1")


def _draw_remote(layout: bpy.types.UILayout, page) -> None:
    column = layout.column(align=True)
    column.label(text="On Another Computer", icon="WORLD")
    column.operator("limbeck.copy_key", icon="COPYDOWN")
    column.operator("limbeck.paste_line", icon="PASTEDOWN")
    if page.server_mode != "LOCAL":
        column.operator("limbeck.use_local_server", icon="DESKTOP")


classes = (LIMBECK_PT_server,)
