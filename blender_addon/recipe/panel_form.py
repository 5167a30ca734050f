"""The panel's fields -> recipe and placement, and the reason why that cannot be done yet."""

from __future__ import annotations

import bpy
from limbeck_protocol.messages import Catalog
from limbeck_protocol.recipe import Orbit, Recipe, Rig

from ..rig.placement import Placement
from ..rig.rig_form import cameras_from, orbit_from_fields, placement_from, rig_from, rig_problem
from .picture_form import image_from, makes_image, preset_of
from .recipe_form import check_prompt, make_recipe
from .settings_form import settings_from, settings_problem

__all__ = ["asked_placement", "cameras_from", "missing_field", "orbit_from_fields", "placement_from", "recipe_from"]


def asked_placement(scene: bpy.types.Scene) -> Placement:
    """Return where the result of what the panel describes belongs; a picture belongs nowhere in the scene.

    Raises:
        LimbeckError: the object that marks the place has no extent, or was deleted.
    """
    return Placement() if makes_image(scene.limbeck) else placement_from(scene)


def recipe_from(scene: bpy.types.Scene, catalog: Catalog | None = None) -> Recipe:
    """Return the recipe that the panel describes; with a catalog, only with those loss parameters that it lists.

    Raises:
        LimbeckError: a field cannot be used; the message says which and what to do.
    """
    fields = scene.limbeck
    check_prompt(fields.prompt)
    return make_recipe(
        fields.prompt,
        Rig(orbit=Orbit()) if makes_image(fields) else rig_from(scene),
        loss=fields.loss,
        prior=fields.prior,
        preset=preset_of(fields),
        seed=fields.seed,
        negative_prompt=fields.negative_prompt or None,
        settings=settings_from(fields, catalog),
        image=image_from(fields),
    )


def missing_field(scene: bpy.types.Scene, catalog: Catalog | None = None) -> str:
    """Return what is still to be filled in or put right, for a greyed-out button; empty when nothing is."""
    fields = scene.limbeck
    if not fields.prompt.strip():
        return "Write a prompt first, for example: a yellow duck"
    about_rig = "" if makes_image(fields) else rig_problem(scene)
    return about_rig or settings_problem(fields, catalog)
