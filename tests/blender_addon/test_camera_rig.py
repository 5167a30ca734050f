"""Runs the checks of rigs in Blender's module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.blender


def test_cameras_and_orbits_become_the_rig_that_blender_would_project(run_inside: Callable[..., str]) -> None:
    run_inside("check_rig.py")


def test_known_points_fall_on_the_same_pixel_in_blender_and_on_the_server(run_inside: Callable[..., str]) -> None:
    print(run_inside("check_rig_projection.py"))


def test_the_panel_chooses_weighs_and_judges_cameras(run_inside: Callable[..., str]) -> None:
    run_inside("check_rig_panel.py")


def test_the_viewport_draws_the_rig_where_the_server_looks_from(run_inside: Callable[..., str]) -> None:
    run_inside("check_rig_overlay.py")
