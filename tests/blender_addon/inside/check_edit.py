"""Editing a result against the real server (its worker makes a cube): the dialog's way, and why the button is grey."""

from __future__ import annotations

import time

import bpy
import harness
import numpy as np
from limbeck_protocol.recipe import recipe_from_json
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
    assert "has no field.safetensors" in reason()
    thing = made()
    assert reason() == ""
    thing["limbeck_job"] = "some-other-job"
    assert "does not list the job" in reason()
    assert not bpy.ops.limbeck.edit_result.poll()
    thing["limbeck_job"] = ""
    assert "does not list the job" in reason()
    runtime.session().leave()
    assert "No server is connected" in reason()
    assert not bpy.ops.limbeck.edit_result.poll()


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
    assert "prompt" in raised_by(lambda: bpy.ops.limbeck.edit_result(prompt="   ", blocking=True))
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
    unsaid = addon.recipe.branch.branch_into(bpy.context.scene, recipe, runtime.session().catalog, new_seed=False)
    assert any("began with another job's result" in sentence for sentence in unsaid), unsaid


harness.main(
    an_edit_starts_from_the_results_own_job_and_lands_beside_it,
    the_button_is_grey_with_a_reason,
    while_a_job_is_on_its_way_there_is_no_edit,
    an_edit_to_nothing_is_a_sentence,
    the_panel_has_the_button_and_branching_says_what_it_cannot_load,
)
