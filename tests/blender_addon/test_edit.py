"""Runs `inside/check_edit.py` in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_results_are_edited_or_the_button_says_why_not(cube_server: Path, run_inside: Callable[..., str]) -> None:
    run_inside("check_edit.py")
