"""Load the add-on from its source folder as the package `limbeck`, for the demo and the tests.

Blender imports an installed extension under a name of its own choice; here no installation is needed.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ADDON_FOLDER = Path(__file__).resolve().parents[1] / "blender_addon"


def load_addon(name: str = "limbeck") -> ModuleType:
    """Return the add-on's package, imported once under `name`; not yet registered.

    Raises:
        ImportError: the add-on, or `bpy`, cannot be imported.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        name, ADDON_FOLDER / "__init__.py", submodule_search_locations=[str(ADDON_FOLDER)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no add-on in {ADDON_FOLDER}")
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    return package
