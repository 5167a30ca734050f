"""Two recipes side by side: which fields differ, and how. Plain functions on plain data, no Blender."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from limbeck_protocol.recipe import Recipe, encode_array_as_list

_LIMIT_CHARACTERS = 60
_ABSENT = "-"


@dataclass(frozen=True)
class Difference:
    """One field that two recipes do not agree on.

    Attributes:
        field: dotted name, such as `settings.steps`.
        old: the first recipe's value as text; `-` where it has none.
        new: the second's.
    """

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {self.old} -> {self.new}"


def compare_recipes(first: Recipe, second: Recipe) -> list[Difference]:
    """Return the fields in which `second` differs from `first`, in the recipe's own order; none for equal recipes.

    Cameras are compared by how many there are and whether a matrix, lens or weight differs, not number by number.
    """
    old, new = dict(_leaves(_plain(first))), dict(_leaves(_plain(second)))
    return [
        Difference(name, _as_text(old.get(name, _ABSENT)), _as_text(new.get(name, _ABSENT)))
        for name in dict.fromkeys([*old, *new])
        if old.get(name, _ABSENT) != new.get(name, _ABSENT)
    ]


def comparison_text(first_name: str, second_name: str, differences: Sequence[Difference]) -> str:
    """Return the differences as lines of text below a head line."""
    if not differences:
        return f"'{first_name}' and '{second_name}' have the same recipe."
    return "\n".join([f"'{first_name}' -> '{second_name}'", *map(str, differences)])


def _plain(recipe: Recipe) -> dict[str, Any]:
    plain = msgspec.to_builtins(recipe, enc_hook=encode_array_as_list)
    cameras = plain["rig"].get("cameras")
    if cameras is not None and recipe.rig.cameras is not None:
        for name in ("camera_to_world", "lens", "weight"):
            cameras[name] = _Numbers(getattr(recipe.rig.cameras, name))
    return plain


class _Numbers:
    """An array that is compared as a whole and shown as its size."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Numbers) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.values.shape)

    def __str__(self) -> str:
        # Arrays of one shape would read alike, so a few digits of their sum tell them apart.
        return f"{len(self.values)} cameras, sum {float(self.values.sum()):.4g}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inside in value.items():
            yield from _leaves(inside, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _as_text(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.7g}"
    elif isinstance(value, str) and value != _ABSENT:
        text = f"'{value}'"
    elif value is None:
        text = "automatic"
    else:
        text = str(value)
    return text if len(text) <= _LIMIT_CHARACTERS else text[: _LIMIT_CHARACTERS - 3] + "..."
