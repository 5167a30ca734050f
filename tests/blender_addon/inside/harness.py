"""What every script in this folder shares: loading the add-on, ending the process, small meshes."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from limbeck_protocol.errors import LimbeckError

ROOT = Path(__file__).resolve().parents[3]


def load_addon() -> ModuleType:
    """Return the add-on the way the demo loads it."""
    path = ROOT / "packaging" / "load_addon.py"
    spec = importlib.util.spec_from_file_location("load_addon", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load_addon()


def server_python() -> str:
    """Return the Python that has the server: not this one where Blender 4.5 is in an environment of its own."""
    return os.environ.get("LIMBECK_TEST_PYTHON", sys.executable)


def error_of(action: Callable[[], object], kind: type[Exception] = LimbeckError) -> Exception:
    """Return the error that `action` raises; one must come."""
    try:
        action()
    except kind as error:
        return error
    raise AssertionError("no error was raised")


def main(*checks: Callable[[], None]) -> None:
    """Run the checks in order, say which passed, unregister; leave by `os._exit`, since Blender may hang at exit."""
    code = 0
    for check in checks:
        try:
            check()
            print(f"passed {check.__name__}", flush=True)
        except BaseException:
            traceback.print_exc()
            print(f"FAILED {check.__name__}", flush=True)
            code = 1
        addon = sys.modules.get("limbeck")
        if addon is not None and addon.is_registered():
            addon.unregister()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def cube_arrays(addon: ModuleType, side: float = 1.0, texture_size: int = 64):
    """Return a unit cube, each face with a colour of its own in a 3 x 2 atlas: rows of the atlas run from the top."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32) * side / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]  # -x +x -y +y -z +z
    faces, uv = [], []
    for number, (a, b, c, d) in enumerate(quads):
        column, row = number % 3, number // 3
        left, right, top, bottom = column / 3, (column + 1) / 3, 1 - row / 2, 1 - (row + 1) / 2
        faces += [(a, b, c), (a, c, d)]
        uv += [[(left, bottom), (right, bottom), (right, top)], [(left, bottom), (right, top), (left, top)]]
    texture = np.zeros((texture_size, texture_size * 3 // 2, 3), dtype=np.uint8)
    half, third = texture_size // 2, texture_size // 2
    for number, colour in enumerate(CUBE_COLOURS):
        column, row = number % 3, number // 3
        texture[row * half : (row + 1) * half, column * third : (column + 1) * third] = colour
    return addon.results.mesh_arrays.MeshArrays(
        vertices=corners,
        faces=np.array(faces, dtype=np.int32),
        vertex_colours=((corners / side) + 0.5).astype(np.float32),
        corner_uv=np.array(uv, dtype=np.float32),
        texture=texture,
    )


CUBE_COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200), (200, 40, 200)]
"""Of the faces -x, +x, -y (the front), +y, -z, +z."""


def data_blocks() -> dict[str, int]:
    """Return how many data-blocks of each kind the file holds."""
    import bpy

    kinds = ("meshes", "objects", "images", "materials", "collections", "textures", "node_groups", "cameras")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


def in_sidebar():
    """Return a context manager in which a button of the sidebar is drawn, as far as `poll` can tell."""
    import bpy

    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "UI")
    return bpy.context.temp_override(window=window, area=area, region=region)
