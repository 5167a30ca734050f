"""Losses, presets and parameters come from the server's catalog: late, changed, gone. Argument: the serving script."""

from __future__ import annotations

import sys

import bpy
import harness
from own_server import running
from recording import drawn, sentences

addon = harness.load_addon()
runtime, panels, catalog_view = addon.runtime, addon.panels, addon.recipe.catalog_view
SERVE = sys.argv[1]
FLOAT = 1e-6


def fresh(prompt: str = "a red cube"):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    bpy.context.scene.limbeck.prompt = prompt
    return bpy.context.scene.limbeck


def connect() -> None:
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}


def item(name: str):
    return bpy.context.scene.limbeck.loss_parameters.get(name)


def guidance() -> str:
    return drawn(panels.guidance.LIMBECK_PT_guidance)


def preset_panel() -> str:
    return drawn(panels.guidance.LIMBECK_PT_preset)


def menu(name: str) -> str:
    return drawn(getattr(panels.choices, name))


def generate_button() -> bool:
    """Return whether the panel's button can be pressed; a script's call is judged by the server instead."""
    catalog = runtime.session().catalog
    return not addon.recipe.panel_form.missing_field(bpy.context.scene, catalog)


def close() -> None:
    """End the connection and forget the server, as another start of Blender would."""
    runtime.session().leave()
    addon.unregister()


def a_loss_and_a_preset_of_the_server_only_appear_and_reach_it():
    with running(SERVE):
        fields = fresh()
        assert "value=nfsd" in menu("LIMBECK_MT_losses")  # the usual ones, before a server has answered
        assert "example" not in menu("LIMBECK_MT_losses")
        usual = [choice.name for choice in catalog_view.choices(None, "loss")]
        assert "turbo" not in menu("LIMBECK_MT_presets")
        connect()
        assert "value=example" in menu("LIMBECK_MT_losses")
        assert "Example loss" in menu("LIMBECK_MT_losses")
        told = [choice.name for choice in catalog_view.choices(runtime.session().catalog, "loss")]
        assert told == [*usual, "example"], "what is usual is what the server has, but for the one that edits"
        assert "dds" in [loss.name for loss in runtime.session().catalog.losses]
        assert "value=turbo" in menu("LIMBECK_MT_presets")
        assert bpy.ops.limbeck.choose(kind="loss", value="example") == {"FINISHED"}
        assert bpy.ops.limbeck.choose(kind="preset", value="turbo") == {"FINISHED"}
        text = guidance()
        assert "menu LIMBECK_MT_losses example" in text, text
        for words in ("Strength", "Warm up"):
            assert words in text, text
        for words in ("0 to 1. How strongly it pulls.", "0 to 1000. Steps until it pulls at all.", "Example loss"):
            assert words in sentences(text), text
        assert "label 0.1" in text, text  # the default, greyed
        assert abs(item("example/strength").value - 0.1) < FLOAT
        text = preset_panel()
        assert "menu LIMBECK_MT_presets turbo" in text, text
        assert "Seven steps, and no more." in sentences(text)
        strength = item("example/strength")
        strength.override = True
        strength.value = 0.3
        assert "prop value = 0.3" in guidance()
        assert bpy.ops.limbeck.generate(blocking=True, timeout_s=60) == {"FINISHED"}
        recipe = runtime.session().followed.info.recipe
        assert (recipe.loss, recipe.preset) == ("example", "turbo")
        assert recipe.settings.loss_parameters == {"strength": 0.3, "warm_up": 100.0}
        assert (recipe.settings.steps, recipe.settings.mesh_resolution) == (7, 48)
        assert fields.loss == "example"
        close()


def what_is_not_ticked_is_not_sent():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.loss, fields.preset = "example", "turbo"
        recipe = addon.recipe.panel_form.recipe_from(bpy.context.scene, runtime.session().catalog)
        assert not isinstance(recipe.settings.loss_parameters, dict)
        item("example/warm_up").override = True
        item("nfsd/threshold").override = True  # of another loss: not sent with this one
        recipe = addon.recipe.panel_form.recipe_from(bpy.context.scene, runtime.session().catalog)
        assert recipe.settings.loss_parameters == {"warm_up": 100.0}
        close()


def values_stay_in_the_server_s_range():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.loss, fields.preset = "example", "turbo"
        strength = item("example/strength")
        strength.override = True
        strength.value = 7.0
        assert strength.value == 1.0
        strength.value = -1.0
        assert strength.value == 0.0
        assert bpy.ops.limbeck.set_loss_parameter(parameter="strength", value=0.9) == {"FINISHED"}
        assert abs(item("example/strength").value - 0.9) < FLOAT
        runtime.session().leave()
    with running(SERVE, "narrow"):  # the server has another range by now: the value is kept, and said to be wrong
        connect()
        assert abs(item("example/strength").value - 0.9) < FLOAT
        sentence = "Strength of the loss 'example' must lie between 0 and 0.2; it is 0.9."
        assert sentence in sentences(guidance()), guidance()
        assert addon.recipe.panel_form.missing_field(bpy.context.scene, runtime.session().catalog) == sentence
        assert not generate_button()
        item("example/strength").value = 0.9  # typed again: brought into the range
        assert abs(item("example/strength").value - 0.2) < FLOAT
        assert generate_button()
        # Of single precision, 0.2 is a little more than 0.2; the server must not see that.
        recipe = addon.recipe.panel_form.recipe_from(bpy.context.scene, runtime.session().catalog)
        assert recipe.settings.loss_parameters == {"strength": 0.2}
        close()


def a_catalog_that_shrinks_is_a_sentence_and_loses_nothing():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.loss, fields.preset = "example", "turbo"
        item("example/strength").override = True
        item("example/strength").value = 0.5
        runtime.session().leave()
    assert runtime.session().catalog is None
    text = guidance()  # no server: everything can be drawn, nothing is refused
    assert "menu LIMBECK_MT_losses example" in text
    assert "ERROR" not in text
    with running(SERVE, "without"):
        connect()
        assert "The server has no loss 'example'; choose one of: sds, nfsd" in sentences(guidance()), guidance()
        assert "value=example" not in menu("LIMBECK_MT_losses")
        assert not generate_button()
        assert "no loss 'example'" in addon.recipe.panel_form.missing_field(
            bpy.context.scene, runtime.session().catalog
        )
        assert item("example/strength").override  # kept for the server that knows it
        assert item("example/warm_up") is None
        bpy.ops.limbeck.choose(kind="loss", value="sds")
        assert "The server has no preset 'turbo'" in sentences(guidance())
        bpy.ops.limbeck.choose(kind="preset", value="quick")
        assert generate_button()
        runtime.session().leave()
    with running(SERVE):
        connect()
        assert abs(item("example/strength").value - 0.5) < FLOAT
        fields = bpy.context.scene.limbeck
        fields.loss, fields.preset = "nfsd", "turbo"
        assert "'turbo' is not made for the loss 'nfsd'" in sentences(guidance())
        assert "choose one of: quick, standard" in sentences(guidance())
        close()


def another_file_gets_its_parameters_too():
    with running(SERVE):
        fresh()
        connect()
        bpy.ops.wm.read_factory_settings(use_empty=True)
        fields = bpy.context.scene.limbeck
        fields.loss = "example"
        assert item("example/strength") is None
        text = guidance()  # drawn before the next pump: a button that adds the override
        assert "limbeck.set_loss_parameter" in text, text
        assert "parameter=strength" in text
        runtime.pump()
        assert item("example/strength") is not None
        scene = bpy.data.scenes.new("Another")
        runtime.pump()
        assert "example/warm_up" in scene.limbeck.loss_parameters
        close()


def an_override_begins_at_what_the_preset_says():
    with running(SERVE):
        fields = fresh()
        fields.preset = "quick"
        fields.override_steps = True  # no server yet: the field's own default
        assert fields.steps == 300
        fields.override_steps = False
        assert "label preset's" in drawn(panels.shape.LIMBECK_PT_shape)
        connect()
        shape, mesh = drawn(panels.shape.LIMBECK_PT_shape), drawn(panels.mesh.LIMBECK_PT_mesh)
        for line in ("label 300", "label 32", "label 40", "prop size = 1.0", "prop seed = 0"):
            assert line in shape.split("\n"), (line, shape)
        for line in ("label 96", "label automatic", "label 12000", "label 512"):
            assert line in mesh.split("\n"), (line, mesh)
        fields.override_mesh_resolution = True
        assert fields.mesh_resolution == 96
        assert "prop mesh_resolution = 96" in drawn(panels.mesh.LIMBECK_PT_mesh)
        fields.mesh_resolution = 64
        fields.preset = "standard"  # another preset costs no override
        assert fields.mesh_resolution == 64
        fields.override_mesh_resolution = False
        fields.override_mesh_resolution = True
        assert fields.mesh_resolution == 128
        fields.steps = 5  # a script sets the value first, the tick after it
        fields.override_steps = True
        assert fields.steps == 5
        fields.override_density_level, fields.override_render_size = True, True
        fields.render_size = 32
        fields.override_guidance_scale, fields.guidance_scale = True, 0.1
        settings = addon.recipe.settings_form.settings_from(fields, runtime.session().catalog)
        assert settings == {
            "guidance_scale": 0.1,
            "steps": 5,
            "render_size": [(0.0, 32)],
            "mesh_resolution": 128,
            "density_level": None,
        }, settings
        recipe = addon.recipe.panel_form.recipe_from(bpy.context.scene, runtime.session().catalog)
        assert recipe.settings.steps == 5
        close()


def the_panel_says_what_a_preset_changes():
    with running(SERVE):
        fields = fresh()
        connect()
        assert "'quick' would change" in sentences(preset_panel())
        assert "Render size: 64 -> 32" in sentences(preset_panel()), preset_panel()
        assert "Mesh resolution: 128 -> 96" in sentences(preset_panel())
        tip = addon.operators.guidance.LIMBECK_OT_choose.description
        properties = type("Properties", (), {"kind": "preset", "value": "quick"})
        assert "Render size: 64 -> 32" in tip(bpy.context, properties), tip(bpy.context, properties)
        assert "A first look" in tip(bpy.context, properties)
        # What is overridden stays, so another preset does not change it.
        fields.override_mesh_resolution, fields.mesh_resolution = True, 64
        text = preset_panel()
        assert "Mesh resolution: 128 -> 64" in sentences(text), text
        assert "Mesh resolution: 128 -> 96" not in sentences(text)
        assert "limbeck.clear_overrides" in text
        assert "setting=mesh_resolution" in text
        assert bpy.ops.limbeck.clear_overrides(setting="mesh_resolution") == {"FINISHED"}
        assert not fields.override_mesh_resolution
        assert not bpy.ops.limbeck.clear_overrides.poll()
        assert bpy.ops.limbeck.apply_preset() == {"FINISHED"}
        assert fields.override_texture_size
        assert fields.texture_size == 1024
        assert "'quick' would change" in sentences(preset_panel())
        assert "Render size: 64 -> 64, as the preset" not in preset_panel()
        assert "Render size: 64, as the preset" in sentences(preset_panel()), preset_panel()
        assert bpy.ops.limbeck.clear_overrides() == {"FINISHED"}
        assert addon.recipe.settings_form.overrides_of(fields) == {}
        close()


def ranges_are_the_protocol_s():
    ranges = addon.recipe.recipe_form.settings_ranges()
    assert ranges["steps"] == (1, 200_000)
    assert ranges["render_size"] == (16, 1024)
    assert ranges["density_level"] == (0.0, 1e6)
    assert ranges["guidance_scale"] == (0.0, 1000.0)
    addon.register()
    properties = bpy.context.scene.limbeck.bl_rna.properties
    for name in addon.recipe.settings_form.OVERRIDES:
        assert properties[name].hard_max == ranges[name][1], name
        assert properties[f"override_{name}"].description
        assert properties[name].description
    override = addon.properties.guidance.LIMBECK_loss_parameter.bl_rna.properties["override"]
    assert override.description == "Use a value of your own instead of the preset's"
    addon.unregister()


def values_read_well():
    shown, differences = catalog_view.shown, catalog_view.differences
    assert shown([[0.0, 64], [0.2, 512]]) == "64, 512 from 20%"
    assert shown([0.0, 0.9]) == "0 to 0.9"
    assert shown({"sampler": "product", "bandwidth": 0.5}) == "sampler product, bandwidth 0.5"
    assert shown({"orientation": [[0.0, 10.0], [0.5, 1000.0]]}) == "orientation 10, 1000 from 50%"
    assert (shown(None), shown(12_000), shown(0.1), shown("voxels"), shown({})) == (
        "automatic",
        "12000",
        "0.1",
        "voxels",
        "none",
    )
    assert shown(None, "density_level") == "automatic"
    assert (shown(None, "gradient_clamp"), shown(None, "pixel_clip")) == ("no limit", "no limit")
    (clip,) = differences({"pixel_clip": 0.1}, {"pixel_clip": None})
    assert (clip.before, clip.after) == ("0.1", "no limit")
    changed = differences({"a": 1, "b": 2.0}, {"b": 2, "c": [(0.0, 3)]})
    assert [(change.setting, change.before, change.after) for change in changed] == [("c", "", "3")]


def an_empty_catalog_refuses_nothing():
    from limbeck_protocol.messages import Catalog

    nothing = Catalog(losses=[], priors=[], presets=[])
    assert catalog_view.problem(nothing, loss="sds", prior="exact", preset="quick") == ""
    assert catalog_view.problem(None, loss="sds", prior="exact", preset="quick") == ""


def a_hub_id_takes_the_presets_of_the_prior_that_takes_any_text():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.prior, fields.preset, fields.loss = "owner/name", "standard", "nfsd"
        assert addon.recipe.settings_form.settings_problem(fields, runtime.session().catalog) == ""
        assert panels.choices.current_preset(fields)["steps"] == 25_000
        fields.prior = "nonsense"
        assert "The server has no prior 'nonsense'" in sentences(guidance())
        close()


harness.main(
    a_loss_and_a_preset_of_the_server_only_appear_and_reach_it,
    what_is_not_ticked_is_not_sent,
    values_stay_in_the_server_s_range,
    a_catalog_that_shrinks_is_a_sentence_and_loses_nothing,
    another_file_gets_its_parameters_too,
    an_override_begins_at_what_the_preset_says,
    the_panel_says_what_a_preset_changes,
    ranges_are_the_protocol_s,
    values_read_well,
    an_empty_catalog_refuses_nothing,
    a_hub_id_takes_the_presets_of_the_prior_that_takes_any_text,
)
