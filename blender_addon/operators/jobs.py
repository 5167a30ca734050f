"""The buttons of the jobs list: cancel any job of the server, follow one that runs."""

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import FINAL_STATES

from .. import job_list, runtime
from ..preferences import check_network_allowed
from .common import blocking_property, failed, finish, is_online, timeout_property

_NOT_CONNECTED = "No server is connected; press Refresh"


class LIMBECK_OT_cancel_job(bpy.types.Operator):
    """End a job of the list on the server; what it has made so far is lost."""

    bl_idname = "limbeck.cancel_job"
    bl_label = "Cancel Job"
    bl_description = "End this job on the server; what it has made so far is lost"

    job_id: bpy.props.StringProperty(name="Job", description="Empty: the selected one", options={"SKIP_SAVE", "HIDDEN"})
    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A server is connected."""
        return _is_connected(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask for its end."""
        session = runtime.session()
        try:
            job = job_list.job_by_id(session, self.job_id or job_list.selected_id())
            if job is None:
                raise LimbeckError(ErrorCode.JOB_NOT_FOUND, "This job is not on the server's list.")
            if job.state in FINAL_STATES:
                raise LimbeckError(ErrorCode.BAD_STATE, f"This job has ended already: it is {job.state}.")
        except LimbeckError as error:
            return failed(self, error)
        job_list.cancel_job(session, job.job_id)
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_follow_job(bpy.types.Operator):
    """Watch a job that runs on the server: its progress, its previews, at the end its mesh."""

    bl_idname = "limbeck.follow_job"
    bl_label = "Follow Job"
    bl_description = "Watch this job: its progress, its previews and, with Import When Done, its mesh"

    job_id: bpy.props.StringProperty(name="Job", description="Empty: the selected one", options={"SKIP_SAVE", "HIDDEN"})
    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A server is connected and no other job is followed."""
        if not _is_connected(cls):
            return False
        if runtime.session().is_busy:
            cls.poll_message_set("Another job is followed until it ends; this one goes on by itself")
        return not runtime.session().is_busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Follow it."""
        job_id = self.job_id or job_list.selected_id()
        try:
            check_network_allowed()
            if not job_id:
                raise LimbeckError(ErrorCode.JOB_NOT_FOUND, "No job is selected in the list.")
            runtime.session().follow(job_id, fetch=context.scene.limbeck.import_when_done)
        except LimbeckError as error:
            return failed(self, error)
        runtime.preview.clear()
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


def _is_connected(operator: type[bpy.types.Operator]) -> bool:
    if not is_online(operator):
        return False
    if not runtime.session().is_connected:
        operator.poll_message_set(_NOT_CONNECTED)
    return runtime.session().is_connected


classes = (LIMBECK_OT_cancel_job, LIMBECK_OT_follow_job)
