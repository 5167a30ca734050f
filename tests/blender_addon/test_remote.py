"""Runs `inside/check_remote.py` against a server that is bound to another address of this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from limbeck_protocol.discovery import generate_keys
from limbeck_server.cli.announcement import outward_address
from limbeck_server.service.access import allow_client

pytestmark = pytest.mark.blender
FOLDER = Path(__file__).parent


@pytest.fixture
def wide_server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Run the real server, bound to this machine's own address; yield its home and the line that it prints."""
    address = outward_address(socket.AF_INET)
    if address is None or ipaddress.ip_address(address).is_loopback:
        pytest.skip("this machine has no address besides loopback")
    home = tmp_path / "studio"
    (home / "keys").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    # Nobody can bind wide before a first key is allowed: somebody else's.
    allow_client(home / "keys" / "allowed.json", "somebody", generate_keys().public_key)
    environment = {**os.environ, "LIMBECK_HOME": str(home), "PYTHONPATH": str(FOLDER)}
    said = tmp_path / "said.txt"
    with said.open("wb") as output:
        command = [sys.executable, str(FOLDER / "serve_cube.py"), "serve", "--bind", f"tcp://{address}:*"]
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 30
            while "keys allow" not in said.read_text():
                assert server.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.05)
            yield home, next(line for line in said.read_text().splitlines() if line.startswith("limbeck://"))
        finally:
            server.terminate()
            server.wait(20)


def test_a_server_elsewhere_is_reached_by_its_line_once_the_key_is_allowed(
    wide_server: tuple[Path, str], run_inside: Callable[..., str]
) -> None:
    home, line = wide_server
    run_inside("check_remote.py", str(home), line)
