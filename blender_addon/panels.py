"""The sidebar of the 3-D view, tab Limbeck. Drawing only: it reads the session and the scene and asks nobody."""

import textwrap

import bpy
from limbeck_protocol.errors import LimbeckError, RemedyAction
from limbeck_protocol.job_states import FINAL_STATES, JobState

from . import runtime
from .panel_form import has_own_orbit
from .preferences import ONLINE_ACCESS_FIELD, network_allowed
from .server_process import PREFERENCES_FIELD
from .status_text import JOB_ICONS, progress_bar, status_sentence

_ICON_UNIT_PX = 20
_LETTER_PX = 7
_SHOWN_JOBS = 6
_REMEDY_OPERATORS = {
    RemedyAction.START_SERVER: "limbeck.start_server",
    RemedyAction.RETRY: "limbeck.refresh",
}


class _Sidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Limbeck"


class LIMBECK_PT_main(_Sidebar, bpy.types.Panel):
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
    layout.template_icon(icon_value=runtime.preview.icon_id, scale=max(4.0, (_width(region) - 60) / _ICON_UNIT_PX))


def _draw_import(layout: bpy.types.UILayout, fields, session) -> None:
    layout.prop(fields, "import_when_done")
    job = session.followed
    if job is not None and job.info is not None and job.info.state is JobState.SUCCEEDED and not session.is_busy:
        text = "Import Again" if _is_in_file(job.job_id) else "Import"
        layout.operator("limbeck.import_result", text=text, icon="IMPORT").job_id = job.job_id


def _width(region: bpy.types.Region | None) -> float:
    """Return the sidebar's width in pixels of a display that is not scaled."""
    return (region.width if region else 240) / (bpy.context.preferences.system.ui_scale or 1.0)


def _is_in_file(job_id: str) -> bool:
    return any(thing.get("limbeck_job") == job_id for thing in bpy.data.objects)


def draw_error(layout: bpy.types.UILayout, error: LimbeckError, region: bpy.types.Region | None) -> None:
    """Draw an error as its sentence, and its remedy as a button where one of ours helps, else as text."""
    box = layout.box()
    column = box.column(align=True)
    letters = max(20, int((_width(region) - 60) / _LETTER_PX))
    for number, line in enumerate(textwrap.wrap(error.message, letters)):
        column.label(text=line, icon="ERROR" if number == 0 else "BLANK1")
    remedy = error.remedy
    operator = _REMEDY_OPERATORS.get(remedy.action)
    if remedy.field == ONLINE_ACCESS_FIELD:
        operator = "screen.userpref_show"
    for line in textwrap.wrap(remedy.label, letters):
        column.label(text=line, icon="BLANK1")
    if remedy.field == PREFERENCES_FIELD:
        box.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES").module = __package__
    elif operator is not None:
        box.operator(operator, icon="FILE_REFRESH")


class LIMBECK_PT_guidance(_Sidebar, bpy.types.Panel):
    """Which model guides, and away from what."""

    bl_label = "Guidance"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        self.layout.prop(context.scene.limbeck, "prior")
        self.layout.prop(context.scene.limbeck, "negative_prompt")


class LIMBECK_PT_rig(_Sidebar, bpy.types.Panel):
    """Where the object grows and from where it is looked at."""

    bl_label = "Place and Cameras"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, fields = self.layout, context.scene.limbeck
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(fields, "target")
        row = layout.row()
        row.active = fields.target is None
        row.prop(fields, "size")
        layout.prop(fields, "rig_source")
        row = layout.row()
        row.active = fields.rig_source != "ORBIT"
        row.prop(fields, "cameras", text="Cameras", icon="OUTLINER_COLLECTION")
        column = layout.column()
        column.active = fields.rig_source != "CAMERAS" and not has_own_orbit(fields.target)
        column.prop(fields, "orbit_azimuth_deg")
        column.prop(fields, "orbit_elevation_deg")
        column.prop(fields, "orbit_distance")
        if has_own_orbit(fields.target):
            layout.label(text=f"'{fields.target.name}' brings its own orbit", icon="INFO")


class LIMBECK_PT_server(_Sidebar, bpy.types.Panel):
    """The server and the jobs it has."""

    bl_label = "Server"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, session = self.layout, runtime.session()
        layout.label(text=status_sentence(session))
        row = layout.row(align=True)
        row.operator("limbeck.start_server", icon="PLAY")
        row.operator("limbeck.stop_server", text="Stop", icon="PAUSE")
        row.operator("limbeck.refresh", text="", icon="FILE_REFRESH")
        column = layout.column(align=True)
        for job in session.jobs[:_SHOWN_JOBS]:
            row = column.row(align=True)
            row.label(text=job.recipe.prompt, icon=JOB_ICONS[job.state])
            if job.state is JobState.SUCCEEDED or job.state not in FINAL_STATES:
                row.operator("limbeck.import_result", text="", icon="IMPORT").job_id = job.job_id


classes = (LIMBECK_PT_main, LIMBECK_PT_guidance, LIMBECK_PT_rig, LIMBECK_PT_server)
