"""The whole way of a picture with the real worker: the add-on starts the server, a prior guides, an image arrives.

Argument: how many steps.
"""

from __future__ import annotations

import json
import sys
import time

import bpy
import harness
import numpy as np
from limbeck_protocol.errors import ErrorCode

addon = harness.load_addon()
api = addon.api
STEPS = int(sys.argv[1])
addon.preferences.change(python_command=harness.server_python())


def a_red_cube_is_painted():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    phases, previews = [], []
    begun = time.monotonic()
    image = api.image(
        "a red cube",
        size=32,
        settings={"steps": STEPS},
        on_progress=lambda progress: phases.append(progress.phase),
        on_preview=previews.append,
        timeout_s=250,
    )
    print(f"{time.monotonic() - begun:.0f} s, {list(dict.fromkeys(phases))}, {image['limbeck_metrics']}")
    assert image.name == "Red cube"
    assert tuple(image.size) == (32, 32)
    assert image.packed_file is not None
    assert image.use_fake_user
    assert previews
    assert previews[-1].view is None
    recipe = api.recipe_of(image)
    assert (recipe.image.generator, recipe.image.size, recipe.preset) == ("latents", 32, "image")
    assert json.loads(image["limbeck_metrics"])
    pixels = np.array(image.pixels[:]).reshape(32, 32, -1)[..., :3]
    middle = pixels[12:20, 12:20].mean(axis=(0, 1))
    assert middle[0] > middle[1], middle  # a cube in the middle, and it is red
    assert not bpy.data.objects


def the_panel_agrees_with_the_server_s_catalog():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    fields = bpy.context.scene.limbeck
    fields.prompt, fields.makes = "a red cube", "IMAGE"
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}
    catalog = addon.runtime.session().catalog
    assert addon.recipe.panel_form.missing_field(bpy.context.scene, catalog) == ""
    known = {preset.prior for preset in catalog.presets}
    assert known == {"exact", "network", "stable-diffusion"}
    assert {prior.name for prior in catalog.priors} >= known
    for prior in (*known, "owner/name"):
        for makes in ("OBJECT", "IMAGE"):
            fields.prior, fields.makes = prior, makes
            assert addon.recipe.panel_form.missing_field(bpy.context.scene, catalog) == "", (prior, makes)
            assert addon.panels.choices.current_preset(fields), (prior, makes)


def what_does_not_fit_is_refused_by_the_server_too():
    error = harness.error_of(lambda: api.image("a red cube", preset="quick"))
    assert error.code is ErrorCode.UNKNOWN_PRESET or "image" in error.message, error
    error = harness.error_of(lambda: api.image("a red cube", generator="holograms"))
    assert "latents" in str(error), error
    error = harness.error_of(lambda: api.generate("a red cube", preset="image"))
    assert "standard" in str(error) or "object" in str(error), error


def the_server_that_was_started_is_stopped():
    addon.connection.server_process.stop()
    error = harness.error_of(lambda: api.connect(start_server=False))
    assert error.code == ErrorCode.NO_SERVER


harness.main(
    a_red_cube_is_painted,
    the_panel_agrees_with_the_server_s_catalog,
    what_does_not_fit_is_refused_by_the_server_too,
    the_server_that_was_started_is_stopped,
)
