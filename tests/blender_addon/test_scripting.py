"""Runs `inside/check_scripting.py` in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_the_documented_examples_run(cube_server: Path, run_inside: Callable[..., str]) -> None:
    run_inside("check_scripting.py")
