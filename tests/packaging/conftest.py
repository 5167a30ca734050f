"""The extension's zips, built once for all tests of this folder, and a server for the Blender that installs one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import blender_command
import extension
import pytest
from wheels import PLATFORMS

CUBE_SERVER = Path(__file__).parents[1] / "blender_addon" / "serve_cube.py"
SERVER_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Built:
    """What `make extension` makes, in a folder of the tests' own."""

    staged: Path
    dist: Path
    zips: tuple[Path, ...]

    @property
    def here(self) -> Path:
        """The zip for this machine."""
        system = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}[platform.system()]
        machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), "arm64")
        return next(path for path in self.zips if path.stem.endswith(f"{system}_{machine}"))


@pytest.fixture(scope="session")
def real_blender() -> str:
    """Return the version of the Blender that the tests use; skip where none can be had.

    With LIMBECK_REQUIRE_BLENDER=1, as in `.ci/run` and `make test-blender`, its absence is a failure.
    """
    try:
        return blender_command.install_blender()
    except blender_command.NoBlenderError as error:
        if os.environ.get("LIMBECK_REQUIRE_BLENDER") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def built(real_blender: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Return the zips and the repository."""
    staged, dist = tmp_path_factory.mktemp("staged"), tmp_path_factory.mktemp("dist")
    extension.stage(staged)
    zips = extension.build(staged, dist)
    extension.write_repository(dist)
    assert len(zips) == len(PLATFORMS)
    return Built(staged, dist, tuple(zips))


@pytest.fixture
def blender_home(tmp_path: Path) -> Path:
    """Return an empty home for Blender's preferences and extensions."""
    home = tmp_path / "blender-home"
    home.mkdir()
    return home


@pytest.fixture
def limbeck_home(tmp_path: Path) -> Path:
    """Return an empty home for keys, jobs and `server.json`."""
    home = tmp_path / "limbeck-home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def cube_server(limbeck_home: Path) -> Iterator[Path]:
    """Run the real server, whose worker makes a cube in half a second; yield its home."""
    environment = {**os.environ, "LIMBECK_HOME": str(limbeck_home), "PYTHONPATH": str(CUBE_SERVER.parent)}
    log = limbeck_home / "test.log"
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, str(CUBE_SERVER)], env=environment, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + SERVER_TIMEOUT_S
            while not (limbeck_home / "run" / "server.json").exists():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield limbeck_home
        finally:
            server.terminate()
            server.wait(20)
