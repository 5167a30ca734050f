"""The whole way with the real worker: the add-on starts the server, the exact prior guides, a mesh arrives.

Argument: how many steps.
"""

from __future__ import annotations

import json
import sys
import time

import bpy
import harness
from limbeck_protocol.errors import ErrorCode

addon = harness.load_addon()
api = addon.api
STEPS = int(sys.argv[1])
addon.preferences.change(python_command=harness.server_python())


def an_unknown_word_is_refused_by_the_server_with_its_vocabulary():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    before = harness.data_blocks()
    error = harness.error_of(lambda: api.generate("a purple gryphon", preset="quick", timeout_s=250))
    assert error.code == ErrorCode.UNKNOWN_WORD, error
    assert "gryphon" in error.message, error
    assert harness.data_blocks() == before


def unknown_names_are_refused_by_the_server():
    for field, code in {"loss": "UNKNOWN_LOSS", "prior": "UNKNOWN_PRIOR", "preset": "UNKNOWN_PRESET"}.items():
        named = {field: "no-such-thing"}
        error = harness.error_of(lambda named=named: api.generate("a red cube", **named, timeout_s=250))
        assert error.code == code, (field, error)


def a_red_cube_arrives():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    phases, previews = [], []
    begun = time.monotonic()
    result = api.generate(
        "a red cube",
        preset="quick",
        # A small mesh and texture: unwrapping takes longer than these few steps.
        settings={"steps": STEPS, "mesh_resolution": 48, "face_budget": 1500, "texture_size": 128},
        on_progress=lambda progress: phases.append(progress.phase),
        on_preview=previews.append,
        timeout_s=250,
    )
    metrics = json.loads(result["limbeck_metrics"])
    print(f"{time.monotonic() - begun:.0f} s, phases {list(dict.fromkeys(phases))}, {len(previews)} previews")
    print(
        f"{len(result.data.vertices)} vertices, dimensions {tuple(round(d, 2) for d in result.dimensions)}, {metrics}"
    )
    assert result.name == "Red cube"
    assert 0.2 < max(result.dimensions) < 1.3
    assert len(result.data.polygons) > 50
    assert "optimise" in phases
    assert previews
    assert previews[-1].image.shape[2] == 3
    assert json.loads(result["limbeck_recipe"])["settings"]["steps"] == STEPS
    assert "iou" in json.dumps(metrics)


def the_server_that_was_started_is_stopped():
    addon.connection.server_process.stop()
    error = harness.error_of(lambda: api.connect(start_server=False))
    assert error.code == ErrorCode.NO_SERVER


harness.main(
    an_unknown_word_is_refused_by_the_server_with_its_vocabulary,
    unknown_names_are_refused_by_the_server,
    a_red_cube_arrives,
    the_server_that_was_started_is_stopped,
)
