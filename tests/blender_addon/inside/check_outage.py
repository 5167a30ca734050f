"""The server dies while a job is followed and comes back: the session bears with it and tells the job's end.

Argument: the script that serves.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import bpy
import harness
from limbeck_protocol.discovery import server_record_path
from limbeck_protocol.job_states import FINAL_STATES
from pumping import pump_until

addon = harness.load_addon()
runtime = addon.runtime


def a_server_that_dies_and_comes_back_is_borne_with():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    bpy.context.scene.limbeck.prompt = "a red cube"
    bpy.ops.limbeck.generate()
    session = runtime.session()
    pump_until(lambda: session.followed.generation >= 1, awaited=True)
    os.kill(json.loads(server_record_path().read_text())["pid"], signal.SIGKILL)
    pump_until(lambda: session.is_reconnecting, awaited=True)
    assert "reconnecting" in addon.panels.main.current_view().sentence.lower()
    # Longer than a request's patience: the requests under way fail, and the session asks anew.
    patience = time.monotonic() + 9
    pump_until(lambda: time.monotonic() > patience, awaited=True)
    assert session.error is None
    again = subprocess.Popen([harness.server_python(), sys.argv[1]])
    try:
        pump_until(lambda: session.followed.has_ended and not session.is_busy, awaited=True)
        print(f"the job ended as {session.followed.info.state}: {session.error}")
        assert session.followed.info.state in FINAL_STATES
        # And the next job finds the same session ready.
        assert bpy.ops.limbeck.generate(blocking=True, timeout_s=40) == {"FINISHED"}
        assert len([thing for thing in bpy.data.objects if "limbeck_job" in thing]) >= 1
    finally:
        again.terminate()
        again.wait(20)


harness.main(a_server_that_dies_and_comes_back_is_borne_with)
