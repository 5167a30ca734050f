"""A home of its own for each module of command line tests, and a server that is stopped at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Limbeck = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """LIMBECK_HOME for a module; whatever server was started in it is stopped afterwards."""
    from limbeck_protocol.discovery import read_server_record

    folder = tmp_path_factory.mktemp("home")
    yield folder
    before = os.environ.get("LIMBECK_HOME")
    os.environ["LIMBECK_HOME"] = str(folder)
    try:
        record = read_server_record()
    except Exception as error:  # no server was started, or it is gone
        print(error)
        record = None
    finally:
        if before is None:
            del os.environ["LIMBECK_HOME"]
        else:
            os.environ["LIMBECK_HOME"] = before
    if record is not None:
        stop(record.pid)


def stop(pid: int) -> None:
    """Ask a server to stop, and wait until it is gone."""
    try:
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        return
    raise AssertionError(f"server {pid} did not stop within 10 s")


@pytest.fixture(scope="module")
def limbeck(home: Path) -> Limbeck:
    """Run `limbeck ARGUMENTS` and return the finished process."""

    def run(*arguments: str, cwd: Path | None = None, timeout_s: float = 240) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "limbeck_server.cli", *arguments],
            env={**os.environ, "LIMBECK_HOME": str(home)},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    return run
