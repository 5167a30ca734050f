"""The panel's fields -> recipe and placement, and the reason why that cannot be done yet."""

from __future__ import annotations

import bpy
from limbeck_protocol.recipe import Orbit, Recipe

from .camera_rig import ORBIT_FIELDS, orbit_from, orbit_from_empty, rig_of
from .placement import Placement, placement_of
from .recipe_form import check_prompt, make_recipe


def placement_from(scene: bpy.types.Scene) -> Placement:
    """Return where the next result belongs: at the target, or at the 3D cursor with the panel's size.

    Raises:
        LimbeckError: the target has no extent.
    """
    fields = scene.limbeck
    if fields.target is not None:
        return placement_of(fields.target)
    return Placement(location=tuple(scene.cursor.location), size=fields.size)


def cameras_from(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Return the cameras of the chosen collection, or of the whole scene, by name."""
    owner = scene.limbeck.cameras or scene
    found = owner.all_objects if isinstance(owner, bpy.types.Collection) else owner.objects
    return sorted((camera for camera in found if camera.type == "CAMERA"), key=lambda camera: camera.name)


def has_own_orbit(target: bpy.types.Object | None) -> bool:
    """Return whether an Empty carries orbit ranges of its own."""
    return target is not None and target.type == "EMPTY" and any(f"limbeck_{name}" in target for name in ORBIT_FIELDS)


def orbit_from_fields(scene: bpy.types.Scene) -> Orbit:
    """Return the orbit of the target Empty if it has ranges of its own, else the panel's.

    Raises:
        LimbeckError: a range cannot be used.
    """
    fields = scene.limbeck
    if has_own_orbit(fields.target):
        return orbit_from_empty(fields.target)
    ranges = ("azimuth_deg", "elevation_deg", "distance")
    return orbit_from({name: list(getattr(fields, f"orbit_{name}")) for name in ranges})


def recipe_from(scene: bpy.types.Scene) -> Recipe:
    """Return the recipe that the panel describes.

    Raises:
        LimbeckError: a field cannot be used; the message says which and what to do.
    """
    fields = scene.limbeck
    check_prompt(fields.prompt)
    source = fields.rig_source
    rig = rig_of(
        scene,
        placement_from(scene),
        cameras_from(scene) if source in {"CAMERAS", "BOTH"} else None,
        orbit_from_fields(scene) if source in {"ORBIT", "BOTH"} else None,
    )
    return make_recipe(
        fields.prompt,
        rig,
        loss=fields.loss,
        prior=fields.prior,
        preset=fields.preset,
        seed=fields.seed,
        negative_prompt=fields.negative_prompt or None,
    )


def missing_field(scene: bpy.types.Scene) -> str:
    """Return what is still to be filled in, as a sentence for a greyed-out button; empty when nothing is."""
    fields = scene.limbeck
    if not fields.prompt.strip():
        return "Write a prompt first, for example: a yellow duck"
    if fields.rig_source == "CAMERAS" and not cameras_from(scene):
        return "Add a camera to the rig, or choose an orbit"
    return ""
