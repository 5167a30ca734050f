"""The session against the real server (its worker makes a cube): driven by `pump()` in a loop, as by a timer."""

from __future__ import annotations

import json
import time

import bpy
import harness
import numpy as np
from limbeck_protocol import messages
from limbeck_protocol.job_states import JobState
from limbeck_protocol.recipe import Recipe
from pumping import Ticks, pump_dry, pump_until

addon = harness.load_addon()
runtime = addon.runtime
State = addon.connection.session.SessionState


def fresh(prompt: str = "a red cube"):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    bpy.context.scene.limbeck.prompt = prompt
    return bpy.context.scene


def results() -> list[bpy.types.Object]:
    return [thing for thing in bpy.data.objects if "limbeck_job" in thing]


def generate_follows_previews_and_imports_where_it_was_asked():
    scene = fresh()
    scene.cursor.location = (1.0, 2.0, 3.0)
    scene.limbeck.size = 2.0
    assert bpy.ops.limbeck.generate() == {"FINISHED"}
    scene.cursor.location = (9.0, 9.0, 9.0)  # what happens later does not move the result
    session = runtime.session()
    assert session.state is State.CONNECTING
    assert session.is_busy
    assert not bpy.ops.limbeck.generate.poll()
    previews, bars, ticks = set(), set(), Ticks()
    seen, deadline = set(), time.monotonic() + 30
    while not results():
        ticks.pump() if session.state is State.FOLLOWING else runtime.pump()
        seen.add(session.state)
        previews.add(session.followed.generation)
        bars.add(addon.status_text.progress_bar(session))
        assert session.error is None, session.error
        assert time.monotonic() < deadline, session.state
        time.sleep(0.02)
    assert {State.SUBMITTING, State.FOLLOWING, State.FETCHING} <= seen, seen
    assert len(previews) >= 3, previews
    assert any(text.startswith("Distilling") and "/10" in text and "left" in text for _, text in filter(None, bars)), (
        bars
    )
    assert ticks.share(1.0) < 0.1, ticks.share(1.0)
    print(f"longest pump while following: {1000 * ticks.share(1.0):.1f} ms; previews seen: {len(previews)}")
    (result,) = results()
    assert tuple(result.location) == (1.0, 2.0, 3.0)
    assert result.name == "Red cube"
    bpy.context.view_layer.update()
    assert np.allclose(result.dimensions, 2.0)
    assert result["limbeck_job"] == session.followed.job_id == scene.limbeck.jobs[-1].job_id
    recipe = json.loads(result["limbeck_recipe"])
    assert (recipe["prompt"], recipe["versions"]) == ("a red cube", {"cube": "1"})
    assert json.loads(result["limbeck_metrics"])["iou"] == 0.9
    pump_dry()
    assert session.state is State.READY
    assert runtime.preview.size == (16, 16)
    assert session.catalog.losses[0].name == "sds"
    assert session.jobs[0].job_id == session.followed.job_id


def without_import_when_done_the_mesh_waits():
    scene = fresh()
    scene.limbeck.import_when_done = False
    assert bpy.ops.limbeck.generate(blocking=True, timeout_s=30) == {"FINISHED"}
    assert not results()
    assert "waits to be imported" in runtime.session().followed.notice
    assert bpy.ops.limbeck.import_result(blocking=True, timeout_s=30) == {"FINISHED"}
    assert len(results()) == 1
    job_id = results()[0]["limbeck_job"]
    assert bpy.ops.limbeck.import_result(job_id=job_id, blocking=True, timeout_s=30) == {"FINISHED"}
    assert len(results()) == 2


def cancel_ends_the_job_on_the_server():
    from limbeck_protocol.job_states import JobState

    fresh()
    bpy.ops.limbeck.generate()
    session = runtime.session()
    pump_until(lambda: session.followed.generation >= 1, awaited=True)
    begun = time.monotonic()
    assert bpy.ops.limbeck.cancel(blocking=True) == {"FINISHED"}
    assert time.monotonic() - begun < 5
    assert session.followed.info.state is JobState.CANCELLED
    assert session.followed.notice == "Cancelled."
    assert session.state is State.READY
    assert not results()
    assert bpy.ops.limbeck.generate.poll()


def cancel_before_there_is_a_server_forgets_the_job():
    fresh()
    bpy.ops.limbeck.generate()
    runtime.session().cancel()
    pump_dry()
    assert not runtime.session().is_busy
    assert runtime.session().followed.info is None


def a_failed_job_shows_its_sentence_and_remedy():
    fresh("a failing cube")
    error = raised_by(lambda: bpy.ops.limbeck.generate(blocking=True, timeout_s=30))
    assert "There is no surface to be found." in error, error
    assert "Run more steps" in error, error
    assert runtime.session().error.code == "NO_SURFACE"
    assert runtime.session().state is State.READY
    assert bpy.ops.limbeck.generate.poll()  # and the next one may come


def a_recipe_that_the_server_refuses_shows_its_sentence():
    fresh("a gryphon")
    error = raised_by(lambda: bpy.ops.limbeck.generate(blocking=True, timeout_s=30))
    assert "The word 'gryphon' is not known." in error, error
    assert not runtime.session().is_busy


def a_hostile_mesh_is_refused_and_leaves_nothing():
    fresh("a broken cube")
    before = harness.data_blocks()
    error = raised_by(lambda: bpy.ops.limbeck.generate(blocking=True, timeout_s=30))
    assert "its faces name vertices" in error, error
    assert harness.data_blocks() == before
    assert runtime.session().state is State.READY


def what_blender_refuses_is_a_sentence_and_leaves_nothing():
    """Metrics that no property can hold, as a strange server might send them."""
    fresh()
    before = harness.data_blocks()
    info = messages.JobInfo(
        job_id="job-0001",
        state=JobState.SUCCEEDED,
        recipe=Recipe(prompt="a duck"),
        created=0.0,
        metrics={"odd": b"bytes"},
    )
    error = harness.error_of(lambda: runtime.deliver(info, harness.cube_arrays(addon)))
    assert "Blender could not take the mesh in" in str(error), error
    assert harness.data_blocks() == before


def a_job_that_was_not_handed_in_is_forgotten_with_the_server():
    fresh()
    session = runtime.session()
    session.submit(Recipe(prompt="a duck"))
    assert session.is_unfinished
    session.give_up()
    assert not session.is_unfinished
    assert session.followed.notice == "It was not handed in."


def raised_by(action) -> str:
    """Return an operator's error report; Blender passes it to scripts as a RuntimeError."""
    return str(harness.error_of(action, RuntimeError))


def a_job_is_taken_up_again_after_blender_was_closed():
    import tempfile
    from pathlib import Path

    fresh()
    bpy.ops.limbeck.generate()
    session = runtime.session()
    pump_until(lambda: session.followed.generation >= 1, awaited=True)
    job_id = session.followed.job_id
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "work.blend")
        bpy.ops.wm.save_as_mainfile(filepath=file)
        addon.unregister()  # as closing Blender does: the session is gone
        bpy.ops.wm.read_factory_settings(use_empty=True)
        addon.register()
        bpy.ops.wm.open_mainfile(filepath=file)
        assert bpy.ops.limbeck.refresh() == {"FINISHED"}
        pump_until(results, awaited=True)
        assert results()[0]["limbeck_job"] == job_id
        # Taken up without the wish for its mesh, it is followed only.
        bpy.context.scene.limbeck.import_when_done = False
        assert addon.operators.server.jobs_of(bpy.context.scene) == {job_id: False}
        assert addon.panel_watch.own_jobs() == {job_id: False}
        bpy.ops.wm.read_factory_settings(use_empty=True)


def a_job_of_another_file_lands_in_the_scene_that_asks_for_it():
    fresh()
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}
    done = [job for job in runtime.session().jobs if job.state == "succeeded" and job.recipe.prompt == "a red cube"]
    bpy.context.scene.cursor.location = (5.0, 0.0, 0.0)
    assert bpy.ops.limbeck.import_result(job_id=done[-1].job_id, blocking=True, timeout_s=30) == {"FINISHED"}
    assert tuple(results()[0].location) == (5.0, 0.0, 0.0)


def an_unknown_job_is_an_error():
    fresh()
    assert "asked for no job" in raised_by(lambda: bpy.ops.limbeck.import_result(blocking=True))
    assert "job" in raised_by(lambda: bpy.ops.limbeck.import_result(job_id="no-such-job-1", blocking=True))


def a_deleted_result_or_an_undone_scene_does_not_matter():
    scene = fresh()
    bpy.ops.limbeck.generate()
    session = runtime.session()
    pump_until(lambda: session.state is State.FOLLOWING, awaited=True)
    bpy.data.scenes.new("Other")
    bpy.data.scenes.remove(scene)  # the scene that asked is gone: the mesh still arrives
    pump_until(results, awaited=True)
    assert results()[0].users_collection[0].name == "Limbeck"


harness.main(
    generate_follows_previews_and_imports_where_it_was_asked,
    without_import_when_done_the_mesh_waits,
    cancel_ends_the_job_on_the_server,
    cancel_before_there_is_a_server_forgets_the_job,
    a_failed_job_shows_its_sentence_and_remedy,
    a_recipe_that_the_server_refuses_shows_its_sentence,
    a_hostile_mesh_is_refused_and_leaves_nothing,
    what_blender_refuses_is_a_sentence_and_leaves_nothing,
    a_job_that_was_not_handed_in_is_forgotten_with_the_server,
    a_job_is_taken_up_again_after_blender_was_closed,
    a_job_of_another_file_lands_in_the_scene_that_asks_for_it,
    an_unknown_job_is_an_error,
    a_deleted_result_or_an_undone_scene_does_not_matter,
)
