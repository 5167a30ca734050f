"""What every operator does alike: report an error with its remedy, and let the timer work or wait for it."""

import bpy
from limbeck_protocol.errors import LimbeckError

from .. import runtime
from ..preferences import network_allowed

OFFLINE = "Switch on Allow Online Access in Preferences > System: talking to a server counts, even to a local one"


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
    """Return whether we may talk to a server; tell the greyed-out button why not."""
    if network_allowed():
        return True
    operator.poll_message_set(OFFLINE)
    return False
