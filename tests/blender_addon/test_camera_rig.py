"""Runs `inside/check_rig.py` in Blender's module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.blender


def test_cameras_and_orbits_become_the_rig_that_blender_would_project(run_inside: Callable[..., str]) -> None:
    run_inside("check_rig.py")
