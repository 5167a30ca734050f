"""What a script asks for -> a checked recipe: the arguments of `api.recipe_for`. Nothing is sent from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bpy
import msgspec
from limbeck_protocol.recipe import Image, Orbit, Recipe, Rig

from .recipe.recipe_form import bad_field, check_prompt, make_recipe
from .rig.camera_rig import orbit_from, orbit_from_empty, rig_of
from .rig.placement import Placement

ImageLike = Image | Mapping[str, Any] | bool | None
OrbitLike = Orbit | Mapping[str, Any] | bpy.types.Object | bool | None


def recipe_for(
    prompt: str,
    *,
    placement: Placement | None = None,
    loss: str = "sds",
    prior: str = "exact",
    preset: str | msgspec.UnsetType = msgspec.UNSET,
    seed: int = 0,
    cameras: Sequence[bpy.types.Object] | None = None,
    orbit: OrbitLike = None,
    negative_prompt: str | None = None,
    settings: Mapping[str, Any] | None = None,
    image: ImageLike = None,
) -> Recipe:
    """Return the checked recipe that `generate` would send; the arguments are the same.

    With `image` (True, or a mapping with `generator` and `size`) it is the one that `image` would send; the preset is
    `image` then, unless one is given, and there are neither cameras nor an orbit.

    Raises:
        LimbeckError: bad input; the message names the field.
    """
    check_prompt(prompt)
    picture = _image(image)
    if picture is not None and (cameras is not None or orbit not in (None, False)):
        raise bad_field("image", "A picture has no cameras and no orbit.", "Leave them out, or make an object.")
    rig = _rig(placement or Placement(), cameras, orbit)
    return make_recipe(
        prompt,
        rig,
        loss=loss,
        prior=prior,
        preset=("standard" if picture is None else "image") if preset is msgspec.UNSET else preset,
        seed=seed,
        negative_prompt=negative_prompt,
        settings=settings,
        image=picture,
    )


def _rig(placement: Placement, cameras: Sequence[bpy.types.Object] | None, orbit: OrbitLike) -> Rig:
    if cameras is None and orbit is None:
        orbit = True
    if orbit is None or orbit is False:
        return rig_of(bpy.context.scene, placement, cameras)
    return rig_of(bpy.context.scene, placement, cameras, _orbit(orbit))


def _image(image: ImageLike) -> Image | None:
    if image is None or image is False:
        return None
    if image is True:
        return Image()
    if isinstance(image, Image):
        return image
    if not isinstance(image, Mapping):
        label = "Give True, or a mapping with generator and size."
        raise bad_field("image", f"The image is a {type(image).__name__}, which describes none.", label)
    try:
        return msgspec.convert(dict(image), Image)
    except msgspec.ValidationError as error:
        label = "Give a generator's name, and a size of 16 to 2048 pixels or None."
        raise bad_field("image", f"The image cannot be used: {error}.", label) from error


def _orbit(orbit: Orbit | Mapping[str, Any] | bpy.types.Object | bool) -> Orbit:
    if orbit is True:
        return Orbit()
    if isinstance(orbit, Orbit):
        return orbit
    if isinstance(orbit, bpy.types.Object):
        return orbit_from_empty(orbit)
    if isinstance(orbit, Mapping):
        return orbit_from(orbit)
    label = "Give True, a mapping of ranges, or an Empty."
    raise bad_field("orbit", f"The orbit is a {type(orbit).__name__}, which describes none.", label)
