"""What the panel asks for, on the scene: saved with the file, undone with it. Results keep their own recipe."""

import bpy
from limbeck_protocol.recipe import MAX_PROMPT_CHARACTERS, Orbit

from . import runtime

_ORBIT = Orbit()


def _suggest(kind: str):
    """Return a search function over the catalog's names of one kind; before a server answers, over the usual ones."""
    usual = {"losses": ["sds", "nfsd"], "priors": ["exact", "stable-diffusion"], "presets": ["quick", "standard"]}

    def search(_properties, _context, text: str) -> list[str]:
        catalog = runtime.session().catalog
        names = [entry.name for entry in getattr(catalog, kind)] if catalog else usual[kind]
        return sorted({name for name in names if text.lower() in name.lower()})

    return search


def _is_empty_or_mesh(_properties, target: bpy.types.Object) -> bool:
    return target.type in {"EMPTY", "MESH"}


class LIMBECK_submitted_job(bpy.types.PropertyGroup):
    """A job that this file asked for, and where its result belongs."""

    job_id: bpy.props.StringProperty()
    prompt: bpy.props.StringProperty()
    location: bpy.props.FloatVectorProperty(size=3)
    rotation: bpy.props.FloatVectorProperty(size=4, default=(1.0, 0.0, 0.0, 0.0))
    size: bpy.props.FloatProperty(default=1.0)


class LIMBECK_properties(bpy.types.PropertyGroup):
    """The panel's fields."""

    prompt: bpy.props.StringProperty(
        name="Prompt", description="What to make, for example: a yellow duck", maxlen=MAX_PROMPT_CHARACTERS
    )
    negative_prompt: bpy.props.StringProperty(
        name="Avoid", description="What to keep away from. Empty: the prior decides", maxlen=MAX_PROMPT_CHARACTERS
    )
    loss: bpy.props.StringProperty(
        name="Loss",
        description="Distillation loss, by its name",
        default="sds",
        search=_suggest("losses"),
        search_options={"SUGGESTION"},
    )
    preset: bpy.props.StringProperty(
        name="Preset",
        description="Decides everything that is not set here",
        default="standard",
        search=_suggest("presets"),
        search_options={"SUGGESTION"},
    )
    prior: bpy.props.StringProperty(
        name="Prior",
        description="Diffusion model: a name, a hub id such as owner/name, or a folder on the server",
        default="exact",
        search=_suggest("priors"),
        search_options={"SUGGESTION"},
    )
    seed: bpy.props.IntProperty(name="Seed", description="Same recipe, same seed, same result", default=0, min=0)
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
    import_when_done: bpy.props.BoolProperty(
        name="Import When Done", description="Put the mesh into the scene as soon as it is there", default=True
    )
    jobs: bpy.props.CollectionProperty(type=LIMBECK_submitted_job)


classes = (LIMBECK_submitted_job, LIMBECK_properties)


def register() -> None:
    """Put the fields on every scene."""
    bpy.types.Scene.limbeck = bpy.props.PointerProperty(type=LIMBECK_properties)


def unregister() -> None:
    """Take them away again; the values stay in the files."""
    del bpy.types.Scene.limbeck
