"""The jobs of the server, with their pictures; they are there again after Blender or the server was restarted."""

import bpy
from limbeck_protocol.job_states import FINAL_STATES, JobState
from limbeck_protocol.messages import JobInfo
from limbeck_protocol.recipe import Recipe
from limbeck_protocol.replies import error_from_reply

from .. import job_list, runtime
from ..connection.session import Session
from ..recipe.catalog_view import shown
from ..status_text import JOB_ICONS, progress_text, share_done
from .errors import draw_error
from .sidebar import ICON_UNIT_PX, Sidebar, draw_text, width

_METRICS = {
    "iou": "IoU",
    "silhouette_iou": "Silhouette IoU",
    "colour_error": "Colour error",
    "colour_probability": "Colour",
    "shape_probability": "Shape",
    "fronts": "Fronts",
    "faces": "Triangles",
    "watertight": "Watertight",
}
_LARGEST_PICTURE = 6.4
"""Of 20 pixels each: what a thumbnail of 128 pixels fills."""


class LIMBECK_UL_jobs(bpy.types.UIList):
    """One job to a row: its picture or state, its prompt, how far it is, and what can be done with it."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property) -> None:
        """Draw one row."""
        session = runtime.session()
        job = job_list.job_by_id(session, item.job_id)
        if job is None:  # the server has another list by now; the rows follow with the next pump
            layout.label(text=item.name, icon="BLANK1")
            return
        row = layout.row(align=True)
        picture = job_list.thumbnails.icon_id(job.job_id)
        if picture:
            row.label(text=job.recipe.prompt, icon_value=picture)
        else:
            row.label(text=job.recipe.prompt, icon=JOB_ICONS[job.state])
        progress = job_list.progress_of(session, job)
        if progress is not None:
            row.progress(factor=share_done(progress), text=f"{share_done(progress):.0%}", type="BAR")
        _draw_buttons(row, session, job)


def _draw_buttons(row: bpy.types.UILayout, session: Session, job: JobInfo) -> None:
    if job.state is JobState.SUCCEEDED:
        row.operator("limbeck.import_result", text="", icon="IMPORT").job_id = job.job_id
    elif job.state not in FINAL_STATES:
        is_followed = session.is_busy and session.followed is not None and session.followed.job_id == job.job_id
        if not is_followed:
            row.operator("limbeck.follow_job", text="", icon="HIDE_OFF").job_id = job.job_id
        row.operator("limbeck.cancel_job", text="", icon="CANCEL").job_id = job.job_id


class LIMBECK_PT_jobs(Sidebar, bpy.types.Panel):
    """The jobs of the server, newest first, and what is known of the selected one."""

    bl_label = "Jobs"
    bl_parent_id = "LIMBECK_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Draw it."""
        layout, session, mirror = self.layout, runtime.session(), context.window_manager.limbeck
        if not session.jobs:
            sentence = "No job yet" if session.is_connected else "The jobs are listed once a server is connected"
            draw_text(layout, sentence, context.region, "INFO")
            if not session.is_connected:
                layout.operator("limbeck.refresh", icon="FILE_REFRESH")
            return
        layout.template_list("LIMBECK_UL_jobs", "", mirror, "rows", mirror, "selected", rows=4)
        job = job_list.job_by_id(session, job_list.selected_id())
        if job is not None:
            _draw_details(layout, session, job, context.region)


def _draw_details(layout, session: Session, job: JobInfo, region) -> None:
    picture = job_list.thumbnails.icon_id(job.job_id)
    if picture:
        layout.template_icon(icon_value=picture, scale=min(_LARGEST_PICTURE, (width(region) - 60) / ICON_UNIT_PX))
    recipe = job.recipe
    draw_text(layout, recipe.prompt, region, JOB_ICONS[job.state])
    column = layout.column(align=True)
    for line in (
        picture_sentence(recipe),
        f"{recipe.preset}, {recipe.loss}, {recipe.prior}, seed {recipe.seed}",
        f"{job.state.capitalize()}; {job_list.time_sentence(job)}",
        metrics_sentence(job),
    ):
        if line:
            draw_text(column, line, region, "BLANK1")
    progress = job_list.progress_of(session, job)
    if progress is not None:
        layout.progress(factor=share_done(progress), text=progress_text(progress), type="BAR")
    if job.error is not None:
        draw_error(layout, error_from_reply(job.error), region, job.job_id)


def picture_sentence(recipe: Recipe) -> str:
    """Return what a picture is made of, such as `Image of latents, 64 pixels`; empty for an object."""
    if not recipe.image:
        return ""
    made_of = f" of {recipe.image.generator}" if recipe.image.generator else ""
    return f"Image{made_of}" + (f", {recipe.image.size} pixels" if recipe.image.size else "")


def metrics_sentence(job: JobInfo) -> str:
    """Return what was measured of a finished job, such as `IoU 0.84, Triangles 11998`; empty when nothing was."""
    known = [(title, job.metrics[name]) for name, title in _METRICS.items() if name in job.metrics]
    return ", ".join(f"{title} {_figure(value)}" for title, value in known)


def _figure(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else shown(value)


classes = (LIMBECK_UL_jobs, LIMBECK_PT_jobs)
