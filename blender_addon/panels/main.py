"""The main panel: prompt, generate, how things stand and the one button that moves on, preview."""

import bpy
from limbeck_protocol.job_states import JobState

from .. import runtime
from ..panel_state import PanelState, View, facts_of, view_of
from ..preferences import network_allowed, remote_endpoint
from ..results.image_import import image_of, is_in_file
from ..status_text import progress_bar
from .choices import draw_choice
from .errors import draw_failure
from .sidebar import ICON_UNIT_PX, Sidebar, draw_button, draw_text, width

_ICONS = {
    PanelState.OFFLINE: "INTERNET_OFFLINE",
    PanelState.NO_SERVER: "UNLINKED",
    PanelState.STARTING: "SORTTIME",
    PanelState.STOPPING: "SORTTIME",
    PanelState.CONNECTING: "SORTTIME",
    PanelState.IDLE: "CHECKMARK",
    PanelState.RUNNING: "PLAY",
    PanelState.RECONNECTING: "UNLINKED",
    PanelState.DONE: "CHECKMARK",
}
_BIG = {"limbeck.generate", "limbeck.cancel"}
"""What the large button above does already."""


class LIMBECK_PT_main(Sidebar, bpy.types.Panel):
    """Prompt, generate, how things stand, preview."""

    bl_label = "Limbeck"

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields, session = self.layout, context.scene.limbeck, runtime.session()
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.use_property_split = False
        column.prop(fields, "prompt", text="", placeholder="a yellow duck")
        column.row(align=True).prop(fields, "makes", expand=True)
        column = layout.column(align=True)
        draw_choice(column, fields, "loss")
        draw_choice(column, fields, "preset")
        column.prop(fields, "seed")
        row = layout.row(align=True)
        row.scale_y = 1.5
        if session.is_busy:
            row.operator("limbeck.cancel", icon="CANCEL")
        else:
            row.operator("limbeck.generate", icon="SHADERFX")
        draw_state(layout, current_view(), context.region)
        _draw_preview(layout, context.region)
        _draw_import(layout, fields, session)


def current_view() -> View:
    """Return what the panel says and offers just now; reads what is known and asks nobody."""
    session = runtime.session()
    job = session.followed
    facts = facts_of(
        session,
        has_prompt=bool(bpy.context.scene.limbeck.prompt.strip()),
        is_imported=job is not None and is_in_file(job.job_id),
        remote_endpoint=remote_endpoint(),
        is_allowed=network_allowed(),
        is_offline_mode=bpy.app.online_access_override and not bpy.app.online_access,
    )
    return view_of(facts)


def draw_state(layout: bpy.types.UILayout, view: View, region: bpy.types.Region | None) -> None:
    """Draw sentence, progress and button of a state."""
    if view.hint:
        draw_failure(layout, view, region)
        return
    bar = progress_bar(runtime.session()) if view.state in {PanelState.RUNNING, PanelState.RECONNECTING} else None
    if bar is not None:
        layout.progress(factor=bar[0], text=bar[1], type="BAR")
    if bar is None or bar[1] != view.sentence:
        draw_text(layout, view.sentence, region, _ICONS.get(view.state, "INFO"))
    if view.button.operator not in _BIG:
        draw_button(layout, view.button)


def _draw_preview(layout: bpy.types.UILayout, region: bpy.types.Region | None) -> None:
    if runtime.preview.icon_id == 0:
        return
    # The icon never grows past the panel; a larger scale would only add empty space above and below.
    layout.template_icon(icon_value=runtime.preview.icon_id, scale=max(4.0, (width(region) - 60) / ICON_UNIT_PX))


def _draw_import(layout: bpy.types.UILayout, fields, session) -> None:
    row = layout.row()
    row.use_property_split = False  # split, the words are cut in a sidebar of 240 pixels
    row.prop(fields, "import_when_done")
    job = session.followed
    is_done = job is not None and job.info is not None and job.info.state is JobState.SUCCEEDED
    if not is_done or session.is_busy:
        return
    if image_of(job.job_id) is not None:
        layout.operator("limbeck.show_image", icon="IMAGE_DATA").job_id = job.job_id
    elif is_in_file(job.job_id):
        layout.operator("limbeck.import_result", text="Import Again", icon="IMPORT").job_id = job.job_id


classes = (LIMBECK_PT_main,)
