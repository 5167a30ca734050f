"""Editing a result against the real server (its worker makes a cube): the dialog's way, and why the button is grey."""

from __future__ import annotations

import time

import bpy
import harness
import msgspec
import numpy as np
from limbeck_protocol.recipe import Settings, recipe_from_json
from recording import drawn

addon = harness.load_addon()
runtime = addon.runtime
edits = addon.operators.edits


def fresh() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    return bpy.context.scene


def made(prompt: str = "a red cube", **more) -> bpy.types.Object:
    """A result of the real server, connected and listed."""
    assert bpy.ops.limbeck.generate("EXEC_DEFAULT", prompt=prompt, steps=3, blocking=True, **more) == {"FINISHED"}
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}
    return bpy.context.active_object


def reason() -> str:
    return edits._reason_against(bpy.context.active_object)


def raised_by(action) -> str:
    return str(harness.error_of(action, RuntimeError))


def an_edit_starts_from_the_results_own_job_and_lands_beside_it():
    scene = fresh()
    first = made(seed=7, size=2.0)
    assert bpy.ops.limbeck.edit_result.poll(), reason()
    assert bpy.ops.limbeck.edit_result(prompt="  a blue cube ", blocking=True, timeout_s=30) == {"FINISHED"}
    second = bpy.context.active_object
    assert second is not first
    before, recipe = (recipe_from_json(thing["limbeck_recipe"]) for thing in (first, second))
    assert (recipe.prompt, recipe.loss, recipe.seed, recipe.rig) == ("a blue cube", "dds", 7, before.rig)
    assert (recipe.start.job_id, recipe.start.prompt) == (first["limbeck_job"], "a red cube")
    assert not before.start
    assert np.allclose(second.location, (2.5, 0, 0), atol=1e-5), second.location
    assert second["limbeck_size"] == 2.0
    assert scene.limbeck.prompt == ""
    lines = addon.api.compare(first, second).splitlines()
    assert f"start.job_id: - -> '{first['limbeck_job']}'" in lines, lines
    # An edit can be edited, and run again.
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}
    assert bpy.ops.limbeck.edit_result(prompt="a green cube", blocking=True, timeout_s=30) == {"FINISHED"}
    third = recipe_from_json(bpy.context.active_object["limbeck_recipe"])
    assert (third.start.job_id, third.start.prompt) == (second["limbeck_job"], "a blue cube")
    assert bpy.ops.limbeck.rerun(blocking=True, timeout_s=30) == {"FINISHED"}
    assert bpy.context.active_object["limbeck_recipe"] == addon.results.recipe_on_object.recipe_to_json(third)


def the_button_is_grey_with_a_reason():
    fresh()
    assert not bpy.ops.limbeck.edit_result.poll()
    thing = made("a fieldless cube")
    assert not bpy.ops.limbeck.edit_result.poll()
    assert reason() == "This result was made by an older Limbeck. Press Re-run, then edit that."
    thing = made()
    assert reason() == ""
    for nonsense in ("", 7, "x", "../../other"):
        thing["limbeck_job"] = nonsense
        assert reason() == "This object does not say which job made it. Press Re-run, then edit that."
        assert not bpy.ops.limbeck.edit_result.poll()
    runtime.session().leave()
    assert "No server is connected" in reason()
    assert not bpy.ops.limbeck.edit_result.poll()


def a_job_that_is_no_longer_listed_is_asked_for_once():
    fresh()
    thing, session = made(), runtime.session()

    def forget() -> None:
        session.followed, session.jobs = None, []  # as after twenty others

    asked = []
    ask = session.ask

    def counted(purpose, message, *handlers) -> None:
        if purpose.startswith("look up"):
            asked.append(message.job_id)
        ask(purpose, message, *handlers)

    session.ask = counted
    forget()
    assert reason() == ""
    assert bpy.ops.limbeck.edit_result.poll()
    assert asked == []  # nothing is asked while drawing
    assert edits._job_of(thing).job_id == edits._job_of(thing).job_id == thing["limbeck_job"]
    assert asked == [thing["limbeck_job"]]
    assert bpy.ops.limbeck.edit_result(prompt="a blue cube", blocking=True, timeout_s=30) == {"FINISHED"}
    assert bpy.context.active_object is not thing
    # One that the server does not have: the button says so from then on.
    bpy.context.view_layer.objects.active = thing
    thing["limbeck_job"] = "some-other-job"
    assert bpy.ops.limbeck.edit_result.poll()
    said = raised_by(lambda: bpy.ops.limbeck.edit_result(prompt="a blue cube", blocking=True))
    assert "does not have the job that made this. Press Re-run, then edit that." in said, said
    assert not bpy.ops.limbeck.edit_result.poll()
    assert "does not have the job that made this. Press Re-run, then edit that." in reason()
    assert asked.count("some-other-job") == 1
    del session.ask


def a_fieldless_job_that_is_not_listed_says_why_when_pressed():
    fresh()
    thing, session = made("a fieldless cube"), runtime.session()
    session.followed, session.jobs = None, []
    assert bpy.ops.limbeck.edit_result.poll()
    said = raised_by(lambda: bpy.ops.limbeck.edit_result(prompt="a blue cube", blocking=True))
    assert "This result was made by an older Limbeck. Press Re-run, then edit that." in said, said
    assert not bpy.ops.limbeck.edit_result.poll()
    assert [other for other in bpy.data.objects if "limbeck_job" in other] == [thing]


def while_a_job_is_on_its_way_there_is_no_edit():
    scene = fresh()
    made()
    scene.limbeck.prompt = "a slow cube"
    assert bpy.ops.limbeck.generate("EXEC_DEFAULT", steps=60) == {"FINISHED"}
    assert not bpy.ops.limbeck.edit_result.poll()
    assert bpy.ops.limbeck.cancel(blocking=True) == {"FINISHED"}
    deadline = time.monotonic() + 20
    while runtime.session().is_busy:
        assert time.monotonic() < deadline
        runtime.pump()
        time.sleep(0.01)


def an_edit_to_nothing_is_a_sentence():
    fresh()
    thing = made()
    panel = addon.panel_state
    generate = raised_by(lambda: bpy.ops.limbeck.generate("EXEC_DEFAULT", prompt="   ", blocking=True))
    for prompt, words in (
        ("   ", "The prompt is empty. Write what to make, for example 'a yellow duck'."),
        (" a red  cube", "The prompt is the result's own, so there is nothing to edit. Change the prompt: write"),
    ):
        said = raised_by(lambda prompt=prompt: bpy.ops.limbeck.edit_result(prompt=prompt, blocking=True))
        assert words in said, said
        # Its button opens no field of the panel: that prompt is another one.
        assert panel.remedy_button(runtime.session().error.remedy).operator == "limbeck.dismiss_error"
    assert "The prompt is empty." in generate, generate
    assert "'gryphon' is not known" in raised_by(
        lambda: bpy.ops.limbeck.edit_result(prompt="a gryphon", blocking=True, timeout_s=30)
    )
    assert [other for other in bpy.data.objects if "limbeck_job" in other] == [thing]


def the_panel_has_the_button_and_branching_says_what_it_cannot_load():
    fresh()
    made()
    text = drawn(addon.panels.results.LIMBECK_PT_result)
    assert "limbeck.edit_result" in text, text
    assert bpy.ops.limbeck.edit_result(prompt="a blue cube", blocking=True, timeout_s=30) == {"FINISHED"}
    recipe = addon.results.recipe_on_object.read_origin(bpy.context.active_object).recipe
    recipe = msgspec.structs.replace(recipe, preset="dds", settings=Settings(steps=9, texture_size=512))
    unsaid = addon.recipe.branch.branch_into(bpy.context.scene, recipe, runtime.session().catalog, new_seed=False)
    assert any("began with another job's result" in sentence for sentence in unsaid), unsaid
    assert any("'dds' edits a result; the panel has 'sds'" in sentence for sentence in unsaid), unsaid
    fields = bpy.context.scene.limbeck
    assert (fields.prompt, fields.loss, fields.preset) == ("a blue cube", "sds", "standard")
    assert (fields.override_steps, fields.override_texture_size, fields.texture_size) == (False, True, 512)


def the_panel_offers_no_loss_that_edits():
    scene = fresh()
    made()
    view, catalog = addon.recipe.catalog_view, runtime.session().catalog
    assert "dds" in [loss.name for loss in catalog.losses]
    assert "dds" not in drawn(addon.panels.choices.LIMBECK_MT_losses)
    assert "sds" in drawn(addon.panels.choices.LIMBECK_MT_losses)
    assert "dds" not in addon.properties.guidance.suggest("loss")(None, None, "")
    sentence = "'dds' edits a result: select one and press Edit."
    assert view.problem(catalog, loss="dds", prior="exact", preset="quick") == sentence
    assert view.problem(None, loss="dds", prior="exact", preset="quick") == sentence
    scene.limbeck.prompt = "a red cube"
    assert sentence in raised_by(lambda: bpy.ops.limbeck.variants(losses="sds, dds", blocking=True))


harness.main(
    an_edit_starts_from_the_results_own_job_and_lands_beside_it,
    the_button_is_grey_with_a_reason,
    a_job_that_is_no_longer_listed_is_asked_for_once,
    a_fieldless_job_that_is_not_listed_says_why_when_pressed,
    while_a_job_is_on_its_way_there_is_no_edit,
    an_edit_to_nothing_is_a_sentence,
    the_panel_has_the_button_and_branching_says_what_it_cannot_load,
    the_panel_offers_no_loss_that_edits,
)
