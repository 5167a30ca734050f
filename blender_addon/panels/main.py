"""The main panel: prompt, generate, progress, preview."""

import bpy
from limbeck_protocol.job_states import JobState

from .. import runtime
from ..preferences import network_allowed
from ..status_text import progress_bar
from .errors import draw_error
from .sidebar import ICON_UNIT_PX, Sidebar, width


class LIMBECK_PT_main(Sidebar, bpy.types.Panel):
    """Prompt, generate, progress, preview."""

    bl_label = "Limbeck"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields, session = self.layout, context.scene.limbeck, runtime.session()
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.use_property_split = False
        column.prop(fields, "prompt", text="", placeholder="a yellow duck")
        column = layout.column(align=True)
        column.prop(fields, "loss")
        column.prop(fields, "preset")
        column.prop(fields, "seed")
        row = layout.row(align=True)
        row.scale_y = 1.5
        if session.is_busy:
            row.operator("limbeck.cancel", icon="CANCEL")
        else:
            row.operator("limbeck.generate", icon="SHADERFX")
        _draw_progress(layout, session)
        if session.error is not None:
            draw_error(layout, session.error, context.region)
        elif not network_allowed():
            layout.operator("screen.userpref_show", text="Allow Online Access...", icon="INTERNET_OFFLINE")
        _draw_preview(layout, context.region)
        _draw_import(layout, fields, session)


def _draw_progress(layout: bpy.types.UILayout, session) -> None:
    bar = progress_bar(session)
    if bar is not None:
        layout.progress(factor=bar[0], text=bar[1], type="BAR")
    elif session.followed is not None and session.followed.notice:
        layout.label(text=session.followed.notice, icon="INFO")


def _draw_preview(layout: bpy.types.UILayout, region: bpy.types.Region | None) -> None:
    if runtime.preview.icon_id == 0:
        return
    # The icon never grows past the panel; a larger scale would only add empty space above and below.
    layout.template_icon(icon_value=runtime.preview.icon_id, scale=max(4.0, (width(region) - 60) / ICON_UNIT_PX))


def _draw_import(layout: bpy.types.UILayout, fields, session) -> None:
    layout.prop(fields, "import_when_done")
    job = session.followed
    if job is not None and job.info is not None and job.info.state is JobState.SUCCEEDED and not session.is_busy:
        text = "Import Again" if _is_in_file(job.job_id) else "Import"
        layout.operator("limbeck.import_result", text=text, icon="IMPORT").job_id = job.job_id


def _is_in_file(job_id: str) -> bool:
    return any(thing.get("limbeck_job") == job_id for thing in bpy.data.objects)


classes = (LIMBECK_PT_main,)
