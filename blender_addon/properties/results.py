"""Fields of the mesh, its import, and the jobs that this file asked for."""

import bpy


class LIMBECK_submitted_job(bpy.types.PropertyGroup):
    """A job that this file asked for, and where its result belongs."""

    job_id: bpy.props.StringProperty()
    prompt: bpy.props.StringProperty()
    location: bpy.props.FloatVectorProperty(size=3)
    rotation: bpy.props.FloatVectorProperty(size=4, default=(1.0, 0.0, 0.0, 0.0))
    size: bpy.props.FloatProperty(default=1.0)


class ResultFields:
    """What becomes of a finished job."""

    import_when_done: bpy.props.BoolProperty(
        name="Import When Done", description="Put the mesh into the scene as soon as it is there", default=True
    )
    jobs: bpy.props.CollectionProperty(type=LIMBECK_submitted_job)
