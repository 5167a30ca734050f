"""Fields of the rig and of the place: where the object grows and from where it is looked at."""

import bpy
from limbeck_protocol.recipe import MAX_CAMERAS, Orbit

from ..rig import frusta_overlay
from ..rig.camera_pose import MAX_SUFFIX_CHARACTERS
from ..rig.orbit_box import RANGE_LIMITS

_ORBIT = Orbit()


def _is_empty_or_mesh(_properties, target: bpy.types.Object) -> bool:
    return target.type in {"EMPTY", "MESH"}


def _range(name: str, title: str) -> object:
    limits = RANGE_LIMITS[name]
    return bpy.props.FloatVectorProperty(
        name=title,
        description=limits["description"],
        size=2,
        default=getattr(_ORBIT, name),
        min=limits["min"],
        max=limits["max"],
        soft_min=limits.get("soft_min", limits["min"]),
        soft_max=limits.get("soft_max", limits["max"]),
        step=100 * limits["step"],
        precision=limits["precision"],
    )


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
            ("CAMERAS", "Scene Cameras", "Cameras of the scene, each as often as its weight says"),
            ("BOTH", "Orbit and Cameras", "Both, each as often as its weight says"),
        ],
        default="ORBIT",
    )
    camera_source: bpy.props.EnumProperty(
        name="Cameras",
        description="Which cameras of the scene look at the object",
        items=[
            ("COLLECTION", "Collection", "The cameras of a collection, or every camera of the scene"),
            ("SELECTED", "Selected", "The cameras that are selected when Generate is pressed"),
            ("PATH", "Camera Path", "The active camera along its animation, timeline markers included"),
        ],
        default="COLLECTION",
    )
    cameras: bpy.props.PointerProperty(
        name="Collection",
        description="Collection of cameras. None: every camera of the scene",
        type=bpy.types.Collection,
    )
    path_samples: bpy.props.IntProperty(
        name="Views",
        description="How many views are taken from the path, evenly from the scene's first frame to its last",
        default=24,
        min=1,
        soft_max=100,
        max=MAX_CAMERAS,
    )
    orbit_azimuth_deg: _range("azimuth_deg", "Azimuth")
    orbit_elevation_deg: _range("elevation_deg", "Elevation")
    orbit_distance: _range("distance", "Distance")
    orbit_field_of_view_deg: _range("field_of_view_deg", "View Angle")
    orbit_weight: bpy.props.FloatProperty(
        name="Orbit Weight",
        description="How often the orbit is drawn, against the weights of all cameras added up; a path counts as one",
        default=1.0,
        min=0.0,
        soft_max=10.0,
        max=1e6,
    )


def _weight(camera: bpy.types.Object) -> float:
    value = camera.get("limbeck_weight", 1.0)
    return float(value) if isinstance(value, int | float) else 1.0


def _set_weight(camera: bpy.types.Object, value: float) -> None:
    camera["limbeck_weight"] = value
    camera.id_properties_ui("limbeck_weight").update(
        min=0.0, max=1e6, soft_max=10.0, default=1.0, description="How often Limbeck draws this camera"
    )


def _suffix(camera: bpy.types.Object) -> str:
    value = camera.get("limbeck_prompt", "")
    return value if isinstance(value, str) else ""


def _set_suffix(camera: bpy.types.Object, value: str) -> None:
    camera["limbeck_prompt"] = value


def _set_shown(_manager: bpy.types.WindowManager, value: bool) -> None:
    if value:
        frusta_overlay.show()
    else:
        frusta_overlay.hide()


def register() -> None:
    """Let panels edit a camera's custom properties as fields, and switch the overlay.

    The values are custom properties of the camera object, so they stay in the file without the add-on; a camera has
    none until somebody changes one. The overlay's switch belongs to the program: no file holds it, no undo takes it
    back.
    """
    bpy.types.Object.limbeck_view_weight = bpy.props.FloatProperty(
        name="Weight",
        description="How often this camera is drawn, against the other weights",
        min=0.0,
        soft_max=10.0,
        max=1e6,
        options=set(),
        get=_weight,
        set=_set_weight,
    )
    bpy.types.Object.limbeck_view_prompt = bpy.props.StringProperty(
        name="Prompt",
        description="Appended to the prompt for this camera, in place of words such as 'front view'",
        maxlen=MAX_SUFFIX_CHARACTERS,
        options=set(),
        get=_suffix,
        set=_set_suffix,
    )
    bpy.types.WindowManager.limbeck_show_rig = bpy.props.BoolProperty(
        name="Show in Viewport",
        description="Draw the object's box and front, the orbit, the cameras' squares and the view being optimised",
        options=set(),
        get=lambda _manager: frusta_overlay.is_shown(),
        set=_set_shown,
    )


def unregister() -> None:
    """Take them away again, and the overlay with them; the cameras keep their values."""
    frusta_overlay.hide()
    del bpy.types.WindowManager.limbeck_show_rig
    del bpy.types.Object.limbeck_view_prompt
    del bpy.types.Object.limbeck_view_weight
