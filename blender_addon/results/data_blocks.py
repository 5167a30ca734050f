"""What imports of every kind share: names for data-blocks, all or nothing, one undo step."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

FALLBACK_NAME = "Limbeck"
LIMIT_NAME_BYTES = 56
"""Blender 4.5 keeps 63 bytes of a name; the rest is room for its own `.001`."""


def readable_name(prompt: str) -> str:
    """Return a name for data-blocks: the prompt without its article, on one line, short enough for Blender."""
    printable = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in prompt)
    words = printable.split()
    if len(words) > 1 and words[0].lower() in {"a", "an", "the"}:
        words = words[1:]
    name = " ".join(words)
    name = name[:1].upper() + name[1:]
    return name.encode()[:LIMIT_NAME_BYTES].decode(errors="ignore").strip() or FALLBACK_NAME


@contextmanager
def removed_on_failure() -> Iterator[Any]:
    """Yield a function that notes a new data-block; when the block fails, all noted ones are removed, newest first."""
    noted: list[tuple[Any, Any]] = []

    def note(owner: Any, block: Any) -> Any:
        noted.append((owner, block))
        return block

    try:
        yield note
    except BaseException:
        for owner, block in reversed(noted):
            owner.remove(block)
        raise


def push_undo_step(message: str) -> None:
    """Make one undo step. Timers have no window of their own, so the first one is lent to the operator."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=windows[0]):
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)
