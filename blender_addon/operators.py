"""The panel's buttons. Each does one thing, works from scripts too, and reports an error with its remedy."""

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError

from . import runtime
from .panel_form import missing_field, placement_from, recipe_from
from .preferences import check_network_allowed, network_allowed

_OFFLINE = "Switch on Allow Online Access in Preferences > System: talking to a server counts, even to a local one"


def _failed(operator: bpy.types.Operator, error: LimbeckError) -> set[str]:
    """Show an error in the panel and in the status bar; in the background Blender raises it to the script."""
    runtime.session().error = error
    operator.report({"ERROR"}, str(error))
    return {"CANCELLED"}


def _finish(operator: bpy.types.Operator, *, blocking: bool, timeout_s: float = 60.0) -> set[str]:
    """Let the timer do the rest, or wait for it."""
    if not blocking:
        runtime.wake()
        return {"FINISHED"}
    try:
        runtime.wait(timeout_s)
    except LimbeckError as error:
        return _failed(operator, error)
    return {"FINISHED"}


def _is_online(operator: type[bpy.types.Operator]) -> bool:
    if network_allowed():
        return True
    operator.poll_message_set(_OFFLINE)
    return False


class LIMBECK_OT_generate(bpy.types.Operator):
    """Hand the recipe to the server, starting one where none runs, and follow the job."""

    bl_idname = "limbeck.generate"
    bl_label = "Generate"
    bl_description = "Hand the recipe to the server, starting one where none runs, and follow the job"
    bl_options = {"REGISTER"}

    blocking: bpy.props.BoolProperty(
        name="Blocking",
        description="Return when the mesh is in the scene; for scripts",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    timeout_s: bpy.props.FloatProperty(name="Timeout", default=3600.0, min=0.0, options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A prompt, a rig, no job on its way, and permission to talk to a server."""
        if not _is_online(cls):
            return False
        reason = "A job is on its way already" if runtime.session().is_busy else missing_field(context.scene)
        if reason:
            cls.poll_message_set(reason)
        return not reason

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit."""
        scene = context.scene
        try:
            check_network_allowed()
            placement, recipe = placement_from(scene), recipe_from(scene)
            job_id = runtime.session().submit(recipe, fetch=scene.limbeck.import_when_done)
        except LimbeckError as error:
            return _failed(self, error)
        runtime.preview.clear()
        runtime.remember(scene, job_id, recipe.prompt, placement)
        return _finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


class LIMBECK_OT_cancel(bpy.types.Operator):
    """End the job on the server; what it has made so far is lost."""

    bl_idname = "limbeck.cancel"
    bl_label = "Cancel"
    bl_description = "End the job on the server; what it has made so far is lost"

    blocking: bpy.props.BoolProperty(name="Blocking", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A job is on its way."""
        if not runtime.session().is_busy:
            cls.poll_message_set("No job is on its way")
        return runtime.session().is_busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Cancel."""
        runtime.session().cancel()
        return _finish(self, blocking=self.blocking)


class LIMBECK_OT_import_result(bpy.types.Operator):
    """Fetch a finished job's mesh from the server and put it into the scene."""

    bl_idname = "limbeck.import_result"
    bl_label = "Import"
    bl_description = "Fetch a finished job's mesh from the server and put it into the scene"

    job_id: bpy.props.StringProperty(
        name="Job", description="Empty: the job last followed", options={"SKIP_SAVE", "HIDDEN"}
    )
    blocking: bpy.props.BoolProperty(name="Blocking", options={"SKIP_SAVE", "HIDDEN"})
    timeout_s: bpy.props.FloatProperty(name="Timeout", default=3600.0, min=0.0, options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No job on its way, and permission to talk to a server."""
        if not _is_online(cls):
            return False
        if runtime.session().is_busy:
            cls.poll_message_set("A job is on its way already")
        return not runtime.session().is_busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Follow the job to its end, which may lie behind us, and import."""
        session = runtime.session()
        followed = session.followed.job_id if session.followed else ""
        try:
            check_network_allowed()
            session.follow(self.job_id or followed or _newest_job(context.scene), fetch=True)
        except LimbeckError as error:
            return _failed(self, error)
        return _finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


def _newest_job(scene: bpy.types.Scene) -> str:
    if not scene.limbeck.jobs:
        raise LimbeckError(ErrorCode.JOB_NOT_FOUND, "This scene has asked for no job yet.")
    return scene.limbeck.jobs[-1].job_id


class LIMBECK_OT_start_server(bpy.types.Operator):
    """Start a server on this computer, unless one runs already; it goes on when Blender is closed."""

    bl_idname = "limbeck.start_server"
    bl_label = "Start Server"
    bl_description = "Start a server on this computer, unless one runs already; it goes on when Blender is closed"

    blocking: bpy.props.BoolProperty(name="Blocking", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Permission to talk to a server."""
        return _is_online(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start and connect."""
        try:
            check_network_allowed()
        except LimbeckError as error:
            return _failed(self, error)
        runtime.session().connect(start=True)
        return _finish(self, blocking=self.blocking)


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
        return _is_online(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Connect, and take up the scene's last job if it still runs."""
        try:
            check_network_allowed()
        except LimbeckError as error:
            return _failed(self, error)
        # A job that this file asked for may still run: Blender was closed, or crashed, and is back.
        runtime.session().connect(start=False, resume=[job.job_id for job in context.scene.limbeck.jobs])
        return _finish(self, blocking=self.blocking)


classes = (
    LIMBECK_OT_generate,
    LIMBECK_OT_cancel,
    LIMBECK_OT_import_result,
    LIMBECK_OT_start_server,
    LIMBECK_OT_stop_server,
    LIMBECK_OT_refresh,
)
