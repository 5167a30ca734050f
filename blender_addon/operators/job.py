"""Generate, cancel, import: one job from the recipe to the mesh in the scene. Works from scripts too."""

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .. import runtime
from ..preferences import check_network_allowed
from ..recipe.panel_form import asked_placement, recipe_from
from ..results.image_import import image_of, show
from .common import blocking_property, failed, finish, is_free, job_property, may_generate, timeout_property, unless
from .keywords import RecipeKeywords, given_fields


class LIMBECK_OT_generate(RecipeKeywords, bpy.types.Operator):
    """Hand the recipe to the server, starting one where none runs, and follow the job."""

    bl_idname = "limbeck.generate"
    bl_label = "Generate"
    bl_description = "Hand the recipe to the server, starting one where none runs, and follow the job"
    bl_options = {"REGISTER"}

    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No job on its way, and permission to talk to a server; for the panel's button also a prompt and a rig."""
        return may_generate(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit."""
        scene = context.scene
        try:
            check_network_allowed()
            with given_fields(self, scene.limbeck):
                placement, recipe = asked_placement(scene), recipe_from(scene, runtime.session().catalog)
            job_id = runtime.session().submit(recipe, fetch=scene.limbeck.import_when_done)
        except LimbeckError as error:
            return failed(self, error)
        runtime.preview.clear()
        runtime.remember(scene, job_id, recipe.prompt, placement)
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


class LIMBECK_OT_cancel(bpy.types.Operator):
    """End the job on the server; what it has made so far is lost."""

    bl_idname = "limbeck.cancel"
    bl_label = "Cancel"
    bl_description = "End the job on the server; what it has made so far is lost"

    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A job is on its way."""
        return unless(cls, "" if runtime.session().is_busy else "No job is on its way")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Cancel."""
        runtime.session().cancel()
        runtime.wanted.cancel_rest()
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_import_result(bpy.types.Operator):
    """Fetch a finished job's mesh or picture from the server and put it into the file; show a picture that is there."""

    bl_idname = "limbeck.import_result"
    bl_label = "Import"
    bl_description = "Fetch a finished job's mesh from the server and put it into the scene; a picture among the images"

    job_id: job_property()
    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No job on its way, and permission to talk to a server."""
        return is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Follow the job to its end, which may lie behind us, and import."""
        session = runtime.session()
        followed = session.followed.job_id if session.followed else ""
        try:
            job_id = self.job_id or followed or _newest_job(context.scene)
            known = image_of(job_id)
            if known is not None:
                self.report({"INFO"}, f"The picture is in the file already, as the image '{known.name}'")
                show(known)
                return {"FINISHED"}
            check_network_allowed()
            session.follow(job_id, fetch=True)
        except LimbeckError as error:
            return failed(self, error)
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


def _newest_job(scene: bpy.types.Scene) -> str:
    if not scene.limbeck.jobs:
        raise LimbeckError(ErrorCode.JOB_NOT_FOUND, "This scene has asked for no job yet.")
    return scene.limbeck.jobs[-1].job_id


classes = (LIMBECK_OT_generate, LIMBECK_OT_cancel, LIMBECK_OT_import_result)
