"""`api.generate` and its parts against the real server (with a worker that makes a cube)."""

from __future__ import annotations

import json
import math
import time

import bpy
import harness
import numpy as np
from limbeck_protocol.errors import ErrorCode

addon = harness.load_addon()
api = addon.api


def fresh() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def new_camera(name: str, azimuth_deg: float) -> bpy.types.Object:
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    angle = math.radians(azimuth_deg)
    camera.location = (4 * math.sin(angle), -4 * math.cos(angle), 0.0)
    camera.rotation_euler = (math.pi / 2, 0.0, angle)
    bpy.context.scene.collection.objects.link(camera)
    return camera


def generate_returns_the_object_and_tells_how_it_goes():
    fresh()
    cameras = [new_camera("Front", 0), new_camera("Left", 90)]
    cameras[1]["limbeck_weight"] = 3.0
    progress, previews = [], []
    result = api.generate(
        "a red cube",
        cameras=cameras,
        orbit={"elevation_deg": (0.0, 30.0)},
        location=(0.0, 0.0, 1.0),
        size=2.0,
        seed=5,
        settings={"steps": 12},
        on_progress=progress.append,
        on_preview=previews.append,
        start_server=False,
        timeout_s=60,
    )
    assert isinstance(result, bpy.types.Object)
    assert result.name == "Red cube"
    assert tuple(result.location) == (0.0, 0.0, 1.0)
    bpy.context.view_layer.update()
    assert np.allclose(result.dimensions, 2.0)
    assert len(result["limbeck_job"]) == 26
    recipe = json.loads(result["limbeck_recipe"])
    assert (recipe["seed"], recipe["settings"]["steps"]) == (5, 12)
    assert recipe["rig"]["orbit"]["elevation_deg"] == [0.0, 30.0]
    assert recipe["rig"]["cameras"]["weight"] == [1.0, 3.0]
    # Two object units are four scene units; the centre is one above the ground, the camera on it: half a unit below.
    assert np.allclose(np.array(recipe["rig"]["cameras"]["camera_to_world"])[0, :3, 3], (0, -2, -0.5), atol=1e-6)
    assert progress[-1].step <= 12
    assert previews[-1].image.shape == (16, 16, 3)
    assert [p.generation for p in previews] == sorted({p.generation for p in previews})


def submit_wait_and_import_are_its_parts():
    fresh()
    job = api.submit(api.recipe_for("a blue cube"), start_server=False)
    assert api.wait(job, timeout_s=60).state == "succeeded"
    result = api.import_job(job, location=(1, 0, 0), size=0.5)
    assert (result.name, result["limbeck_job"]) == ("Blue cube", job.job_id)
    assert tuple(result.location) == (1, 0, 0)
    assert api.recipe_for("a cube").rig.cameras is None
    camera = new_camera("Front", 0)
    assert api.recipe_for("a cube", cameras=[camera]).rig.orbit is None
    assert api.recipe_for("a cube", cameras=[camera], orbit=True).rig.orbit is not None


def edit_turns_a_finished_job_into_something_else():
    fresh()
    red = api.generate("a red cube", seed=5, location=(1, 0, 0), size=2.0, settings={"steps": 4, "texture_size": 512})
    blue = api.edit(red, " a blue cube", timeout_s=60)
    assert blue is not red
    recipe = api.recipe_of(blue)
    assert (recipe.prompt, recipe.loss, recipe.seed) == ("a blue cube", "dds", 5)
    assert (recipe.start.job_id, recipe.start.prompt) == (red["limbeck_job"], "a red cube")
    assert recipe.settings.texture_size == 512
    assert np.allclose(blue.location, (3.5, 0, 0), atol=1e-5)
    assert blue["limbeck_size"] == 2.0
    green = api.edit(blue["limbeck_job"], "a green cube", settings={"steps": 3}, seed=6, location=(0, 5, 0), size=0.5)
    recipe = api.recipe_of(green)
    assert (recipe.start.job_id, recipe.start.prompt) == (blue["limbeck_job"], "a blue cube")
    assert (recipe.seed, recipe.settings.steps, recipe.settings.texture_size) == (6, 3, 512)
    assert (tuple(green.location), green["limbeck_size"]) == ((0, 5, 0), 0.5)
    before = harness.data_blocks()
    fieldless = api.submit("a fieldless cube")
    fieldless.wait(timeout_s=60)
    for attempt, words in (
        (lambda: api.edit(red, "  "), "The prompt is empty."),
        (lambda: api.edit(red, "a blue cube", settings={"stepz": 3}), "stepz"),
        (lambda: api.edit("01JD4ZK7Q5R8M2N3P4S5T6V7W8", "a blue cube"), "no job"),
        (lambda: api.edit(fieldless, "a blue cube"), "an older release made it"),
        (lambda: api.edit(new_camera("Front", 0), "a blue cube"), "carries no recipe"),
    ):
        error = harness.error_of(attempt)
        assert words in error.message, error
    assert harness.data_blocks()["meshes"] == before["meshes"]


def failures_say_what_to_do_and_leave_nothing():
    fresh()
    before = harness.data_blocks()
    cases = {
        "a gryphon": (ErrorCode.UNKNOWN_WORD, "The word 'gryphon' is not known."),
        "a failing cube": (ErrorCode.NO_SURFACE, "There is no surface to be found."),
        "a broken cube": (ErrorCode.BAD_FRAME, "its faces name vertices"),
    }
    for prompt, (code, sentence) in cases.items():
        error = harness.error_of(lambda prompt=prompt: api.generate(prompt, start_server=False, timeout_s=60))
        assert (error.code, sentence in error.message) == (code, True), error
        assert harness.data_blocks() == before


def a_job_submitted_twice_under_one_id_is_one_job():
    fresh()
    recipe = api.recipe_for("a red cube")
    first, second = (api.submit(recipe, job_id="my-own-job-1", start_server=False) for _ in range(2))
    assert first.job_id == second.job_id == "my-own-job-1"
    first.wait(timeout_s=60)
    with api.connect(start_server=False) as client:
        assert [job.job_id for job in client.jobs().jobs].count("my-own-job-1") == 1
    error = harness.error_of(lambda: api.submit(recipe, seed=3, start_server=False))
    assert (error.code, "seed" in error.message) == (ErrorCode.INVALID_FIELD, True)


def a_job_lands_where_the_file_remembers_and_is_an_asset_if_wanted():
    fresh()
    addon.register()
    job = api.submit("a red cube", location=(1, 2, 3), size=0.5, start_server=False)
    entry = bpy.context.scene.limbeck.jobs[job.job_id]
    assert tuple(entry.location) == (1, 2, 3)
    again = api.Job(job.job_id)  # as another script would, in the saved file
    again.wait(timeout_s=60)
    thing = again.import_mesh(as_asset=True)
    assert tuple(thing.location) == (1, 2, 3)
    assert thing["limbeck_size"] == 0.5
    assert thing.asset_data is not None
    assert tuple(thing.preview.image_size) == (16, 16)
    assert tuple(again.import_mesh(location=(0, 0, 0)).location) == (0, 0, 0)
    addon.unregister()


def a_timeout_leaves_the_job_running_and_it_can_be_fetched_later():
    fresh()
    begun = time.monotonic()
    error = harness.error_of(
        lambda: api.generate("a slow cube", settings={"steps": 40}, start_server=False, timeout_s=1.0)
    )
    assert error.code == ErrorCode.TIMEOUT
    assert time.monotonic() - begun < 4
    with api.connect(start_server=False) as client:
        job = client.jobs().jobs[0]
        unready = harness.error_of(lambda: api.import_job(job.job_id, client=client))
        assert unready.code == ErrorCode.BAD_STATE
    api.wait(job.job_id, timeout_s=60)
    assert api.import_job(job.job_id).name == "Slow cube"


def a_cancelled_job_is_an_error_that_says_so():
    fresh()
    job = api.submit("a slow cube", settings={"steps": 100}, start_server=False)
    assert job.cancel().job_id == job.job_id
    error = harness.error_of(lambda: job.wait(timeout_s=60))
    assert error.code == ErrorCode.CANCELLED
    assert harness.error_of(job.import_mesh).code == ErrorCode.BAD_STATE
    assert job.info.state == "cancelled"
    assert harness.error_of(lambda: api.import_job("no-such-job-1")).code == ErrorCode.JOB_NOT_FOUND


harness.main(
    generate_returns_the_object_and_tells_how_it_goes,
    submit_wait_and_import_are_its_parts,
    edit_turns_a_finished_job_into_something_else,
    a_job_submitted_twice_under_one_id_is_one_job,
    a_job_lands_where_the_file_remembers_and_is_an_asset_if_wanted,
    failures_say_what_to_do_and_leave_nothing,
    a_timeout_leaves_the_job_running_and_it_can_be_fetched_later,
    a_cancelled_job_is_an_error_that_says_so,
)
