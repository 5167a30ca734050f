"""The server and the jobs it has."""

import bpy
from limbeck_protocol.job_states import FINAL_STATES, JobState

from .. import runtime
from ..status_text import JOB_ICONS, status_sentence
from .sidebar import Sidebar

_SHOWN_JOBS = 6


class LIMBECK_PT_server(Sidebar, bpy.types.Panel):
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


classes = (LIMBECK_PT_server,)
