"""What every operator does alike: report an error with its remedy, and let the timer work or wait for it."""

import bpy
from limbeck_protocol.errors import LimbeckError

from .. import runtime
from ..preferences import network_allowed
from ..recipe.panel_form import missing_field

OFFLINE = "Switch on Allow Online Access in Preferences > System: the chosen server is on another computer"


def failed(operator: bpy.types.Operator, error: LimbeckError) -> set[str]:
    """Show an error in the panel and in the status bar; in the background Blender raises it to the script."""
    runtime.session().error = error
    operator.report({"ERROR"}, str(error))
    return {"CANCELLED"}


def finish(operator: bpy.types.Operator, *, blocking: bool, timeout_s: float = 60.0) -> set[str]:
    """Let the timer do the rest, or wait for it."""
    if not blocking:
        runtime.wake()
        return {"FINISHED"}
    try:
        runtime.wait(timeout_s)
    except LimbeckError as error:
        return failed(operator, error)
    return {"FINISHED"}


def is_online(operator: type[bpy.types.Operator]) -> bool:
    """Return whether we may talk to the chosen server; tell the greyed-out button why not."""
    return unless(operator, "" if network_allowed() else OFFLINE)


def is_free(operator: type[bpy.types.Operator]) -> bool:
    """Return whether another job can be followed now; tell the greyed-out button why not."""
    return is_online(operator) and unless(operator, "A job is on its way already" if runtime.session().is_busy else "")


def may_generate(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    """Return whether a job can be handed in now; for the panel's button a prompt and a rig are needed too."""
    if not is_free(operator):
        return False
    catalog = runtime.session().catalog
    return unless(operator, missing_field(context.scene, catalog) if is_in_sidebar(context) else "")


def is_in_sidebar(context: bpy.types.Context) -> bool:
    """Return whether a button of the sidebar is meant, which can be grey; a script may give what the panel lacks."""
    # Not the region: a button's poll is asked as if the view's main region were meant (INVOKE_REGION_WIN).
    return context.area is not None and context.area.type == "VIEW_3D"


def unless(operator: type[bpy.types.Operator], reason: str) -> bool:
    """Return whether there is no `reason` against an operator; tell the greyed-out button if there is one."""
    if reason:
        operator.poll_message_set(reason)
    return not reason


def job_property() -> object:
    """Return the property that names the job an operator is about."""
    return bpy.props.StringProperty(
        name="Job", description="Empty: the job last followed", options={"SKIP_SAVE", "HIDDEN"}
    )


def blocking_property() -> object:
    """Return the property that makes an operator wait for what it began."""
    return bpy.props.BoolProperty(
        name="Blocking",
        description="Return only when all is done; for scripts, since Blender stands still meanwhile",
        options={"SKIP_SAVE", "HIDDEN"},
    )


def timeout_property() -> object:
    """Return the property that says how long a blocking operator waits."""
    return bpy.props.FloatProperty(
        name="Timeout",
        description="Seconds that a blocking call waits; the job goes on afterwards",
        default=3600.0,
        min=0.0,
        options={"SKIP_SAVE", "HIDDEN"},
    )
