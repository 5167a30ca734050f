"""Parameters of a loss that are a choice: a menu, a text in the file, one of the server's words on the way out.

Argument: the serving script. MSD is the loss: it has both kinds.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import bpy
import harness
from own_server import running
from recording import drawn, sentences

addon = harness.load_addon()
runtime, panels = addon.runtime, addon.panels
SERVE = sys.argv[1]
FLOAT = 1e-6


def fresh():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    bpy.context.scene.limbeck.prompt = "a red cube"
    return bpy.context.scene.limbeck


def connect() -> None:
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}


def close() -> None:
    runtime.session().leave()
    addon.unregister()


def item(name: str):
    return bpy.context.scene.limbeck.loss_parameters.get(name)


def guidance() -> str:
    return drawn(panels.guidance.LIMBECK_PT_guidance)


def problem() -> str:
    """Return why the panel's button cannot be pressed."""
    return addon.recipe.panel_form.missing_field(bpy.context.scene, runtime.session().catalog)


def parameter_menu(parameter) -> str:
    with bpy.context.temp_override(limbeck_loss_parameter=parameter):
        return drawn(panels.choices.LIMBECK_MT_parameter)


def a_choice_is_a_menu_and_reaches_the_server():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.loss, fields.preset = "msd", "quick"
        before = item("msd/sampler").choice
        assert before in ("splitting", "product")
        assert "splitting or product. How y is drawn" in sentences(guidance()), guidance()
        assert "shared_noise, inversion or mean." in sentences(guidance())
        # Where the label is cut, the text below says it whole.
        assert "Bandwidth min: 0.0001 to 100000. Width" in sentences(guidance())
        assert "LIMBECK_MT_parameter" not in guidance()  # greyed until it is overridden
        item("msd/bandwidth_decay").override = True
        assert "menu LIMBECK_MT_parameter geometric" in guidance(), guidance()
        text = parameter_menu(item("msd/bandwidth_decay"))
        for choice in ("geometric", "linear"):
            assert f"limbeck.set_loss_parameter {choice} parameter=bandwidth_decay choice={choice}" in text, text
        assert bpy.ops.limbeck.set_loss_parameter(parameter="bandwidth_decay", choice="linear") == {"FINISHED"}
        assert "menu LIMBECK_MT_parameter linear" in guidance()
        assert bpy.ops.limbeck.set_loss_parameter(parameter="sampler", choice="product") == {"FINISHED"}
        assert bpy.ops.limbeck.set_loss_parameter(parameter="bandwidth", value=0.5) == {"FINISHED"}
        assert bpy.ops.limbeck.set_loss_parameter(parameter="bandwidth_min", value=0.1) == {"FINISHED"}
        sent = {"sampler": "product", "bandwidth": 0.5, "bandwidth_min": 0.1, "bandwidth_decay": "linear"}
        assert addon.recipe.settings_form.loss_parameters_of(fields, runtime.session().catalog) == sent
        assert bpy.ops.limbeck.generate(blocking=True, timeout_s=60) == {"FINISHED"}
        recipe = runtime.session().followed.info.recipe
        assert {name: recipe.settings.loss_parameters[name] for name in sent} == sent
        for other in bpy.context.scene.limbeck.loss_parameters:
            other.override = False
        unsaid = addon.recipe.branch.branch_into(bpy.context.scene, recipe, runtime.session().catalog, new_seed=False)
        assert not any("loss_parameters" in sentence for sentence in unsaid), unsaid
        again = addon.recipe.settings_form.loss_parameters_of(fields, runtime.session().catalog)
        assert {name: again.get(name) for name in sent} == sent, again
        close()


def a_choice_that_makes_no_sense_is_a_sentence():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.loss, fields.preset = "msd", "quick"
        for named, words in (
            ({"parameter": "sampler", "choice": "magic"}, "'sampler' of the loss 'msd' is splitting or product"),
            ({"parameter": "sampler", "value": 1.0}, "is splitting or product; got '1.0'"),
            ({"parameter": "bandwidth", "choice": "wide"}, "is a number, 0.0001 to 100000; got 'wide'"),
        ):
            said = harness.error_of(functools.partial(bpy.ops.limbeck.set_loss_parameter, **named), RuntimeError)
            assert words in str(said), said
        assert addon.recipe.settings_form.loss_parameters_of(fields, runtime.session().catalog) == {}
        sampler = item("msd/sampler")
        sampler.override, sampler.choice = True, "magic"  # a script may write anything
        sentence = "Sampler of the loss 'msd' must be splitting or product; it is 'magic'."
        assert sentence in sentences(guidance()), guidance()
        assert problem() == sentence
        close()


def a_choice_outlives_the_file_and_a_server_that_forgets_it():
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "choice.blend")
        with running(SERVE):
            fields = fresh()
            connect()
            fields.loss, fields.preset = "msd", "quick"
            assert bpy.ops.limbeck.set_loss_parameter(parameter="sampler", choice="product") == {"FINISHED"}
            bpy.ops.wm.save_as_mainfile(filepath=path)
            close()
        fresh()
        bpy.ops.wm.open_mainfile(filepath=path)
    assert runtime.session().catalog is None
    sampler, fields = item("msd/sampler"), bpy.context.scene.limbeck
    assert (sampler.override, sampler.choice) == (True, "product")
    assert "ERROR" not in guidance()  # nobody has said yet that it is wrong
    assert addon.recipe.settings_form.loss_parameters_of(fields, None) == {"sampler": "product"}
    assert "A server that is connected" in parameter_menu(sampler)
    with running(SERVE, "narrow"):
        connect()
        sentence = "Sampler of the loss 'msd' must be splitting; it is 'product'."
        assert sentence in sentences(guidance()), guidance()
        assert problem() == sentence
        assert "menu LIMBECK_MT_parameter product" in guidance()
        runtime.session().leave()
    with running(SERVE):
        connect()
        assert item("msd/sampler").choice == "product"
        assert problem() == ""
        close()


def an_override_of_a_parameter_begins_at_what_the_preset_says():
    with running(SERVE):
        fields = fresh()
        connect()
        fields.loss, fields.preset = "msd", "steady"
        assert "label product" in guidance(), guidance()  # greyed, the preset's
        item("msd/sampler").override = True
        item("msd/bandwidth").override = True
        assert item("msd/sampler").choice == "product"
        assert abs(item("msd/bandwidth").value - 0.75) < FLOAT
        item("msd/sampler").override = False
        assert bpy.ops.limbeck.set_loss_parameter(parameter="sampler") == {"FINISHED"}
        assert item("msd/sampler").choice == "product"
        item("msd/bandwidth_min").value = 0.25  # a script sets the value first, the tick after it
        item("msd/bandwidth_min").override = True
        assert item("msd/bandwidth_min").value == 0.25
        close()


harness.main(
    a_choice_is_a_menu_and_reaches_the_server,
    a_choice_that_makes_no_sense_is_a_sentence,
    a_choice_outlives_the_file_and_a_server_that_forgets_it,
    an_override_of_a_parameter_begins_at_what_the_preset_says,
)
