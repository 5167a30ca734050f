"""What the panel asks for, on the scene: saved with the file, undone with it. Results keep their own recipe."""

import bpy

from . import jobs, rig
from .guidance import GuidanceFields, LIMBECK_loss_parameter
from .overrides import OverrideFields
from .picture import PictureFields
from .preview import PreviewFields
from .results import LIMBECK_submitted_job, ResultFields
from .rig import RigFields


class LIMBECK_properties(
    GuidanceFields, PictureFields, OverrideFields, RigFields, ResultFields, PreviewFields, bpy.types.PropertyGroup
):
    """The panel's fields, as `scene.limbeck`; each file of this folder holds those of one part of the panel."""


classes = (*jobs.classes, LIMBECK_loss_parameter, LIMBECK_submitted_job, LIMBECK_properties)


def register() -> None:
    """Put the fields on every scene."""
    bpy.types.Scene.limbeck = bpy.props.PointerProperty(type=LIMBECK_properties)
    jobs.register()
    rig.register()


def unregister() -> None:
    """Take them away again; the values stay in the files."""
    rig.unregister()
    jobs.unregister()
    del bpy.types.Scene.limbeck
