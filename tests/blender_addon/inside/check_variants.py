"""Variants against the real server (its worker makes a cube): all handed in at once, imported in a row as they end."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import bpy
import harness
import numpy as np
from pumping import pump_until

addon = harness.load_addon()
runtime = addon.runtime
State = addon.connection.session.SessionState


def fresh(prompt: str = "a red cube") -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    bpy.context.scene.limbeck.prompt = prompt
    return bpy.context.scene


def results() -> list[bpy.types.Object]:
    return sorted((thing for thing in bpy.data.objects if "limbeck_job" in thing), key=lambda thing: thing.location.x)


def field(thing: bpy.types.Object, name: str):
    return json.loads(thing["limbeck_recipe"])[name]


def states_on_server() -> dict[str, str]:
    with addon.api.connect(start_server=False) as client:
        return {job.job_id: str(job.state) for job in client.jobs().jobs}


def seeds_land_in_a_row():
    scene = fresh()
    scene.cursor.location, scene.limbeck.size, scene.limbeck.seed = (1.0, 2.0, 3.0), 2.0, 5
    assert bpy.ops.limbeck.variants("EXEC_DEFAULT", count=3, blocking=True, timeout_s=60) == {"FINISHED"}
    assert [field(thing, "seed") for thing in results()] == [5, 6, 7]
    assert np.allclose([thing.location for thing in results()], [(1.0, 2, 3), (3.5, 2, 3), (6.0, 2, 3)])
    assert [entry.job_id for entry in scene.limbeck.jobs] == [thing["limbeck_job"] for thing in results()]
    assert not any(entry.is_wanted or entry.trouble for entry in scene.limbeck.jobs)
    textures = {thing.data.materials[0].node_tree.nodes["Image Texture"].image.name for thing in results()}
    assert len(textures) == 3


def losses_land_in_a_row_and_all_jobs_are_handed_in_at_once():
    scene = fresh()
    scene.limbeck.override_steps, scene.limbeck.steps = True, 40  # two seconds
    assert bpy.ops.limbeck.variants(losses="sds, nfsd,csd") == {"FINISHED"}
    ids = [entry.job_id for entry in scene.limbeck.jobs]
    pump_until(lambda: set(ids) <= states_on_server().keys(), 10)
    assert len(addon.results.wanted_results.wanted_ids()) == 3
    assert not results()
    assert not bpy.ops.limbeck.variants.poll()
    runtime.wait(60)
    assert [field(thing, "loss") for thing in results()] == ["sds", "nfsd", "csd"]


def a_variant_that_fails_does_not_keep_the_others_back():
    scene = fresh("a failing cube")
    bpy.ops.limbeck.variants(count=1)
    scene.limbeck.prompt = "a red cube"
    pump_until(lambda: addon.results.wanted_results.troubles())
    assert addon.results.wanted_results.troubles() == [("a failing cube", "There is no surface to be found.")]
    session = runtime.session()
    pump_until(lambda: not session.is_busy)
    # One that the server refuses after the first was taken.
    recipe = addon.recipe.panel_form.recipe_from(scene)
    gryphon = addon.api.recipe_for("a gryphon")
    ids = runtime.wanted.submit(session, [recipe, gryphon, recipe])
    for job_id, prompt in zip(ids, ("a red cube", "a gryphon", "a red cube"), strict=True):
        runtime.remember(scene, job_id, prompt, addon.rig.placement.Placement(), is_wanted=True)
    pump_until(lambda: len(results()) == 2, 30)
    assert addon.results.wanted_results.troubles()[-1] == ("a gryphon", "The word 'gryphon' is not known.")
    assert not addon.results.wanted_results.wanted_ids()


def cancel_ends_the_rest_too():
    scene = fresh("a slow cube")
    scene.limbeck.override_steps, scene.limbeck.steps = True, 200
    bpy.ops.limbeck.variants(count=4)
    ids = [entry.job_id for entry in scene.limbeck.jobs]
    pump_until(lambda: set(ids) <= states_on_server().keys(), 10)
    assert bpy.ops.limbeck.cancel() == {"FINISHED"}
    pump_until(lambda: {states_on_server()[job_id] for job_id in ids} == {"cancelled"})
    assert not addon.results.wanted_results.wanted_ids()
    assert not results()
    while runtime.pump() is not None:
        time.sleep(0.01)


def after_saving_and_opening_the_rest_arrives():
    scene = fresh()
    scene.limbeck.override_steps, scene.limbeck.steps = True, 20
    bpy.ops.limbeck.variants(count=3)
    ids = [entry.job_id for entry in scene.limbeck.jobs]
    pump_until(lambda: len(results()) == 1)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "variants.blend")
        bpy.ops.wm.save_as_mainfile(filepath=file)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        addon.unregister()  # Blender is closed, and started again
        addon.register()
        pump_for(1.0)
        assert not results()
        bpy.ops.wm.open_mainfile(filepath=file)
        assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}
        assert [thing["limbeck_job"] for thing in results()] == ids
        assert np.allclose([thing.location.x for thing in results()], [0, 1.25, 2.5])
        fresh()


def pump_for(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        runtime.pump()
        time.sleep(0.01)


def an_undo_during_the_jobs_loses_none_and_brings_none_back():
    scene = fresh()
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.limbeck.variants(count=2)
    assert len(scene.limbeck.jobs) == 2
    scene.cursor.location.x = 5.0
    bpy.ops.ed.undo_push(message="moved the cursor")
    bpy.ops.ed.undo()
    assert not bpy.context.scene.limbeck.jobs  # Blender has taken the records away
    pump_until(lambda: len(results()) == 1)
    bpy.ops.ed.undo_push(message="first import")
    pump_until(lambda: len(results()) == 2)
    assert np.allclose([thing.location.x for thing in results()], [0, 1.25])
    bpy.ops.ed.undo_push(message="second import")
    bpy.ops.ed.undo()
    assert len(results()) == 1
    pump_for(1.0)
    assert len(results()) == 1  # what was undone stays undone
    assert not addon.results.wanted_results.wanted_ids()
    runtime.wait(30)


def what_cannot_be_varied_is_a_sentence():
    fresh()
    for losses in (" , ", "sds,sds"):
        error = str(harness.error_of(lambda losses=losses: bpy.ops.limbeck.variants(losses=losses), RuntimeError))
        assert "1 to 32 different ones were expected" in error
    assert "The prompt is empty" in str(
        harness.error_of(lambda: (fresh(""), bpy.ops.limbeck.variants(count=2)), RuntimeError)
    )
    assert not bpy.context.scene.limbeck.jobs


harness.main(
    seeds_land_in_a_row,
    losses_land_in_a_row_and_all_jobs_are_handed_in_at_once,
    a_variant_that_fails_does_not_keep_the_others_back,
    cancel_ends_the_rest_too,
    after_saving_and_opening_the_rest_arrives,
    an_undo_during_the_jobs_loses_none_and_brings_none_back,
    what_cannot_be_varied_is_a_sentence,
)
