"""The Empty that marks out an orbit: its cube is the object's box, its custom properties are the orbit's ranges.

Custom properties of the Empty: `limbeck_azimuth_deg`, `limbeck_elevation_deg`, `limbeck_distance`,
`limbeck_field_of_view_deg` (two numbers each), `limbeck_jitter`, `limbeck_weight`: the fields of the protocol's Orbit.
They are the user's own data: they stay in the file without the add-on, and a script may write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy
import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import Orbit
from mathutils import Matrix

from .placement import BALL_RADIUS, Placement

ORBIT_FIELDS = tuple(field.name for field in msgspec.structs.fields(Orbit))
RANGE_FIELDS = ("azimuth_deg", "elevation_deg", "distance", "field_of_view_deg")
BOX_NAME = "Limbeck Orbit"

RANGE_LIMITS: dict[str, dict[str, Any]] = {
    "azimuth_deg": {
        "min": -360.0,
        "max": 360.0,
        "step": 5.0,
        "precision": 1,
        "description": "Degrees around the object, from and to: 0 sees its front, 90 its left side",
    },
    "elevation_deg": {
        "min": -90.0,
        "max": 90.0,
        "step": 5.0,
        "precision": 1,
        "description": "Degrees above the object's horizon, from and to",
    },
    "distance": {
        "min": BALL_RADIUS + 0.01,
        "max": 100.0,
        "soft_max": 10.0,
        "step": 0.1,
        "precision": 2,
        "description": "Distance from the object's centre, from and to, in sizes of the object",
    },
    "field_of_view_deg": {
        "min": 1.1,
        "max": 169.0,
        "soft_min": 10.0,
        "soft_max": 90.0,
        "step": 1.0,
        "precision": 1,
        "description": "Field of view: the angle across the square picture in degrees, from and to",
    },
    "jitter": {
        "min": 0.0,
        "max": 1.0,
        "soft_max": 0.2,
        "step": 0.01,
        "precision": 3,
        "description": "How far the look-at point strays from the object's centre, in sizes of the object",
    },
    "weight": {
        "min": 0.0,
        "max": 1e6,
        "soft_max": 10.0,
        "step": 0.1,
        "precision": 2,
        "description": "How often the orbit is drawn, against the weights of all cameras added up",
    },
}


def new_orbit_box(collection: bpy.types.Collection, placement: Placement, orbit: Orbit | None = None) -> Any:
    """Return a new Empty in `collection`: a cube at `placement`, its ranges as custom properties with limits and tips.

    Args:
        collection: where it is linked.
        placement: the object's frame; `placement_of` gives it back.
        orbit: the ranges; None for the usual ones.
    """
    empty = bpy.data.objects.new(BOX_NAME, None)
    empty.empty_display_type = "CUBE"
    empty.empty_display_size = placement.size / 2
    collection.objects.link(empty)
    empty.matrix_world = placement.rotated(Matrix.Identity(4))
    write_orbit(empty, orbit or Orbit())
    return empty


def write_orbit(empty: bpy.types.Object, orbit: Orbit) -> None:
    """Write the orbit's fields as custom properties of an object, with limits, defaults and tips."""
    for name in ORBIT_FIELDS:
        key, value, usual = f"limbeck_{name}", getattr(orbit, name), getattr(Orbit(), name)
        empty[key] = list(value) if name in RANGE_FIELDS else float(value)
        default = list(usual) if name in RANGE_FIELDS else float(usual)
        empty.id_properties_ui(key).update(default=default, **RANGE_LIMITS[name])


def has_own_orbit(target: bpy.types.Object | None) -> bool:
    """Return whether an Empty carries orbit ranges of its own."""
    return target is not None and target.type == "EMPTY" and any(f"limbeck_{name}" in target for name in ORBIT_FIELDS)


def orbit_from(values: Mapping[str, Any]) -> Orbit:
    """Return the protocol's orbit from some of its fields; the others keep their defaults.

    Raises:
        LimbeckError: a field is unknown, of the wrong kind, out of range, or a range runs backwards.
    """
    try:
        orbit = msgspec.convert(dict(values), Orbit)
    except (msgspec.ValidationError, TypeError) as error:
        raise _bad_orbit(f"The orbit cannot be read: {error}; its fields are {', '.join(ORBIT_FIELDS)}.") from error
    for name in RANGE_FIELDS:
        low, high = getattr(orbit, name)
        if not low <= high:
            raise _bad_orbit(f"The orbit's {name} runs from {low:g} to {high:g}; the smaller number comes first.")
    if orbit.distance[0] <= BALL_RADIUS:
        raise _bad_orbit(f"The orbit's distance starts at {orbit.distance[0]:g}, inside the object ({BALL_RADIUS:g}).")
    return orbit


def _bad_orbit(sentence: str) -> LimbeckError:
    remedy = remedy_for(ErrorCode.INVALID_FIELD, label="Correct the orbit.", field="rig.orbit")
    return LimbeckError(ErrorCode.INVALID_FIELD, sentence, remedy)


def orbit_from_empty(empty: bpy.types.Object) -> Orbit:
    """Return the orbit that an Empty's custom properties `limbeck_*` describe.

    Raises:
        LimbeckError: see `orbit_from`.
    """
    found = {name: empty.get(f"limbeck_{name}") for name in ORBIT_FIELDS}
    values = {name: _plain(value) for name, value in found.items() if value is not None}
    return orbit_from(values)


def _plain(value: Any) -> Any:
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
