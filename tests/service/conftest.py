"""Real servers in processes of their own, each with a home of its own, and clients with real keys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from limbeck_protocol.client import Client
from limbeck_protocol.discovery import ServerRecord, create_or_load_keys, find_folders, read_server_record
from limbeck_protocol.messages import JobInfo
from limbeck_protocol.recipe import Recipe, Settings

HERE = Path(__file__).parent
SERVE_TOY = HERE / "serve_toy.py"


@dataclass
class ServerProcess:
    """A running toy server and its clients."""

    home: Path
    process: subprocess.Popen[bytes]
    record: ServerRecord
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        keys = create_or_load_keys(self.home / "keys" / "client.json")
        self.clients.append(Client(self.record.endpoint, self.record.server_key, keys, name="test"))
        return self.clients[-1]

    def folder(self, job_id: str) -> Path:
        return self.home / "data" / "jobs" / job_id

    def pid_of(self, job_id: str) -> int:
        return int(wait_for(lambda: read_if_there(self.folder(job_id) / "pid")))

    def log(self) -> str:
        return (self.home / "server.log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        for client in self.clients:
            client.close()
        self.process.send_signal(number)
        return self.process.wait(10)


def environment_of(home: Path) -> dict[str, str]:
    return {**os.environ, "LIMBECK_HOME": str(home), "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}


def start_server_process(home: Path, **options: Any) -> ServerProcess:
    home.mkdir(mode=0o700, exist_ok=True)
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVE_TOY), json.dumps(options)], env=environment_of(home), stderr=log, stdout=log
        )
    path = find_folders({"LIMBECK_HOME": str(home)}).runtime / "server.json"

    def own_record() -> ServerRecord | None:
        assert process.poll() is None, (home / "server.log").read_text()
        record = read_server_record(path)
        return record if record is not None and record.pid == process.pid else None

    return ServerProcess(home, process, wait_for(own_record))


def wait_for(look: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Return the first truthy value of `look()`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"did not happen within {timeout_s:g} s")


def read_if_there(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for_state(client: Client, job_id: str, *states: str, timeout_s: float = 10.0) -> JobInfo:
    return wait_for(lambda: (job := client.job(job_id)).state in states and job, timeout_s)


def make_recipe(prompt: str = "fit", steps: int = 12, seed: int = 0) -> Recipe:
    return Recipe(prompt=prompt, seed=seed, settings=Settings(steps=steps))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers, in `tmp_path / "home"` unless told otherwise; they are killed at the end."""
    started: list[ServerProcess] = []

    def start(home: Path | None = None, **options: Any) -> ServerProcess:
        started.append(start_server_process(home or tmp_path / "home", **options))
        return started[-1]

    yield start
    for server in started:
        for client in server.clients:
            client.close()
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for the whole module; it must still stop properly at the end."""
    running = start_server_process(tmp_path_factory.mktemp("service") / "home")
    yield running
    assert running.stop() == 0


@pytest.fixture
def client(server: ServerProcess) -> Iterator[Client]:
    """A client of the module's server."""
    made = server.client()
    yield made
    made.close()


@pytest.fixture(scope="session")
def tools() -> Any:
    """This module's own functions, for tests: test folders are no packages."""
    return sys.modules[__name__]
