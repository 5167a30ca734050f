"""The examples of docs/scripting.md, in order, as one script; against the real server (its worker makes a cube)."""

from __future__ import annotations

import re

import bpy
import harness

addon = harness.load_addon()
DOCUMENT = harness.ROOT / "docs" / "scripting.md"
EXAMPLE = re.compile(r"^```python run\n(.*?)^```", re.MULTILINE | re.DOTALL)


def the_examples_of_the_documentation_run():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    names = {"bpy": bpy, "api": addon.api}
    examples = EXAMPLE.findall(DOCUMENT.read_text(encoding="utf-8"))
    assert len(examples) >= 7
    for example in examples:
        exec(compile(example, str(DOCUMENT), "exec"), names)


def every_public_name_of_the_api_is_explained():
    for name in addon.api.__all__:
        thing = getattr(addon.api, name)
        assert len(thing.__doc__ or "") > 80, name
    for name in ("wait", "import_mesh", "cancel"):
        assert "Raises:" in getattr(addon.api.Job, name).__doc__, name


harness.main(the_examples_of_the_documentation_run, every_public_name_of_the_api_is_explained)
