"""What every operator does alike: report an error with its remedy, and let the timer work or wait for it."""

import bpy
from limbeck_protocol.errors import LimbeckError

from .. import runtime
from ..preferences import network_allowed

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


def unless(operator: type[bpy.types.Operator], reason: str) -> bool:
    """Return whether there is no `reason` against an operator; tell the greyed-out button if there is one."""
    if reason:
        operator.poll_message_set(reason)
    return not reason


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
