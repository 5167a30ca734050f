"""Runs in real Blender, where the zip is installed and on: disable, enable, generate, disable; nothing may stay.

What Blender does not list is found otherwise: timers by asking for every function of the extension, draw handlers by
recording who comes and goes, sockets and files in /proc, previews among the objects that Python knows.
"""

from __future__ import annotations

import gc
import sys
import threading
import types
from pathlib import Path

import bpy
import bpy.utils.previews

MODULE = "bl_ext.user_default.limbeck"
SPACES = (bpy.types.SpaceView3D, bpy.types.SpaceImageEditor)
drawn: set[int] = set()


def record_draw_handlers() -> None:
    """Keep the handles of draw handlers from now on."""
    for space in SPACES:
        add, remove = space.draw_handler_add, space.draw_handler_remove

        def recording_add(*arguments, add=add):
            handle = add(*arguments)
            drawn.add(id(handle))
            return handle

        def recording_remove(handle, *arguments, remove=remove):
            drawn.discard(id(handle))
            return remove(handle, *arguments)

        space.draw_handler_add, space.draw_handler_remove = recording_add, recording_remove


def functions_of_ours() -> list[types.FunctionType]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(MODULE)]
    return [value for module in modules for value in vars(module).values() if isinstance(value, types.FunctionType)]


def timers_of_ours() -> list[str]:
    return [f.__qualname__ for f in functions_of_ours() if bpy.app.timers.is_registered(f)]


def open_files() -> list[str]:
    """Sockets, pipes, event files and what lies in no system folder; without their numbers, which say nothing."""
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:  # the folder's own
            continue
        links.append(target.split(":")[0])
    return sorted(links)


def thread_names() -> list[str]:
    """Of all threads, in order; Blender's own workers, which come when they are needed, are called `blender`."""
    return sorted((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir())


def data_blocks() -> dict[str, int]:
    names = [p.identifier for p in bpy.types.BlendData.bl_rna.properties if p.type == "COLLECTION"]
    return {name: len(getattr(bpy.data, name)) for name in names}


def shortcuts() -> list[bpy.types.KeyMapItem]:
    configurations = bpy.context.window_manager.keyconfigs
    return [
        item for configuration in configurations for keymap in configuration.keymaps for item in keymap.keymap_items
    ]


def snapshot() -> dict[str, object]:
    gc.collect()
    handlers = {
        name: value for name in dir(bpy.app.handlers) if isinstance(value := getattr(bpy.app.handlers, name), list)
    }
    previews = [thing for thing in gc.get_objects() if isinstance(thing, bpy.utils.previews.ImagePreviewCollection)]
    return {
        "types": {name for name in dir(bpy.types) if "limbeck" in name.lower()},
        "operators": set(dir(bpy.ops.limbeck)),
        "properties": {
            (kind.__name__, name)
            for kind in (bpy.types.Scene, bpy.types.Object, bpy.types.WindowManager, bpy.types.Camera)
            for name in dir(kind)
            if "limbeck" in name.lower()
        },
        "handlers": {name: len(found) for name, found in handlers.items()},
        "timers": timers_of_ours(),
        "draw handlers": set(drawn),
        "previews": len(previews),
        "files": open_files(),
        "data": data_blocks(),
        "shortcuts": sum("limbeck" in item.idname for item in shortcuts()),
        "threads": [name for name in thread_names() if name != "blender"],
        "Python threads": threading.active_count(),
    }


def same(before: dict[str, object], after: dict[str, object]) -> None:
    changed = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
    assert not changed, f"left behind: {changed}"


def enable() -> types.ModuleType:
    assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}
    addon = sys.modules[MODULE]
    assert addon.is_registered()
    return addon


def disable() -> None:
    assert bpy.ops.preferences.addon_disable(module=MODULE) == {"FINISHED"}


def generate_both_ways(addon: types.ModuleType) -> None:
    thing = addon.api.generate("a red cube", start_server=False, timeout_s=60)
    assert thing.name == "Red cube", thing.name
    assert len(thing.data.polygons) == 12
    assert len(thing.data.uv_layers) == 1
    # By the panel's button too: that is what brings the session, its socket and its previews to life.
    bpy.context.scene.limbeck.prompt = "a blue cube"
    assert bpy.ops.limbeck.generate(blocking=True, timeout_s=60) == {"FINISHED"}
    assert "Blue cube" in bpy.data.objects, list(bpy.data.objects)
    # While it is connected there is something to see: the snapshot does not look the wrong way.
    assert any(name.startswith("ZMQ") for name in thread_names()), thread_names()
    print(f"generated {[thing.name for thing in bpy.data.collections['Limbeck'].objects]}")


def empty_file() -> None:
    """Open an empty file: what was imported belongs to the user, and goes with it."""
    bpy.ops.wm.read_homefile(use_empty=True)


def main() -> None:
    assert MODULE in bpy.context.preferences.addons, "the zip was installed but is not on"
    import limbeck_protocol
    import msgspec
    import zmq

    for package in (limbeck_protocol, msgspec, zmq):  # out of the zip, not from anywhere else
        assert "/extensions/.local/" in package.__file__, package.__file__
    record_draw_handlers()
    empty_file()
    disable()
    before = snapshot()
    assert not before["types"], before["types"]
    enable()
    assert snapshot()["types"]
    disable()
    same(before, snapshot())
    addon = enable()
    generate_both_ways(addon)
    empty_file()
    disable()
    same(before, snapshot())
    enable()
    print(f"passed in Blender {bpy.app.version_string}, Python {sys.version.split()[0]}")


main()
