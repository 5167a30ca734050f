"""The server from the panel: found, examined, started, stopped, with the real command and no waiting in between."""

from __future__ import annotations

import sys

import bpy
import harness
from limbeck_protocol.discovery import server_record_path
from pumping import pump_dry

addon = harness.load_addon()
runtime = addon.runtime
State = addon.panel_state.PanelState
LONGEST_TICK_S = 0.25


def state():
    return addon.panels.main.current_view().state


def find_asks_every_candidate_and_keeps_the_one_that_answers():
    addon.register()
    addon.preferences.change(python_command="/no/such/limbeck", search_folder=sys.argv[1])
    assert bpy.ops.limbeck.find_server() == {"FINISHED"}
    assert not bpy.ops.limbeck.find_server.poll()
    assert pump_dry().share(1.0) < LONGEST_TICK_S
    print(runtime.tools().notice)
    assert runtime.tools().notice.startswith("Found Limbeck ")
    assert sys.argv[1] in addon.preferences.current().python_command


def the_doctor_s_answer_is_shown():
    addon.register()
    assert bpy.ops.limbeck.run_doctor() == {"FINISHED"}
    assert not bpy.ops.limbeck.run_doctor.poll()
    assert pump_dry().share(1.0) < LONGEST_TICK_S
    findings = {finding.name: finding for finding in runtime.tools().findings}
    print(f"{len(findings)} findings, {runtime.tools().notice}")
    assert findings["torch"].is_ok
    assert findings["torch"].is_needed
    assert runtime.tools().notice == "Everything that the server needs is there."
    addon.preferences.change(python_command="/no/such/limbeck")
    bpy.ops.limbeck.run_doctor(blocking=True)
    assert "cannot be run" in runtime.tools().notice
    addon.preferences.change(python_command=f"{sys.executable} -c 'raise SystemExit(1)'")
    bpy.ops.limbeck.run_doctor(blocking=True)
    assert "could not be asked" in runtime.tools().notice


def the_server_starts_and_stops():
    addon.register()
    addon.preferences.change(python_command=sys.argv[2])
    assert state() is State.NO_SERVER
    assert not bpy.ops.limbeck.stop_server.poll()
    assert bpy.ops.limbeck.start_server() == {"FINISHED"}
    assert state() is State.CONNECTING
    runtime.pump()
    assert state() is State.STARTING
    assert pump_dry().share(1.0) < LONGEST_TICK_S
    assert state() is State.IDLE, runtime.session().error
    assert runtime.session().has_own_server
    assert bpy.ops.limbeck.stop_server() == {"FINISHED"}
    assert state() is State.STOPPING
    assert pump_dry().share(1.0) < LONGEST_TICK_S
    assert state() is State.NO_SERVER
    assert not server_record_path().exists()


def a_server_that_an_earlier_blender_has_started_can_be_stopped_too():
    addon.register()
    addon.preferences.change(python_command=sys.argv[2])
    assert bpy.ops.limbeck.start_server(blocking=True) == {"FINISHED"}
    addon.unregister()  # as closing Blender does
    addon.register()
    assert bpy.ops.limbeck.refresh(blocking=True) == {"FINISHED"}
    assert not runtime.session().has_own_server
    assert state() is State.IDLE
    assert bpy.ops.limbeck.stop_server(blocking=True) == {"FINISHED"}
    assert state() is State.NO_SERVER
    assert not server_record_path().exists()


def a_server_that_gives_up_says_why_and_offers_its_log():
    addon.register()
    words = "import sys; sys.exit('The disk is made of cheese.')"
    addon.preferences.change(python_command=f'{sys.executable} -c "{words}"')
    error = str(harness.error_of(lambda: bpy.ops.limbeck.start_server(blocking=True), RuntimeError))
    assert "The disk is made of cheese." in error, error
    view = addon.panels.main.current_view()
    assert (view.state, view.button.operator) == (State.NO_SERVER, "limbeck.show_log")
    assert bpy.ops.limbeck.show_log() == {"FINISHED"}
    assert "The disk is made of cheese." in addon.connection.server_log.tail(addon.connection.server_log.log_path())


harness.main(
    find_asks_every_candidate_and_keeps_the_one_that_answers,
    the_doctor_s_answer_is_shown,
    the_server_starts_and_stops,
    a_server_that_an_earlier_blender_has_started_can_be_stopped_too,
    a_server_that_gives_up_says_why_and_offers_its_log,
)
