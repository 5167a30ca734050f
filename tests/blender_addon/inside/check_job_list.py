"""The jobs list: there again after a restart of Blender or of the server. Argument: the serving script."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import bpy
import harness
import numpy as np
from limbeck_protocol.job_states import JobState
from own_server import running
from pumping import pump_until
from recording import Recorder, drawn, sentences

addon = harness.load_addon()
runtime, panels = addon.runtime, addon.panels
job_list, panel_watch = addon.job_list, addon.panel_watch
SERVE = sys.argv[1]
PANEL = panels.jobs.LIMBECK_PT_jobs


def fresh(prompt: str = "a red cube", steps: int = 2):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    job_list.is_panel_open = lambda: True  # there is no window here
    fields = bpy.context.scene.limbeck
    fields.prompt, fields.preset, fields.loss = prompt, "quick", "sds"
    fields.steps = steps
    fields.override_steps = True
    fields.import_when_done = False
    return fields


def close() -> None:
    """Leave nothing, as closing Blender does: the session is gone, the jobs are on the server."""
    addon.unregister()


def generate(seed: int, prompt: str = "a red cube") -> str:
    fields = bpy.context.scene.limbeck
    fields.seed, fields.prompt = seed, prompt
    assert bpy.ops.limbeck.generate(blocking=True, timeout_s=60) == {"FINISHED"}
    return runtime.session().followed.job_id


def row_of(job_id: str) -> str:
    """Return what is drawn for one row of the list."""
    seen: list[str] = []
    mirror = bpy.context.window_manager.limbeck
    row = next(row for row in mirror.rows if row.job_id == job_id)
    panels.jobs.LIMBECK_UL_jobs.draw_item(
        SimpleNamespace(), bpy.context, Recorder(seen), mirror, row, 0, mirror, "selected"
    )
    return "\n".join(seen)


def select(job_id: str) -> None:
    mirror = bpy.context.window_manager.limbeck
    mirror.selected = [row.job_id for row in mirror.rows].index(job_id)


def look() -> None:
    """What the timer does until the server's first answers are here."""
    assert panel_watch.tick() == panel_watch.BUSY_S
    pump_until(lambda: runtime.session().catalog is not None and runtime.session().jobs)


def without_a_server_the_first_look_is_silent_and_starts_none():
    fresh()
    job_list.is_panel_open = lambda: False
    assert panel_watch.tick() == panel_watch.FIRST_LOOK_S
    assert runtime._session is None  # not even a session was made
    job_list.is_panel_open = lambda: True
    assert panel_watch.tick() == panel_watch.IDLE_S
    # A program that cannot be read must not end the timer: what is raised out of it is gone for good.
    page, chosen = addon.preferences.current(), panel_watch.chosen_server
    page.python_command, panel_watch.chosen_server = "it's", lambda: "a server"
    assert panel_watch.tick() == panel_watch.IDLE_S
    assert "cannot be read" in runtime.session().error.message
    page.python_command, panel_watch.chosen_server = "", chosen
    runtime.session().dismiss_error()
    for _ in range(5):
        runtime.pump()
    assert runtime.session().error is None
    assert not runtime.session().has_own_server
    assert panel_watch.tick() == panel_watch.IDLE_S
    assert "once a server is connected" in sentences(drawn(PANEL))
    assert "limbeck.refresh" in drawn(PANEL)
    close()


def after_a_restart_of_blender_the_jobs_are_there_with_pictures():
    with running(SERVE):
        fresh()
        jobs = [generate(seed) for seed in (10, 200)]
        close()
        bpy.ops.wm.read_factory_settings(use_empty=True)
        addon.register()
        assert "once a server is connected" in sentences(drawn(PANEL))
        look()
        pump_until(lambda: all(job in job_list.thumbnails for job in jobs))
        mirror = bpy.context.window_manager.limbeck
        assert [row.job_id for row in mirror.rows][-2:] == jobs[::-1]
        assert job_list.thumbnails.size(jobs[0]) == (128, 96)
        pixels = np.array(job_list.thumbnails._previews[jobs[1]].image_pixels_float)
        assert np.allclose(pixels.reshape(-1, 4)[:, :3], 200 / 255, atol=1e-6)
        select(jobs[1])
        text = drawn(PANEL)
        assert "quick, sds, exact, seed 200" in sentences(text), text
        assert "IoU 0.9" in sentences(text), text
        assert "took 0:0" in sentences(text)
        assert "limbeck.import_result" in row_of(jobs[1])
        assert "limbeck.cancel_job" not in row_of(jobs[1])
        # The list's button: the mesh of a job that this file never asked for.
        assert bpy.ops.limbeck.import_result(job_id=jobs[0], blocking=True, timeout_s=30) == {"FINISHED"}
        assert [thing["limbeck_job"] for thing in bpy.data.objects if "limbeck_job" in thing] == [jobs[0]]
        close()
        assert jobs[0] not in job_list.thumbnails
        assert not hasattr(bpy.types.WindowManager, "limbeck")


def runtime_error_of(action) -> str:
    return str(harness.error_of(action, RuntimeError))


def after_a_restart_of_the_server_the_jobs_are_there_again():
    with running(SERVE):
        fresh()
        first = generate(3)
        pump_until(lambda: first in job_list.thumbnails)
    # The server is gone: the next question says so, once, and the list stays as it was.
    panel_watch.tick()
    panel_watch.tick()
    pump_until(lambda: not runtime.session().has_client, timeout_s=40)
    assert first in [job.job_id for job in runtime.session().jobs]
    assert "limbeck.import_result" in row_of(first)
    assert runtime.session().error is not None
    assert panel_watch.tick() == panel_watch.IDLE_S  # and nothing is asked any more
    assert not runtime.session().has_client
    with running(SERVE):
        runtime.session().jobs = []
        assert panel_watch.tick() == panel_watch.BUSY_S  # another start of a server: connected to without being asked
        pump_until(lambda: runtime.session().jobs)
        assert runtime.session().error is None
        assert first in [job.job_id for job in runtime.session().jobs]
        assert first in job_list.thumbnails  # not fetched again
        close()


def a_server_that_was_left_stays_left():
    with running(SERVE):
        fresh()
        generate(4)
        panel_watch.tick()
        assert bpy.ops.limbeck.disconnect() == {"FINISHED"}
        assert panel_watch.tick() == panel_watch.IDLE_S
        assert not runtime.session().has_client
        close()


def rows_follow_and_cancel_jobs_that_another_client_asked_for():
    from limbeck_protocol.client import Client
    from limbeck_protocol.recipe import Recipe, Settings

    with running(SERVE), Client.discover() as other:
        recipe = Recipe(prompt="a blue cube", preset="quick", settings=Settings(steps=200))
        long = other.submit(recipe).job_id
        waiting = other.submit(recipe).job_id
        fresh()
        look()
        pump_until(
            lambda: any(job.state is JobState.RUNNING and job.progress for job in runtime.session().jobs) or ask()
        )
        assert panel_watch.tick() == panel_watch.BUSY_S  # something runs: asked each second
        runtime.pump()
        assert "progress" in row_of(long), row_of(long)
        assert f"limbeck.follow_job job_id={long}" in row_of(long).replace("  ", " "), row_of(long)
        assert "limbeck.cancel_job" in row_of(waiting)
        select(waiting)
        assert "Queued" in sentences(drawn(PANEL)), drawn(PANEL)
        assert bpy.ops.limbeck.cancel_job(job_id=waiting, blocking=True) == {"FINISHED"}
        assert other.job(waiting).state is JobState.CANCELLED
        assert job_list.job_by_id(runtime.session(), waiting).state is JobState.CANCELLED
        assert "has ended already" in runtime_error_of(lambda: bpy.ops.limbeck.cancel_job(job_id=waiting))
        runtime.session().error = None
        assert bpy.ops.limbeck.follow_job(job_id=long) == {"FINISHED"}
        pump_until(lambda: runtime.session().followed.generation >= 1)
        assert not bpy.ops.limbeck.follow_job.poll()
        assert "limbeck.follow_job" not in row_of(long)
        # A row whose cancel fails is a sentence; the job that is followed goes on.
        job_list.cancel_job(runtime.session(), "no-such-job-1")
        pump_until(lambda: runtime.session().error is not None)
        assert runtime.session().is_busy
        runtime.session().error = None
        job_list.cancel_job(runtime.session(), long)
        pump_until(lambda: not runtime.session().is_busy)
        assert other.job(long).state is JobState.CANCELLED
        close()


def ask() -> bool:
    """Let the timer ask for the list anew."""
    panel_watch.tick()
    return False


def a_file_that_is_opened_finds_its_running_job_again():
    with running(SERVE), tempfile.TemporaryDirectory() as folder:
        fields = fresh(steps=60)
        fields.import_when_done = True
        bpy.ops.limbeck.generate()
        session = runtime.session()
        pump_until(lambda: session.followed.generation >= 1)
        job_id = session.followed.job_id
        file = str(Path(folder) / "work.blend")
        bpy.ops.wm.save_as_mainfile(filepath=file)
        close()
        # Blender again, with an empty file: the job is listed, and is none of this file's.
        bpy.ops.wm.read_factory_settings(use_empty=True)
        addon.register()
        look()
        panel_watch.tick()
        assert not runtime.session().is_busy
        bpy.ops.wm.open_mainfile(filepath=file)
        panel_watch.tick()
        pump_until(lambda: runtime.session().is_busy)
        assert runtime.session().followed.job_id == job_id
        pump_until(lambda: any("limbeck_job" in thing for thing in bpy.data.objects))
        assert panel_watch.tick() in (panel_watch.BUSY_S, panel_watch.IDLE_S)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        close()


def the_same_job_stays_selected():
    from limbeck_protocol.messages import JobInfo
    from limbeck_protocol.recipe import Recipe

    fresh()
    session = runtime.session()

    def listed(*numbers: int) -> None:
        session.jobs = [
            JobInfo(job_id=f"job-{n:05}", state=JobState.QUEUED, recipe=Recipe(prompt=f"cube {n}"), created=0.0)
            for n in numbers
        ]
        job_list.mirror_jobs(session)

    listed(3, 2, 1)
    assert job_list.selected_id() == "job-00003"
    listed(4, 3, 2, 1)
    assert job_list.selected_id() == "job-00004"  # who looks at the newest goes on doing so
    bpy.context.window_manager.limbeck.selected = 2
    assert job_list.selected_id() == "job-00002"
    listed(5, 4, 3, 2)
    assert job_list.selected_id() == "job-00002"
    listed(6, 5)
    assert job_list.selected_id() == "job-00006"
    bpy.ops.wm.read_factory_settings(use_empty=True)  # another file: the list is the server's, not the file's
    job_list.mirror_jobs(session)
    assert [row.name for row in bpy.context.window_manager.limbeck.rows] == ["cube 6", "cube 5"]
    listed()
    assert job_list.selected_id() == ""
    assert drawn(PANEL)
    close()


def a_failed_job_shows_its_sentence_and_its_remedy():
    from limbeck_protocol.errors import ErrorCode, remedy_for
    from limbeck_protocol.messages import ErrorReply, JobInfo
    from limbeck_protocol.recipe import Recipe

    fresh()
    code = ErrorCode.NO_SURFACE
    error = ErrorReply(code=code, message="There is no surface to be found.", remedy=remedy_for(code))
    runtime.session().jobs = [
        JobInfo(
            job_id="job-00001", state=JobState.FAILED, recipe=Recipe(prompt="fog"), created=0.0, ended=5.0, error=error
        )
    ]
    job_list.mirror_jobs(runtime.session())
    text = drawn(PANEL)
    assert "There is no surface to be found." in sentences(text), text
    assert "Run more steps" in text, text
    assert "took 0:05" in sentences(text)
    # What is tried again, or shown, is the listed job and not the one that was followed last.
    lost = ErrorReply(code=ErrorCode.WORKER_LOST, message="Lost.", remedy=remedy_for(ErrorCode.WORKER_LOST))
    job = JobInfo(job_id="job-00002", state=JobState.FAILED, recipe=Recipe(prompt="fog"), created=0.0, error=lost)
    runtime.session().jobs = [job]
    job_list.mirror_jobs(runtime.session())
    assert "operator limbeck.retry Try Again job_id=job-00002" in drawn(PANEL), drawn(PANEL)
    close()


def with_online_access_off_nothing_is_looked_for():
    fresh()
    allowed = panel_watch.network_allowed
    panel_watch.network_allowed = lambda: False
    try:
        assert panel_watch.tick() == panel_watch.FIRST_LOOK_S
        assert runtime._session is None
    finally:
        panel_watch.network_allowed = allowed
        close()


harness.main(
    without_a_server_the_first_look_is_silent_and_starts_none,
    after_a_restart_of_blender_the_jobs_are_there_with_pictures,
    after_a_restart_of_the_server_the_jobs_are_there_again,
    a_server_that_was_left_stays_left,
    rows_follow_and_cancel_jobs_that_another_client_asked_for,
    a_file_that_is_opened_finds_its_running_job_again,
    the_same_job_stays_selected,
    a_failed_job_shows_its_sentence_and_its_remedy,
    with_online_access_off_nothing_is_looked_for,
)
