"""Showing a picture that a job has made."""

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction

from .. import runtime
from ..previews import image_editor_preview
from ..results.image_import import image_of, show
from .common import failed, job_property
from .preview import image_editor


class LIMBECK_OT_show_image(bpy.types.Operator):
    """Show a job's picture in an Image Editor, splitting this area if there is none."""

    bl_idname = "limbeck.show_image"
    bl_label = "Show Image"
    bl_description = "Show this job's picture in an Image Editor, splitting this area if there is none"

    job_id: job_property()

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show it."""
        job_id = self.job_id or (runtime.session().followed.job_id if runtime.session().followed else "")
        image = image_of(job_id)
        if image is None:
            remedy = Remedy(action=RemedyAction.EDIT_FIELD, label="Import it from the list of jobs.")
            return failed(self, LimbeckError(ErrorCode.JOB_NOT_FOUND, "This picture is not in the file.", remedy))
        if not show(image):
            area = image_editor(context)
            if area is not None:
                area.spaces.active.image = image
                image_editor_preview.fit_soon(image)
        return {"FINISHED"}


classes = (LIMBECK_OT_show_image,)
