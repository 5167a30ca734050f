"""What a person waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest


def best_seconds(*command: str, tries: int = 5) -> float:
    """The shortest of a few runs: what the program takes, without what the machine was doing besides."""
    best = float("inf")
    for _ in range(tries):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        best = min(best, time.perf_counter() - begun)
    return best


def test_importing_the_protocol_is_quick_and_light() -> None:
    program = (
        "import sys, limbeck_protocol; bad = {'torch', 'bpy', 'numpy', 'zmq'} & set(sys.modules); assert not bad, bad"
    )
    assert best_seconds(sys.executable, "-c", program) <= 0.3


def test_help_answers_at_once() -> None:
    assert best_seconds(sys.executable, "-m", "limbeck_server.cli", "--help") <= 1.0


@pytest.mark.parametrize(
    "module",
    ["limbeck_server.recipes", "limbeck_server.service.server", "limbeck_server.cli", "limbeck_protocol.client"],
)
def test_the_server_side_leaves_torch_alone(module: str) -> None:
    program = f"import sys, {module}; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
