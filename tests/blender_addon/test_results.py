"""Runs `inside/check_results.py` in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_results_are_run_again_branched_compared_and_marked(cube_server: Path, run_inside: Callable[..., str]) -> None:
    run_inside("check_results.py")
