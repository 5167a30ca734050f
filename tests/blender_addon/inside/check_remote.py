"""A server at another address of this machine, in a home of its own: its line pasted, our key allowed or not.

Arguments: the server's home, its line, the Python and arguments of the command `limbeck keys`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import bpy
import harness

addon = harness.load_addon()
runtime = addon.runtime
State = addon.panel_state.PanelState
HOME, LINE = sys.argv[1:3]
KEYS = [os.environ["LIMBECK_TEST_PYTHON"], "-m", "limbeck_server.cli", "keys"]


def keys(*words: str) -> None:
    environment = {**os.environ, "LIMBECK_HOME": HOME}
    environment.pop("PYTHONPATH", None)
    subprocess.run([*KEYS, *words], env=environment, check=True, timeout=60)


def pump_dry() -> None:
    deadline = time.monotonic() + 60
    while runtime.pump() is not None:
        assert time.monotonic() < deadline, runtime.session().state
        time.sleep(0.02)


def copied_key() -> str:
    """Return what the button copies; without a window there is no clipboard, so it is read off the key file."""
    from limbeck_protocol.discovery import client_keys_path, create_or_load_keys, key_as_hex

    assert bpy.ops.limbeck.copy_key() == {"FINISHED"}
    return key_as_hex(create_or_load_keys(client_keys_path()).public_key)


def without_its_key_allowed_the_panel_says_so_and_offers_to_copy_it_and_with_it_all_works():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    bpy.context.scene.limbeck.prompt = "a red cube"
    assert not addon.preferences.is_loopback(addon.preferences.parse_connection_line(LINE)[0])
    assert bpy.ops.limbeck.paste_line(line=f" {LINE[:30]}\n{LINE[30:]} ") == {"FINISHED"}
    pump_dry()
    view = addon.panels.main.current_view()
    print(view.sentence, view.hint)
    assert view.state is State.NOT_ALLOWED, view
    assert view.sentence == "The server does not allow this client's key."
    assert view.button.operator == "limbeck.copy_key"

    keys("allow", "artist", copied_key())
    assert bpy.ops.limbeck.retry(blocking=True) == {"FINISHED"}
    assert addon.panels.main.current_view().state is State.IDLE
    assert not bpy.ops.limbeck.start_server.poll()
    assert not bpy.ops.limbeck.stop_server.poll()
    assert bpy.ops.limbeck.generate(blocking=True, timeout_s=40) == {"FINISHED"}
    assert [thing for thing in bpy.data.objects if "limbeck_job" in thing]

    keys("revoke", "artist")
    error = str(harness.error_of(lambda: bpy.ops.limbeck.refresh(blocking=True), RuntimeError))
    assert "not allowed here any more" in error, error
    assert addon.panels.main.current_view().state is State.NOT_ALLOWED


def a_line_that_is_none_is_an_error_with_the_preferences_as_its_button():
    addon.register()
    for line in ("limbeck://studio:41234", "https://example.org", f"{LINE}00"):
        error = str(harness.error_of(lambda line=line: bpy.ops.limbeck.paste_line(line=line), RuntimeError))
        assert "limbeck://HOST:PORT#KEY" in error, error
    addon.preferences.change(server_mode="REMOTE", connection_line="")
    error = str(harness.error_of(lambda: bpy.ops.limbeck.refresh(), RuntimeError))
    assert "is missing" in error, error
    view = addon.panels.main.current_view()
    assert (view.button.operator, view.button.keywords) == ("limbeck.open_preferences", {"page": "ADDON"})


harness.main(
    without_its_key_allowed_the_panel_says_so_and_offers_to_copy_it_and_with_it_all_works,
    a_line_that_is_none_is_an_error_with_the_preferences_as_its_button,
)
