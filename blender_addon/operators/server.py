"""Find, start and stop the server."""

import bpy
from limbeck_protocol.errors import LimbeckError

from .. import runtime
from ..preferences import check_network_allowed
from .common import failed, finish, is_online


class LIMBECK_OT_start_server(bpy.types.Operator):
    """Start a server on this computer, unless one runs already; it goes on when Blender is closed."""

    bl_idname = "limbeck.start_server"
    bl_label = "Start Server"
    bl_description = "Start a server on this computer, unless one runs already; it goes on when Blender is closed"

    blocking: bpy.props.BoolProperty(name="Blocking", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Permission to talk to a server."""
        return is_online(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start and connect."""
        try:
            check_network_allowed()
        except LimbeckError as error:
            return failed(self, error)
        runtime.session().connect(start=True)
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_stop_server(bpy.types.Operator):
    """End the server that this Blender has started; finished jobs stay in its store."""

    bl_idname = "limbeck.stop_server"
    bl_label = "Stop Server"
    bl_description = "End the server that this Blender has started; finished jobs stay in its store"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A server that we started runs, and no job of ours is on its way."""
        if not runtime.session().has_own_server:
            cls.poll_message_set("This Blender has started no server")
        elif runtime.session().is_busy:
            cls.poll_message_set("A job is on its way; cancel it first")
        return runtime.session().has_own_server and not runtime.session().is_busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop."""
        runtime.session().stop_server()
        return {"FINISHED"}


class LIMBECK_OT_refresh(bpy.types.Operator):
    """Look for a server and ask what it offers and which jobs it has."""

    bl_idname = "limbeck.refresh"
    bl_label = "Refresh"
    bl_description = "Look for a server and ask what it offers and which jobs it has"

    blocking: bpy.props.BoolProperty(name="Blocking", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Permission to talk to a server."""
        return is_online(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Connect, and take up the scene's last job if it still runs."""
        try:
            check_network_allowed()
        except LimbeckError as error:
            return failed(self, error)
        # A job that this file asked for may still run: Blender was closed, or crashed, and is back.
        runtime.session().connect(start=False, resume=[job.job_id for job in context.scene.limbeck.jobs])
        return finish(self, blocking=self.blocking)


classes = (LIMBECK_OT_start_server, LIMBECK_OT_stop_server, LIMBECK_OT_refresh)
