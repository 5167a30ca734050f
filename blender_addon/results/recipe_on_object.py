"""The recipe on a result, an object or an image: written at import, read by everything that works on results.

Rules of this file: identity is in custom properties (`limbeck_*`), never in names; what is read may have been edited,
damaged or written by a newer release, so each failure is a sentence. Parsing is remembered by the text itself, since a
panel asks at every redraw.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import bpy
import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.recipe import Recipe, recipe_from_json, recipe_to_json

SCHEMA = 2
"""Rises when an older release could not read what this one writes."""
JOB_KEY, RECIPE_KEY, METRICS_KEY = "limbeck_job", "limbeck_recipe", "limbeck_metrics"
SCHEMA_KEY, SIZE_KEY = "limbeck_schema", "limbeck_size"


@dataclass(frozen=True)
class Origin:
    """Where a mesh or a picture comes from; all of it is written on the object or the image.

    Attributes:
        job_id: the job that made it.
        recipe: its recipe, as the server has completed it.
        metrics: what the server has measured: plain numbers, texts, lists and maps.
    """

    job_id: str
    recipe: Recipe
    metrics: Mapping[str, Any] = field(default_factory=dict)


def is_result(thing: bpy.types.ID | None) -> bool:
    """Return whether an object or an image carries a recipe, be it readable or not."""
    return thing is not None and RECIPE_KEY in thing


def selected_results(things: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """Return those of `things` that carry a recipe, in the same order."""
    return [thing for thing in things if is_result(thing)]


def write_origin(thing: bpy.types.ID, origin: Origin, size: float | None = None) -> None:
    """Write job, recipe (JSON), metrics (JSON), schema version and, of an object, size in scene units as properties."""
    recipe, metrics = recipe_to_json(origin.recipe), json.dumps(dict(origin.metrics), sort_keys=True)
    thing[JOB_KEY] = origin.job_id
    thing[RECIPE_KEY] = recipe
    thing[METRICS_KEY] = metrics
    thing[SCHEMA_KEY] = SCHEMA
    if size is not None:
        thing[SIZE_KEY] = size


def read_origin(thing: bpy.types.ID) -> Origin:
    """Return what `write_origin` wrote.

    Raises:
        LimbeckError: CANNOT_READ: there is no recipe, it is damaged or foreign, or a newer release wrote it.
    """
    if not is_result(thing):
        raise _unreadable(f"'{thing.name}' carries no recipe.", "Choose what Limbeck has made.")
    schema = thing.get(SCHEMA_KEY, 1)
    if not isinstance(schema, int) or schema < 1:
        raise _unreadable(f"The recipe on '{thing.name}' is damaged: {SCHEMA_KEY} is {schema!r}.", _RESTORE)
    if schema > SCHEMA:
        sentence = f"The recipe on '{thing.name}' has schema {schema}; this release reads {SCHEMA} and older."
        raise LimbeckError(ErrorCode.CANNOT_READ, sentence, Remedy(action=RemedyAction.UPDATE, label="Update Limbeck."))
    recipe = _parsed_recipe(thing.name, thing[RECIPE_KEY])
    job_id, metrics = thing.get(JOB_KEY), _parsed_metrics(thing.get(METRICS_KEY))
    return Origin(job_id if isinstance(job_id, str) else "", recipe, metrics)


def fresh_recipe(recipe: Recipe) -> Recipe:
    """Return a stored recipe as one to hand in again: whoever runs it writes its own versions on it."""
    return msgspec.structs.replace(recipe, versions={})


def size_of(thing: bpy.types.Object) -> float:
    """Return how many scene units one object unit of a result measures, its own scale included."""
    size = thing.get(SIZE_KEY, 1.0)
    return (float(size) if isinstance(size, int | float) else 1.0) * max(abs(factor) for factor in thing.scale)


def _parsed_recipe(name: str, text: object) -> Recipe:
    try:
        if not isinstance(text, str):
            raise TypeError(f"a text was expected, a {type(text).__name__} came")
        return _recipe_from_text(text)
    except (json.JSONDecodeError, msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        raise _unreadable(f"The recipe on '{name}' is damaged or foreign: {error}.", _RESTORE) from error


@lru_cache(maxsize=32)
def _recipe_from_text(text: str) -> Recipe:
    return recipe_from_json(text)


def _parsed_metrics(text: object) -> Mapping[str, Any]:
    """Return the metrics; none where they cannot be read, since nothing depends on them."""
    return _metrics_from_text(text) if isinstance(text, str) else {}


@lru_cache(maxsize=32)
def _metrics_from_text(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


_RESTORE = "Undo the change of its custom properties, or import the job again."


def _unreadable(sentence: str, label: str) -> LimbeckError:
    # Nothing was asked of the server: trying again would run or fetch whatever job was followed last.
    return LimbeckError(ErrorCode.CANNOT_READ, sentence, Remedy(action=RemedyAction.EDIT_FIELD, label=label))
