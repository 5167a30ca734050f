"""What goes wrong around a job: no crash, the sentence and the button, the job not lost.

Arguments: the check to run; what it needs (a command `limbeck`, the script of strange servers).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import bpy
import harness
from limbeck_protocol.discovery import server_record_path
from limbeck_protocol.job_states import FINAL_STATES, JobState
from pumping import TICK_S, Ticks, pump_dry, pump_until

addon = harness.load_addon()
runtime = addon.runtime
State = addon.panel_state.PanelState
PYTHON = os.environ["LIMBECK_TEST_PYTHON"]
STOPPED_S = 12.0
TICK_LIMIT_MS = 20.0


def fresh(prompt: str = "a red cube") -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    bpy.context.scene.limbeck.prompt = prompt
    return bpy.context.scene


def view():
    return addon.panels.main.current_view()


def begin() -> None:
    """Have a job running, with its first picture here."""
    assert bpy.ops.limbeck.generate() == {"FINISHED"}
    pump_until(lambda: runtime.session().followed.generation >= 1, awaited=True)
    assert view().state is State.RUNNING
    assert view().button.operator == "limbeck.cancel"


def results() -> list[bpy.types.Object]:
    return [thing for thing in bpy.data.objects if "limbeck_job" in thing]


def server_pid() -> int:
    return json.loads(server_record_path().read_text())["pid"]


def press(button) -> set[str]:
    """Do what the panel's button does."""
    module, name = button.operator.split(".")
    return getattr(getattr(bpy.ops, module), name)(**button.keywords)


@contextlib.contextmanager
def strange_server(kind: str) -> Iterator[None]:
    process = subprocess.Popen([PYTHON, sys.argv[2], kind])
    try:
        deadline = time.monotonic() + 20
        while not server_record_path().exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


# --- Blender changes under the job ------------------------------------------------------------------------------------


def a_file_is_opened_during_a_job():
    scene = fresh()
    with tempfile.TemporaryDirectory() as folder:
        bpy.ops.wm.save_as_mainfile(filepath=f"{folder}/other.blend")
        scene.cursor.location = (4.0, 0.0, 0.0)
        begin()
        job_id = runtime.session().followed.job_id
        bpy.ops.wm.open_mainfile(filepath=f"{folder}/other.blend")
        assert len(bpy.context.scene.limbeck.jobs) == 0
        assert view().state is State.RUNNING
        pump_until(results, awaited=True)
        pump_dry()
    assert results()[0]["limbeck_job"] == job_id
    assert view().state is State.DONE
    assert runtime.session().error is None


def steps_are_undone_during_a_job():
    scene = fresh()
    bpy.ops.ed.undo_push(message="before")
    bpy.data.objects.new("Left Behind", None)
    scene.limbeck.prompt = "a red cube, again"
    bpy.ops.ed.undo_push(message="something else")
    begin()
    job_id = runtime.session().followed.job_id
    bpy.ops.ed.undo()
    assert "Left Behind" not in bpy.data.objects
    assert runtime.session().followed.job_id == job_id
    assert view().state is State.RUNNING
    pump_until(results, awaited=True)
    bpy.ops.ed.undo_push(message="import")  # as the add-on does where there is a window
    bpy.ops.ed.undo()
    assert not results()
    bpy.ops.ed.redo()
    pump_dry()
    assert results()[0]["limbeck_job"] == job_id
    assert runtime.session().error is None


def what_marks_the_place_is_deleted_before_the_import():
    scene = fresh()
    empty = bpy.data.objects.new("Here", None)
    empty.location = (3.0, 2.0, 1.0)
    scene.collection.objects.link(empty)
    bpy.context.view_layer.update()
    scene.limbeck.target = empty
    begin()
    pump_until(lambda: runtime.session().state == "fetching", awaited=True)
    bpy.data.objects.remove(empty)
    pump_until(results, awaited=True)
    pump_dry()
    assert tuple(round(value, 4) for value in results()[0].location) == (3.0, 2.0, 1.0)
    bpy.data.objects.remove(results()[0])  # and the result itself: the panel offers it again
    assert view().state is State.DONE
    assert view().button.operator == "limbeck.import_result"
    assert press(view().button) == {"FINISHED"}
    pump_until(results, awaited=True)
    assert runtime.session().error is None


# --- the server goes away ---------------------------------------------------------------------------------------------


def a_killed_server_is_started_anew_and_the_job_found_again():
    fresh()
    addon.preferences.change(python_command=sys.argv[2])
    begin()
    session = runtime.session()
    job_id = session.followed.job_id
    os.kill(server_pid(), signal.SIGKILL)
    pump_until(lambda: view().state is State.RECONNECTING, awaited=True)
    assert view().sentence == "The server is away; the job is safe. Reconnecting..."
    assert view().button.operator == "limbeck.start_server"
    assert press(view().button) == {"FINISHED"}
    pump_until(lambda: not session.is_reconnecting, awaited=True)
    assert session.has_own_server
    pump_until(lambda: session.followed.has_ended, awaited=True)
    assert session.followed.job_id == job_id
    print(f"the job ended as {session.followed.info.state}: {session.error}")
    pump_dry()
    assert job_id in [job.job_id for job in session.jobs]
    if session.followed.info.state is JobState.SUCCEEDED:
        assert results()
    else:
        assert view().state is State.FAILED
        assert view().button.operator == "limbeck.retry"
        assert press(view().button) == {"FINISHED"}
        pump_until(results, awaited=True)
    assert bpy.ops.limbeck.stop_server(blocking=True) == {"FINISHED"}
    assert view().state is State.NO_SERVER
    assert not server_record_path().exists()


def a_job_waits_until_the_program_that_serves_is_named():
    fresh()
    addon.preferences.change(python_command="/no/such/limbeck")
    error = str(harness.error_of(lambda: bpy.ops.limbeck.generate(blocking=True), RuntimeError))
    assert "cannot be run" in error, error
    job_id = runtime.session().followed.job_id
    assert view().state is State.NO_SERVER
    assert view().button.operator == "limbeck.find_server", view()
    assert "not lost" in view().hint
    addon.preferences.change(python_command=sys.argv[2])
    assert bpy.ops.limbeck.start_server() == {"FINISHED"}
    pump_until(results, awaited=True)
    assert results()[0]["limbeck_job"] == job_id
    pump_dry()
    assert bpy.ops.limbeck.stop_server(blocking=True) == {"FINISHED"}


def no_tick_waits_for_a_server_that_is_stopped():
    fresh("a red cube that takes its time")
    begin()
    session = runtime.session()
    pid, ticks = server_pid(), Ticks()
    os.kill(pid, signal.SIGSTOP)
    try:
        until = time.monotonic() + STOPPED_S
        while time.monotonic() < until:
            assert ticks.pump() is not None, view()
            time.sleep(TICK_S)
    finally:
        os.kill(pid, signal.SIGCONT)
    p50, p99, longest = (1000 * ticks.share(of) for of in (0.5, 0.99, 1.0))
    print(f"{len(ticks.seconds)} ticks of {STOPPED_S:g} s with the server stopped: p50 {p50:.2f} ms, ", end="")
    print(f"p99 {p99:.2f} ms, longest {longest:.2f} ms")
    assert p99 <= TICK_LIMIT_MS, p99
    pump_until(lambda: session.followed.info.state in FINAL_STATES, awaited=True)
    pump_dry()
    assert session.error is None, session.error
    assert len(results()) == 1


# --- something else is there ------------------------------------------------------------------------------------------


def another_program_has_the_port():
    fresh()
    with strange_server("http"):
        bpy.ops.limbeck.refresh()
        pump_dry()
        shown = view()
        print(shown.sentence)
        assert shown.state is State.WRONG_PROGRAM, shown
        assert "Limbeck server" in shown.sentence
        assert shown.button.operator == "limbeck.start_server"
        addon.preferences.change(python_command=sys.argv[3])
        assert bpy.ops.limbeck.generate() == {"FINISHED"}  # does not mind: it starts a server of its own
        pump_until(results, awaited=True)
    assert view().state is State.DONE
    assert bpy.ops.limbeck.stop_server(blocking=True) == {"FINISHED"}


def an_older_server_has_the_port():
    fresh()
    for kind in ("old-welcome", "old-error", "old-record"):
        with strange_server(kind):
            assert bpy.ops.limbeck.generate() == {"FINISHED"}
            pump_dry()
            shown = view()
            print(f"{kind}: {shown.sentence}")
            assert shown.state is State.WRONG_VERSION, shown
            assert "protocol" in shown.sentence
            assert (shown.button.operator, shown.button.keywords) == (
                "limbeck.open_preferences",
                {"page": "EXTENSIONS"},
            )
            assert "not lost" in shown.hint
            job_id = runtime.session().followed.job_id
        server_record_path().unlink()
    # With the server updated, the job that could not be handed in is.
    addon.preferences.change(python_command=sys.argv[3])
    assert bpy.ops.limbeck.start_server() == {"FINISHED"}
    pump_until(results, awaited=True)
    assert results()[0]["limbeck_job"] == job_id
    pump_dry()
    assert bpy.ops.limbeck.stop_server(blocking=True) == {"FINISHED"}


def nothing_is_there():
    fresh()
    error = str(harness.error_of(lambda: bpy.ops.limbeck.refresh(blocking=True), RuntimeError))
    assert "No server is running here" in error
    assert view().state is State.NO_SERVER
    assert view().button.operator == "limbeck.start_server"


# --- online access ----------------------------------------------------------------------------------------------------


def without_online_access_a_remote_server_is_left_alone_and_a_local_one_is_not():
    fresh()
    preferences = addon.preferences
    preferences.is_attended = lambda: True  # the one thing that a test cannot have: somebody before the screen
    bpy.context.preferences.system.use_online_access = False
    assert not bpy.app.online_access
    begin()  # on this computer all works
    job_id = runtime.session().followed.job_id
    line = f"limbeck://192.0.2.77:4711#{'0' * 64}"
    preferences.change(connection_line=line, server_mode="REMOTE")
    shown = view()
    assert shown.state is State.OFFLINE, shown
    assert "192.0.2.77:4711 is on another computer" in shown.sentence
    assert (shown.button.operator, shown.button.keywords) == ("limbeck.open_preferences", {"page": "SYSTEM"})
    for operator in ("generate", "refresh", "import_result", "retry"):
        assert not getattr(bpy.ops.limbeck, operator).poll(), operator
    assert not runtime.session().has_client
    assert runtime.pump() is None
    bpy.context.preferences.system.use_online_access = True
    assert view().state is State.NO_SERVER
    assert bpy.ops.limbeck.refresh() == {"FINISHED"}
    runtime.pump()
    assert view().state is State.CONNECTING
    bpy.context.preferences.system.use_online_access = False
    assert runtime.pump() is None  # switched off again: the connection is closed with the next tick
    assert not runtime.session().has_client
    assert bpy.ops.limbeck.use_local_server() == {"FINISHED"}
    assert bpy.ops.limbeck.import_result(job_id=job_id, blocking=True, timeout_s=40) == {"FINISHED"}
    assert results()[0]["limbeck_job"] == job_id


harness.main(globals()[sys.argv[1]])
