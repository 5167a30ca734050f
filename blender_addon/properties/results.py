"""Fields of the mesh, its import, and the jobs that this file asked for."""

import bpy

from ..results.variants import LIMIT_VARIANTS


class LIMBECK_submitted_job(bpy.types.PropertyGroup):
    """A job that this file asked for, and where its result belongs."""

    job_id: bpy.props.StringProperty(description="The job's id on the server")
    prompt: bpy.props.StringProperty(description="What was asked for")
    location: bpy.props.FloatVectorProperty(description="Where the result belongs", size=3)
    rotation: bpy.props.FloatVectorProperty(
        description="How the result is turned, as a quaternion", size=4, default=(1.0, 0.0, 0.0, 0.0)
    )
    size: bpy.props.FloatProperty(description="The result's largest dimension, in scene units", default=1.0)
    is_wanted: bpy.props.BoolProperty(description="Import it when it is done, though another job is followed")
    trouble: bpy.props.StringProperty(description="Why it was wanted and did not arrive")


class ResultFields:
    """What becomes of a finished job."""

    import_when_done: bpy.props.BoolProperty(
        name="Import When Done", description="Put the mesh into the scene as soon as it is there", default=True
    )
    mark_as_asset: bpy.props.BoolProperty(
        name="Mark as Asset",
        description="Make each imported mesh an asset: last preview as thumbnail, tags from the prompt",
        default=False,
    )
    variant_kind: bpy.props.EnumProperty(
        name="Vary",
        description="What the variants differ in",
        items=[
            ("SEEDS", "Seeds", "The same recipe with one seed after another"),
            ("LOSSES", "Losses", "The same recipe and seed under several losses"),
        ],
        default="SEEDS",
    )
    variant_count: bpy.props.IntProperty(
        name="Count", description="How many seeds, beginning with the panel's", default=4, min=1, max=LIMIT_VARIANTS
    )
    variant_losses: bpy.props.StringProperty(
        name="Losses", description="Names of losses with commas between them", default="sds, nfsd"
    )
    jobs: bpy.props.CollectionProperty(
        name="Jobs", description="The jobs that this scene has asked for, oldest first", type=LIMBECK_submitted_job
    )
