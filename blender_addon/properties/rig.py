"""Fields of the rig and of the place: where the object grows and from where it is looked at."""

import bpy
from limbeck_protocol.recipe import Orbit

_ORBIT = Orbit()


def _is_empty_or_mesh(_properties, target: bpy.types.Object) -> bool:
    return target.type in {"EMPTY", "MESH"}


class RigFields:
    """Where the object grows, and from where it is looked at."""

    size: bpy.props.FloatProperty(
        name="Size",
        description="Largest dimension of the object, in scene units",
        default=1.0,
        min=1e-4,
        soft_max=100.0,
        subtype="DISTANCE",
    )
    target: bpy.props.PointerProperty(
        name="Place At",
        description="Empty or mesh that marks where the object grows, and how large. None: the 3D cursor and Size",
        type=bpy.types.Object,
        poll=_is_empty_or_mesh,
    )
    rig_source: bpy.props.EnumProperty(
        name="Rig",
        description="Where the object is looked at from while it grows",
        items=[
            ("ORBIT", "Orbit", "Random cameras all around the object"),
            ("CAMERAS", "Scene Cameras", "The cameras of a collection"),
            ("BOTH", "Orbit and Cameras", "Both, each as often as its weight says"),
        ],
        default="ORBIT",
    )
    cameras: bpy.props.PointerProperty(
        name="Cameras", description="Collection of cameras. None: every camera of the scene", type=bpy.types.Collection
    )
    orbit_azimuth_deg: bpy.props.FloatVectorProperty(
        name="Azimuth", description="Degrees from the front, to the left", size=2, default=_ORBIT.azimuth_deg
    )
    orbit_elevation_deg: bpy.props.FloatVectorProperty(
        name="Elevation", description="Degrees above the horizon", size=2, default=_ORBIT.elevation_deg
    )
    orbit_distance: bpy.props.FloatVectorProperty(
        name="Distance", description="From the object's centre, in sizes of the object", size=2, default=_ORBIT.distance
    )
