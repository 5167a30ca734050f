"""Runs `inside/check_variants.py` in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_variants_are_handed_in_at_once_and_arrive_in_a_row(cube_server: Path, run_inside: Callable[..., str]) -> None:
    run_inside("check_variants.py")
