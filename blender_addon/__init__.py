"""Limbeck inside Blender: a sidebar panel and an API for scripts, both clients of a Limbeck server.

Start reading at `api.py` (for scripts) or `panels/` and `operators/` (for people); `connection/session.py` is what the
timer and the tests drive. Nothing here imports torch or the server; nothing starts before somebody presses a button.
"""

import bpy

from . import api, command_line, operators, panel_watch, panels, preferences, properties, runtime

__all__ = ["api", "is_registered", "register", "unregister"]

_CLASSES = (*preferences.classes, *properties.classes, *operators.classes, *panels.classes)


def is_registered() -> bool:
    """Return whether the add-on's classes are known to Blender."""
    return all(cls.is_registered for cls in _CLASSES)


def register() -> None:
    """Make the panel, its operators and the scenes' fields known to Blender."""
    for cls in _CLASSES:
        bpy.utils.register_class(cls)
    properties.register()
    panel_watch.register()
    command_line.register()


def unregister() -> None:
    """Take back everything that `register` and the session have left in Blender; servers and jobs go on."""
    command_line.unregister()
    panel_watch.unregister()
    runtime.unregister()
    properties.unregister()
    for cls in reversed(_CLASSES):
        bpy.utils.unregister_class(cls)
