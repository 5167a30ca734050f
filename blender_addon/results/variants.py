"""Variants: one recipe with several seeds or several losses, and the row in which their results will stand."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import msgspec
from limbeck_protocol.editing import EDIT_LOSS
from limbeck_protocol.recipe import Recipe, check_recipe
from mathutils import Quaternion, Vector

from ..recipe.catalog_view import NEEDS_RESULT
from ..recipe.recipe_form import bad_field
from ..rig.placement import Placement
from .recipe_on_object import size_of

LIMIT_VARIANTS = 32
SPACING = 1.25
"""Distance from centre to centre, in sizes of the object."""


def seed_variants(recipe: Recipe, count: int) -> list[Recipe]:
    """Return the recipe with `count` seeds, its own first.

    Raises:
        LimbeckError: the count is not in 1..32.
    """
    if not 1 <= count <= LIMIT_VARIANTS:
        raise bad_field("count", f"{count} variants were asked for; 1 to {LIMIT_VARIANTS} can be made.", "Change it.")
    return [msgspec.structs.replace(recipe, seed=recipe.seed + number) for number in range(count)]


def loss_variants(recipe: Recipe, losses: Sequence[str]) -> list[Recipe]:
    """Return the recipe with each of the losses. Parameters of the recipe's own loss are not handed to another.

    Raises:
        LimbeckError: there is no loss, one is named twice, a name cannot be one, or it is a loss that edits.
    """
    names = [name.strip() for name in losses if name.strip()]
    if not names or len(set(names)) < len(names) or len(names) > LIMIT_VARIANTS:
        sentence = f"The losses are {', '.join(names) or 'none'}; 1 to {LIMIT_VARIANTS} different ones were expected."
        raise bad_field("losses", sentence, "Name losses with commas between them, such as sds, nfsd.")
    if EDIT_LOSS in names:
        raise bad_field("losses", NEEDS_RESULT, "Leave it out here.")
    plain = msgspec.structs.replace(recipe.settings, loss_parameters=msgspec.UNSET)
    variants = [
        recipe if name == recipe.loss else msgspec.structs.replace(recipe, loss=name, settings=plain) for name in names
    ]
    for variant in variants:
        check_recipe(variant)
    return variants


def in_a_row(placement: Placement, count: int) -> list[Placement]:
    """Return `count` placements side by side along the object's own X axis, the first where `placement` is."""
    step = Quaternion(placement.rotation) @ Vector((SPACING * placement.size, 0.0, 0.0))
    return [
        Placement(tuple(Vector(placement.location) + number * step), placement.rotation, placement.size)
        for number in range(count)
    ]


def beside(thing: bpy.types.Object) -> Placement:
    """Return the place next to a result, along its own +X."""
    location, rotation, _ = thing.matrix_world.decompose()
    size = size_of(thing)
    step = rotation @ Vector((SPACING * size, 0.0, 0.0))
    return Placement(tuple(location + step), tuple(rotation), size)
