"""A real server, and a real Blender with its window; one of each for the whole story, for starting takes its time.

Skipped unless asked for (`pytest -m window`, as `make test-blender` does): it needs the extension's zip and a Blender.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "packaging" / "window"))

import driver  # noqa: E402
import pictures  # noqa: E402
from limbeck_protocol.client import Client  # noqa: E402
from limbeck_protocol.messages import JobInfo  # noqa: E402
from looking import without_empty_end  # noqa: E402
from PIL import Image  # noqa: E402
from sidebar import Sidebar  # noqa: E402

SERVER_START_S = 60.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "window" not in config.getoption("markexpr", ""):
        skip = pytest.mark.skip(reason="needs Blender's window; `make test-blender` runs it")
        for item in items:
            if item.get_closest_marker("window"):
                item.add_marker(skip)


class Server:
    """The real server, in a home of its own; started when the story says so."""

    def __init__(self, home: Path) -> None:
        self.home, self.log = home, home / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "LIMBECK_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "limbeck_server.cli", "serve"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + SERVER_START_S
        while not (self.home / "run" / "server.json").exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


@dataclass
class Story:
    """What the steps of the story share: the window, the server's home, and what came of the steps before."""

    blender: driver.BlenderWindow
    server: Server
    scratch: Path
    pictures: Path
    job_ids: list[str] = field(default_factory=list)
    _sidebar: Sidebar | None = None

    @property
    def sidebar(self) -> Sidebar:
        """The sidebar of the Blender that runs now."""
        if self._sidebar is None:
            self._sidebar = Sidebar(self.blender)
        return self._sidebar

    def begin(self, *arguments: str) -> None:
        """Start Blender anew; the sidebar that was known is gone with the old one."""
        self._sidebar = None
        self.blender.start(*arguments)

    def jobs(self) -> list[JobInfo]:
        """Ask the server itself, newest first."""
        with Client.discover(name="window-test") as client:
            return client.jobs().jobs

    def job(self, job_id: str) -> JobInfo:
        with Client.discover(name="window-test") as client:
            return client.job(job_id)

    def show_sidebar(self, name: str) -> None:
        """Keep a picture of the sidebar for the guide; the mouse goes away, so that no tooltip lies over it."""
        left, top, right, bottom = self.sidebar.viewport_box()
        self.blender.move((left + right) / 2, (top + bottom) / 2)
        self.publish(
            name, without_empty_end(self.blender.settled(timeout_s=8, box=self.sidebar.box()).crop(self.sidebar.box()))
        )

    def publish(self, name: str, picture: Image.Image, width_px: int | None = None) -> None:
        """Keep a picture for the guide."""
        pictures.publish(picture, self.pictures, name, width_px=width_px)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server that is not started yet; once it is, clients in this process find it too."""
    home = tmp_path_factory.mktemp("limbeck-home")
    home.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_HOME", str(home))
        made = Server(home)
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def story(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Install the zip into a scratch home and start Blender; yield what the steps share."""
    scratch = tmp_path_factory.mktemp("window")
    folder = Path(os.environ.get(pictures.FOLDER_VARIABLE) or scratch / "pictures")
    environment = {"LIMBECK_HOME": str(server.home), "RB_BIND": str(server.home)}
    with driver.BlenderWindow(scratch, environment) as blender:
        blender.install(driver.find_extension())
        told = Story(blender, server, scratch, folder)
        told.begin()
        yield told


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Leave a screenshot of the moment in which a step failed beside what Blender printed."""
    report = (yield).get_result()
    told = getattr(item, "funcargs", {}).get("story")
    if report.when == "call" and report.failed and told is not None:
        if told.blender.display:
            path = told.scratch / f"failed-{item.name}.png"
            told.blender.screenshot(path)
            report.sections.append(("screenshot", str(path)))
        report.sections.append(("Blender printed", told.blender.printed()[-4000:]))
