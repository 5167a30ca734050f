"""Find, start and stop the server; connect and let go."""

import bpy
from limbeck_protocol.errors import LimbeckError

from .. import preferences, runtime
from .common import blocking_property, failed, finish, is_online, unless

ELSEWHERE = "The chosen server is on another computer; it is started and stopped there"


class LIMBECK_OT_start_server(bpy.types.Operator):
    """Start a server on this computer, unless one runs already; it goes on when Blender is closed."""

    bl_idname = "limbeck.start_server"
    bl_label = "Start Server"
    bl_description = "Start a server on this computer, unless one runs already; it goes on when Blender is closed"

    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The server is to be on this computer, and is not starting already."""
        session = runtime.session()
        if preferences.current().server_mode != "LOCAL":
            return unless(cls, ELSEWHERE)
        return unless(cls, "The server is being stopped" if session.state == "stopping server" else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start and connect."""
        try:
            runtime.session().connect(start=True, resume=jobs_of(context.scene))
        except LimbeckError as error:
            return failed(self, error)
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_stop_server(bpy.types.Operator):
    """End the server on this computer; finished jobs stay in its store, and unfinished ones go on with the next."""

    bl_idname = "limbeck.stop_server"
    bl_label = "Stop Server"
    bl_description = "End the server on this computer, and free its memory; finished jobs stay in its store"

    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A server of this computer runs, and no job of ours is on its way."""
        session = runtime.session()
        if session.is_busy:
            return unless(cls, "A job is on its way; cancel it first")
        if preferences.current().server_mode != "LOCAL":
            return unless(cls, ELSEWHERE)
        return unless(cls, "" if session.has_own_server or session.is_connected else "No server is connected")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask it to stop; that takes a moment, which the timer follows."""
        try:
            runtime.session().stop_server()
        except LimbeckError as error:
            return failed(self, error)
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_refresh(bpy.types.Operator):
    """Look for the server, ask what it offers and which jobs it has, and take up what was interrupted."""

    bl_idname = "limbeck.refresh"
    bl_label = "Refresh"
    bl_description = "Look for the server, ask what it offers and which jobs it has, and take up an interrupted job"

    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Permission to talk to the server."""
        return is_online(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Connect, and take up the scene's last job if it still runs."""
        try:
            preferences.check_network_allowed()
            # A job that this file asked for may still run: Blender was closed, or crashed, and is back.
            runtime.session().connect(start=False, resume=jobs_of(context.scene))
        except LimbeckError as error:
            return failed(self, error)
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_disconnect(bpy.types.Operator):
    """Let go of the server; it goes on, and so do its jobs."""

    bl_idname = "limbeck.disconnect"
    bl_label = "Disconnect"
    bl_description = "Let go of the server; it goes on, and so do its jobs, which the next connection takes up again"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is something to let go of."""
        return unless(cls, "" if runtime.session().has_client else "No server is connected")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Close the connection."""
        runtime.session().give_up()
        return {"FINISHED"}


class LIMBECK_OT_use_local_server(bpy.types.Operator):
    """Talk to the server on this computer from now on."""

    bl_idname = "limbeck.use_local_server"
    bl_label = "Use This Computer"
    bl_description = "Talk to the server on this computer from now on; the other server's line stays in the preferences"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Another one is chosen."""
        is_local = preferences.current().server_mode == "LOCAL"
        return unless(cls, "The server on this computer is chosen already" if is_local else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Choose it; nothing is started yet."""
        preferences.change(server_mode="LOCAL")
        return {"FINISHED"}


def jobs_of(scene: bpy.types.Scene) -> dict[str, bool]:
    """Return the ids of the jobs that this scene has asked for, and whether their meshes are to be imported."""
    fields = scene.limbeck
    return {job.job_id: job.is_wanted or fields.import_when_done for job in fields.jobs}


classes = (
    LIMBECK_OT_start_server,
    LIMBECK_OT_stop_server,
    LIMBECK_OT_refresh,
    LIMBECK_OT_disconnect,
    LIMBECK_OT_use_local_server,
)
