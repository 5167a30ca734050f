"""Edit a result: another prompt for what a finished job has made; only what the new prompt changes changes."""

import bpy
from limbeck_protocol.editing import EDIT_LOSS, check_start, edit_recipe
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .. import job_list, runtime
from ..preferences import check_network_allowed
from ..results.recipe_on_object import JOB_KEY, is_result
from .common import blocking_property, failed, finish, is_free, timeout_property, unless
from .results import NO_RESULT, beside


class LIMBECK_OT_edit_result(bpy.types.Operator):
    """Hand in an edit of the active result: its job's object, turned into what a new prompt says."""

    bl_idname = "limbeck.edit_result"
    bl_label = "Edit"
    bl_description = "Turn this result into what another prompt says, and keep the rest; the new mesh lands beside it"

    prompt: bpy.props.StringProperty(
        name="Prompt", description="What it shall be, such as: a blue mug", options={"SKIP_SAVE"}
    )
    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A result is active, and its job can be started from on the connected server, where none is on its way."""
        if not unless(cls, "" if is_result(context.active_object) else NO_RESULT) or not is_free(cls):
            return False
        return unless(cls, _reason_against(context.active_object))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the prompt, beginning with the result's own."""
        try:
            self.prompt = self.prompt or _job_of(context.active_object).recipe.prompt
        except LimbeckError as error:
            return failed(self, error)
        return context.window_manager.invoke_props_dialog(self, width=360)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit."""
        thing = context.active_object
        try:
            check_network_allowed()
            recipe, placement = edit_recipe(_job_of(thing), self.prompt.strip()), beside(thing)
            job_id = runtime.session().submit(recipe, fetch=True)
        except LimbeckError as error:
            return failed(self, error)
        runtime.preview.clear()
        runtime.remember(context.scene, job_id, recipe.prompt, placement)
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


def _reason_against(thing: bpy.types.Object) -> str:
    """Return why a result cannot be edited now; empty when it can."""
    session = runtime.session()
    if not session.is_connected:
        return "No server is connected; press Refresh"
    if session.catalog is not None and all(loss.name != EDIT_LOSS for loss in session.catalog.losses):
        return "This server cannot edit yet; update it"
    try:
        check_start(_job_of(thing))
    except LimbeckError as error:
        return error.message
    return ""


def _job_of(thing: bpy.types.Object):
    """Return what the server's list says of the job that made a result.

    Raises:
        LimbeckError: JOB_NOT_FOUND: it is not on the list.
    """
    job = job_list.job_by_id(runtime.session(), str(thing.get(JOB_KEY, "")))
    if job is None:
        sentence = "The connected server does not list the job that made this; press Refresh, or re-run it there first"
        raise LimbeckError(ErrorCode.JOB_NOT_FOUND, sentence)
    return job


classes = (LIMBECK_OT_edit_result,)
