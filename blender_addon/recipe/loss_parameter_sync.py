"""Bring the scenes' loss parameters in line with the server's catalog: an item for each, at its default.

Called after each pump, never while drawing; it writes only when the catalog or a scene's list has changed (another
file, an undo). What somebody ticked stays as it is, also when the server no longer lists it or has narrowed its range:
it is not sent, or refused with a sentence, and there again once a server knows it.
"""

from __future__ import annotations

import bpy
from limbeck_protocol.messages import Catalog, ParameterInfo

from .recipe_form import as_written


class LossParameterSync:
    """Remembers what it has seen last, so that most calls do nothing."""

    def __init__(self) -> None:
        self._catalog: Catalog | None = None
        self._lengths: tuple[tuple[str, int], ...] = ()

    def step(self, catalog: Catalog | None) -> bool:
        """Bring every scene in line, if need be; return whether anything was written."""
        if catalog is None or (catalog is self._catalog and _lengths() == self._lengths):
            return False
        for scene in bpy.data.scenes:
            if scene.library is None:  # a linked scene cannot be written to
                _bring_in_line(scene.limbeck.loss_parameters, catalog)
        self._catalog, self._lengths = catalog, _lengths()
        return True


def key_of(loss: str, parameter: str) -> str:
    """Return the name under which a loss's parameter stands in the scene's collection."""
    return f"{loss}/{parameter}"


def add_item(items: bpy.types.CollectionProperty, loss: str, info: ParameterInfo) -> bpy.types.PropertyGroup:
    """Return a new item for a loss's parameter, at its default."""
    item = items.add()
    item.name, item.loss, item.parameter = key_of(loss, info.name), loss, info.name
    set_value(item, info.default)
    return item


def set_value(item: bpy.types.PropertyGroup, value: float | str) -> None:
    """Write a number or a choice into an item; what it was before is forgotten."""
    if isinstance(value, str):
        item.choice = value
    else:
        item.choice, item.value = "", value


def value_of(item: bpy.types.PropertyGroup, info: ParameterInfo | None) -> float | str:
    """Return an item's value: of the kind that the server says, or as it was left while no server has said."""
    is_choice = bool(item.choice) if info is None else bool(info.choices)
    return str(item.choice) if is_choice else as_written(item.value)


def _bring_in_line(items: bpy.types.CollectionProperty, catalog: Catalog) -> None:
    known = {key_of(loss.name, info.name): (loss.name, info) for loss in catalog.losses for info in loss.parameters}
    for index in reversed(range(len(items))):
        if items[index].name not in known and not items[index].override:
            items.remove(index)
    for key, (loss, info) in known.items():
        item = items.get(key)
        if item is None:
            add_item(items, loss, info)
        elif not item.override:
            set_value(item, info.default)


def _lengths() -> tuple[tuple[str, int], ...]:
    return tuple((scene.name_full, len(scene.limbeck.loss_parameters)) for scene in bpy.data.scenes)
