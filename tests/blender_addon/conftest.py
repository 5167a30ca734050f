"""Scripts that import Blender's module run in a process of their own: it keeps state, and may hang at exit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy_lts
import pytest

INSIDE = Path(__file__).parent / "inside"
PROTOCOL = Path(__file__).parents[2] / "shared_protocol"
RunInside = Callable[..., str]


@pytest.fixture
def limbeck_home(tmp_path: Path) -> Path:
    """Return an empty home for keys, jobs and `server.json`."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture(params=["5.0", "4.5"], ids=["bpy-5.0", "bpy-4.5"])
def bpy_python(request: pytest.FixtureRequest) -> str:
    """Return a Python that has Blender as a module: the tests' own, or the one that `make install-bpy45` made."""
    if request.param == "5.0":
        return sys.executable
    python = bpy_lts.python()
    if python is None:
        pytest.fail(f"There is no bpy {bpy_lts.VERSION} in {bpy_lts.folder()}: make install-bpy45", pytrace=False)
    return str(python)


@pytest.fixture
def run_inside(bpy_python: str, limbeck_home: Path) -> RunInside:
    """Return a function that runs a script of the folder `inside` and returns what it printed; it must not fail.

    The environment with Blender 4.5 has neither torch nor the server: scripts that start one use LIMBECK_TEST_PYTHON.
    """

    def run(script: str, *arguments: str, timeout_s: float = 120.0) -> str:
        command = [bpy_python, "-W", "error", str(INSIDE / script), *arguments]
        environment = {**os.environ, "LIMBECK_HOME": str(limbeck_home), "LIMBECK_TEST_PYTHON": sys.executable}
        if bpy_python != sys.executable:
            given = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
            environment["PYTHONPATH"] = os.pathsep.join([str(PROTOCOL), *given])
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
        said = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said[-6000:]
        assert "passed " in done.stdout, said[-6000:]
        assert "FAILED" not in done.stdout, said[-6000:]
        return done.stdout

    return run


@pytest.fixture
def cube_server(limbeck_home: Path) -> Iterator[Path]:
    """Run the real server, whose worker makes a cube in half a second; yield its home."""
    folder = Path(__file__).parent
    environment = {**os.environ, "LIMBECK_HOME": str(limbeck_home), "PYTHONPATH": str(folder)}
    log = limbeck_home / "test.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, str(folder / "serve_cube.py")], env=environment, stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 30
            while not (limbeck_home / "run" / "server.json").exists():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield limbeck_home
        finally:
            server.terminate()
            server.wait(20)
