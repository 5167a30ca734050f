"""Bad input to the API, with no server about: a sentence with the fix, and not one data-block left behind."""

from __future__ import annotations

import math
import sys
import time

import bpy
import harness
from limbeck_protocol.discovery import find_folders
from limbeck_protocol.errors import ErrorCode, LimbeckError

addon = harness.load_addon()
api = addon.api
preferences, server_search = addon.preferences, addon.connection.server_search


def new_camera(name: str = "Camera", location=(0.0, -3.0, 0.0)) -> bpy.types.Object:
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera.location, camera.rotation_euler = location, (math.pi / 2, 0.0, 0.0)
    bpy.context.scene.collection.objects.link(camera)
    return camera


def refused(sentence: str, prompt="a duck", **arguments) -> LimbeckError:
    before = harness.data_blocks()
    error = harness.error_of(lambda: api.generate(prompt, start_server=False, timeout_s=5, **arguments))
    assert sentence in error.message, (sentence, error.message)
    assert error.remedy.label.endswith("."), error.remedy
    assert harness.data_blocks() == before
    return error


def bad_input_is_refused_with_a_sentence():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    good = new_camera()
    broken = new_camera("Broken")
    broken.location.x = math.nan
    cases = [
        ("The prompt is empty.", {"prompt": ""}),
        ("The prompt is empty.", {"prompt": "  \n"}),
        ("The prompt is empty.", {"prompt": None}),
        ("The prompt has 5000 characters", {"prompt": "x" * 5000}),
        ("control character", {"prompt": "a duck\x07"}),
        ("The rig holds no camera and no orbit.", {"cameras": []}),
        ("The rig holds no camera and no orbit.", {"cameras": [], "orbit": False}),
        ("is no camera object.", {"cameras": ["Camera"]}),
        ("is no camera object.", {"cameras": [None]}),
        ("Camera 'Broken' has a matrix", {"cameras": [good, broken]}),
        ("Camera 'Camera' stands inside", {"cameras": [good], "size": 10.0}),
        ("Camera 'Camera' looks away", {"cameras": [good], "location": (0.0, -9.0, 0.0)}),
        ("The orbit cannot be read", {"orbit": {"elevation": (0, 1)}}),
        ("The orbit's elevation_deg runs from 50 to 10", {"orbit": {"elevation_deg": (50, 10)}}),
        ("elevations between", {"orbit": {"elevation_deg": (0, 120)}}),
        ("The orbit cannot be read", {"orbit": {"weight": math.nan}}),
        ("The orbit is a str", {"orbit": "round"}),
        ("at least one weight above 0", {"orbit": {"weight": 0.0}}),
        ("The size should be a length above 0", {"size": 0.0}),
        ("The size should be a length above 0", {"size": -1.0}),
        ("finite", {"size": math.nan}),
        ("finite", {"location": (0.0, 0.0, math.inf)}),
        ("three", {"location": (0.0, 0.0)}),
        ("three", {"location": None}),
        ("The settings cannot be used", {"settings": {"steps": 0}}),
        ("The settings cannot be used", {"settings": {"stepps": 10}}),
        ("The settings cannot be used", {"settings": {"steps": "many"}}),
        ("The settings cannot be used", {"settings": {"learning_rate": math.nan}}),
        ("recipe.seed", {"seed": -1}),
        ("recipe.seed", {"seed": 1.5}),
        ("recipe.loss", {"loss": ""}),
        ("recipe.prior", {"prior": 7}),
        ("recipe.preset", {"preset": None}),
        ("recipe.negative_prompt", {"negative_prompt": "x" * 5000}),
    ]
    for sentence, arguments in cases:
        error = refused(sentence, **arguments)
        assert error.code == ErrorCode.INVALID_FIELD, (error.code, sentence)


def without_a_server_it_says_how_to_start_one():
    error = refused("No server is running here")
    assert error.code == ErrorCode.NO_SERVER
    assert "limbeck serve" in error.remedy.label


def a_python_that_cannot_serve_is_named():
    def search(*command: str) -> LimbeckError:
        search = server_search.ServerSearch(lambda: command, start=True)
        deadline = time.monotonic() + 30

        def steps() -> None:
            while search.step() is None:
                assert time.monotonic() < deadline
                time.sleep(0.05)

        return harness.error_of(steps)

    error = search("/no/such/python")
    assert "'/no/such/python' cannot be run" in error.message, error
    assert "preferences" in error.remedy.label
    error = search(sys.executable, "-c", "import no_such_module")
    assert "No module named 'no_such_module'" in error.message, error
    error = search(sys.executable, "-c", "import sys; print('first'); sys.exit('The last word.')")
    assert error.message == "The server's program ended with code 1: The last word.", error.message
    log = find_folders().data / "server.log"
    assert log.stat().st_mode & 0o077 == 0


def python_commands_are_read_like_command_lines():
    assert preferences.python_command("") == (sys.executable,)
    assert preferences.python_command(sys.executable) == (sys.executable,)
    assert preferences.python_command("python3.11 -I") == ("python3.11", "-I")
    assert preferences.python_command("'/a place/python' -I") == ("/a place/python", "-I")
    assert "cannot be read" in str(harness.error_of(lambda: preferences.python_command("'python")))


def the_operators_report_bad_input_too():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    fields = bpy.context.scene.limbeck
    fields.prompt, fields.rig_source = "a duck", "BOTH"
    broken = new_camera("Broken")
    broken.location.x = math.nan
    before = harness.data_blocks()

    def generate_on_a_bad_orbit() -> None:
        fields.rig_source, fields.orbit_distance = "ORBIT", (3, 2)
        bpy.ops.limbeck.generate()

    for action, sentence in [
        (lambda: bpy.ops.limbeck.generate(), "Camera 'Broken' has a matrix"),
        (generate_on_a_bad_orbit, "The orbit's distance"),
        (lambda: bpy.ops.limbeck.refresh(blocking=True), "No server is running here"),
        (lambda: bpy.ops.limbeck.import_result(job_id="job-00001", blocking=True), "No server is running here"),
    ]:
        error = harness.error_of(action, RuntimeError)  # how Blender passes an operator's report to a script
        assert sentence in str(error), (sentence, str(error))
        assert harness.data_blocks() == before
        assert not addon.runtime.session().is_busy
    assert len(fields.jobs) == 0
    addon.unregister()


harness.main(
    bad_input_is_refused_with_a_sentence,
    without_a_server_it_says_how_to_start_one,
    a_python_that_cannot_serve_is_named,
    python_commands_are_read_like_command_lines,
    the_operators_report_bad_input_too,
)
