"""Edit a result: another prompt for what a finished job has made; only what the new prompt changes changes."""

import re

import bpy
from limbeck_protocol.editing import EDIT_LOSS, check_start, edit_recipe
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.messages import JobInfo
from limbeck_protocol.recipe import Recipe

from .. import job_list, runtime
from ..preferences import check_network_allowed
from ..recipe.recipe_form import bad_field, check_prompt
from ..results.recipe_on_object import JOB_KEY, is_result
from ..results.variants import beside
from .common import blocking_property, failed, finish, is_free, timeout_property, unless
from .results import NO_RESULT

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_ABOUT_EDITS = {ErrorCode.INVALID_FIELD, ErrorCode.JOB_NOT_FOUND, ErrorCode.BAD_STATE}
_FORGOTTEN = "This object does not say which job made it."
_NOT_THERE = "The connected server does not have the job that made this."
_RERUN = "Press Re-run, then edit that."


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
            job = _job_of(context.active_object)
            check_start(job)
        except LimbeckError as error:
            return failed(self, for_artists(error))
        self.prompt = self.prompt or job.recipe.prompt
        return context.window_manager.invoke_props_dialog(self, width=360)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit."""
        thing = context.active_object
        try:
            check_network_allowed()
            recipe, placement = changed(_job_of(thing), self.prompt), beside(thing)
            job_id = runtime.session().submit(recipe, fetch=True)
        except LimbeckError as error:
            return failed(self, for_artists(error))
        runtime.preview.clear()
        runtime.remember(context.scene, job_id, recipe.prompt, placement)
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


def changed(job: JobInfo, prompt: str) -> Recipe:
    """Return the recipe of an edit, whose prompt must say something else than the job's.

    Raises:
        LimbeckError: the prompt is empty, too long or the job's own, or the job cannot be started from.
    """
    check_prompt(prompt)
    if prompt.split() == job.recipe.prompt.split():
        label = f"Change the prompt: write what '{job.recipe.prompt}' shall become."
        raise bad_field("prompt", "The prompt is the result's own, so there is nothing to edit.", label)
    return edit_recipe(job, prompt.strip())


def for_artists(error: LimbeckError) -> LimbeckError:
    """Return an error about an edit in the words of the panel's buttons.

    None of the panel's fields would mend it, nor would trying again: that is about the job last followed.
    """
    sentence, label = error.message, error.remedy.label
    if error.code is ErrorCode.ARTIFACT_NOT_FOUND:
        sentence, label = "This result was made by an older Limbeck.", _RERUN
    elif error.code not in _ABOUT_EDITS:
        return error
    return LimbeckError(error.code, sentence, _remedy(label))


def _reason_against(thing: bpy.types.Object) -> str:
    """Return why a result cannot be edited now; empty when it can, or when that takes a question to the server."""
    session, job_id = runtime.session(), job_id_of(thing)
    if not session.is_connected:
        return "No server is connected; press Refresh"
    if session.catalog is not None and all(loss.name != EDIT_LOSS for loss in session.catalog.losses):
        return "This server cannot edit yet; update it"
    if not job_id:
        return f"{_FORGOTTEN} {_RERUN}"
    known = job_list.job_by_id(session, job_id)
    if known is None:
        return f"{_NOT_THERE} {_RERUN}" if job_id in session.older_jobs else ""
    try:
        check_start(known)
    except LimbeckError as error:
        return str(for_artists(error))
    return ""


def _job_of(thing: bpy.types.Object) -> JobInfo:
    """Return what the server knows of the job that made a result; one that is not listed is asked for.

    Raises:
        LimbeckError: JOB_NOT_FOUND: the server does not have it; or it does not answer.
    """
    if not job_id_of(thing):
        raise LimbeckError(ErrorCode.JOB_NOT_FOUND, _FORGOTTEN, _remedy(_RERUN))
    try:
        return job_list.look_up(runtime.session(), job_id_of(thing))
    except LimbeckError as error:
        if error.code is not ErrorCode.JOB_NOT_FOUND:
            raise
        raise LimbeckError(ErrorCode.JOB_NOT_FOUND, _NOT_THERE, _remedy(_RERUN)) from error


def _remedy(label: str) -> Remedy:
    return Remedy(action=RemedyAction.EDIT_FIELD, label=label)


def job_id_of(thing: bpy.types.Object) -> str:
    """Return the id of the job that made a result; empty when the object does not say, or says nonsense."""
    job_id = thing.get(JOB_KEY)
    return job_id if isinstance(job_id, str) and _JOB_ID.fullmatch(job_id) else ""


classes = (LIMBECK_OT_edit_result,)
