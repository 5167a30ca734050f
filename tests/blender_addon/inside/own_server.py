"""A server that a script starts and ends itself, in the home that LIMBECK_HOME names."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import harness
from limbeck_protocol.discovery import server_record_path


@contextlib.contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen]:
    """Run `script` until the block ends; inside, its server answers. Its worker is looked for beside the script."""
    environment = {**os.environ, "PYTHONPATH": str(Path(script).resolve().parent)}
    server = subprocess.Popen([harness.server_python(), script, *arguments], env=environment)
    try:
        deadline = time.monotonic() + 30
        while not server_record_path().exists():
            assert server.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.05)
        yield server
    finally:
        server.terminate()
        server.wait(20)
