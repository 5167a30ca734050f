"""The zip in real Blender, in a home of its own: installed, switched off and on, used, and gone without a trace."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from blender_command import run_blender

pytestmark = [pytest.mark.real_blender, pytest.mark.slow]
INSIDE = Path(__file__).parent / "inside"


@pytest.fixture
def installed(built, blender_home: Path) -> Path:
    """Return a home of Blender in which the zip is installed and on."""
    arguments = ["--command", "extension", "install-file", "-r", "user_default", "-e", built.here]
    done = run_blender(arguments, blender_home)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said, said
    return blender_home


def test_it_comes_works_and_goes_without_a_trace(installed: Path, cube_server: Path) -> None:
    done = run_blender(
        ["--background", "--python-exit-code", "1", "--python", INSIDE / "check_installed.py"],
        installed,
        environment={"LIMBECK_HOME": str(cube_server)},
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    assert "passed in Blender" in done.stdout, said[-6000:]
    for bad in ("Traceback", "Error:", "Warning:", "leak", "not freed"):
        assert bad not in said, said[-6000:]


def test_the_command_line_writes_a_glb_and_says_it_in_json(installed: Path, cube_server: Path, tmp_path: Path) -> None:
    out = tmp_path / "cube.glb"
    done = limbeck(installed, cube_server, "generate", "a red cube", "--seed", "3", "--out", str(out), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["state"], result["name"], result["faces"]) == ("succeeded", "Red cube", 12)
    assert (result["recipe"]["seed"], result["file"]) == (3, str(out))
    assert "step" in done.stderr
    gltf = read_glb(out)
    assert [mesh["name"] for mesh in gltf["meshes"]] == ["Red cube"]
    assert len(gltf["images"]) == 1


def test_the_command_line_writes_a_blend_that_holds_the_object_alone(
    installed: Path, cube_server: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cube.blend"
    done = limbeck(installed, cube_server, "generate", "a red cube", "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("Red cube: 12 faces, job ")
    look = "import bpy; print('objects', [thing.name for thing in bpy.data.objects])"
    opened = run_blender(["--background", out, "--python-exit-code", "1", "--python-expr", look], installed)
    assert "objects ['Red cube']" in opened.stdout, opened.stdout + opened.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("generate", "a failing cube"), 1, "There is no surface to be found."),
        (("generate", "a gryphon"), 1, "The word 'gryphon' is not known."),
        (("generate", "a slow cube", "--set", "steps=400", "--timeout", "1"), 1, "within 1 s"),
        (("generate",), 2, "the following arguments are required: prompt"),
        (("generate", "a cube", "--out", "cube.obj"), 2, "neither in .blend nor in .glb"),
        (("generate", "a cube", "--out", "/no/such/folder/cube.glb"), 2, "Make it, or name another."),
        (("generate", "a cube", "--set", "steps"), 2, "--set wants NAME=VALUE"),
        (("generate", "a cube", "--seed", "-1"), 2, "seed"),
        (("distil",), 2, "invalid choice"),
    ],
)
def test_the_command_line_explains_what_went_wrong(
    installed: Path, cube_server: Path, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    done = limbeck(installed, cube_server, *arguments)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert sentence in done.stderr, said
    assert "Traceback" not in said


def test_the_command_is_gone_with_the_extension(installed: Path, limbeck_home: Path) -> None:
    assert limbeck(installed, limbeck_home, "--help").returncode == 0
    turn_off = (
        "import bpy; bpy.ops.preferences.addon_disable(module='bl_ext.user_default.limbeck'); "
        "bpy.ops.wm.save_userpref()"
    )
    done = run_blender(["--background", "--python-exit-code", "1", "--python-expr", turn_off], installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert limbeck(installed, limbeck_home, "--help").returncode != 0


def limbeck(home: Path, limbeck_home: Path, *arguments: str):
    """Run `blender --command limbeck ARGUMENTS`."""
    return run_blender(["--command", "limbeck", *arguments], home, environment={"LIMBECK_HOME": str(limbeck_home)})


def read_glb(path: Path) -> dict:
    """Return the JSON part of a binary glTF."""
    data = path.read_bytes()
    magic, version, _, length, _ = struct.unpack_from("<4sIIII", data)
    assert (magic, version) == (b"glTF", 2)
    return json.loads(data[20 : 20 + length])
