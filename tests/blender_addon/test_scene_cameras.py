"""Runs `inside/check_scene_cameras.py` in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_four_scene_cameras_make_an_object_that_survives_saving_and_opening(
    cube_server: Path, run_inside: Callable[..., str]
) -> None:
    run_inside("check_scene_cameras.py")
