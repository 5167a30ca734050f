"""Runs inside a Blender that has a window: executes the code files that a folder receives, answers each with a file.

`blender --python inside.py -- FOLDER`. A timer does the work, so Blender's own loop goes on: it draws and takes mouse
and keyboard events between two snippets. `NAME.py` is answered by `NAME.json`:

    {"printed": "...", "result": ..., "failed": null or "the traceback"}

A snippet leaves its answer in the variable `result`. One that must give Blender time to act defines a generator
`steps()`: it is resumed after every `yield seconds`, and what it returns becomes the result. All share one namespace.
"""

import contextlib
import io
import json
import sys
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy

POLL_S = 0.05
FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
_namespace: dict[str, Any] = {"bpy": bpy}
_current: tuple[Path, Generator[float, None, Any], io.StringIO] | None = None


def tick() -> float:
    """Begin the oldest waiting snippet, or go on with the one under way; return when to be called again."""
    global _current
    if _current is None:
        waiting = sorted(FOLDER.glob("*.py"))
        if not waiting:
            return POLL_S
        path = waiting[0]
        code = path.read_text()
        path.unlink()
        _current = (path, _begin(code, str(path)), io.StringIO())
    path, work, printed = _current
    try:
        with contextlib.redirect_stdout(printed):
            pause_s = next(work)
    except StopIteration as end:
        _current = None
        _answer(path, printed, result=end.value)
        return 0.0
    except Exception:
        _current = None
        _answer(path, printed, failed=traceback.format_exc())
        return 0.0
    return pause_s


def _begin(code: str, name: str) -> Generator[float, None, Any]:
    """Run the code at the first `next`; go through its `steps()` if it defines them."""
    _namespace.pop("steps", None)
    _namespace["result"] = None
    exec(compile(code, name, "exec"), _namespace)
    if "steps" in _namespace:
        return (yield from _namespace["steps"]())
    return _namespace["result"]


def _answer(path: Path, printed: io.StringIO, *, result: Any = None, failed: str | None = None) -> None:
    try:
        text = json.dumps({"printed": printed.getvalue(), "result": result, "failed": failed})
    except TypeError as error:
        text = json.dumps({"printed": printed.getvalue(), "result": None, "failed": f"The result is no JSON: {error}"})
    half = path.with_suffix(".half")
    half.write_text(text)
    half.rename(path.with_suffix(".json"))


def begin() -> None:
    """Take the splash away, say that Blender is there, and start listening."""
    bpy.context.preferences.view.show_splash = False
    # Nothing here is meant to be kept: a scratch home.
    bpy.context.preferences.use_preferences_save = False
    # Opening a file must not end the conversation.
    bpy.app.timers.register(tick, persistent=True)
    (FOLDER / "ready").write_text(f"{bpy.app.version_string} {time.time()}")


begin()
