"""Runs the checks of the live previews in Blender's module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_a_viewer_s_camera_agrees_with_blender_s_own_projection(run_inside: Callable[..., str]) -> None:
    run_inside("check_viewer_camera.py")


def test_pictures_arrive_in_the_image_editor_and_in_the_3_d_view(run_inside: Callable[..., str]) -> None:
    run_inside("check_live_preview.py")


def test_a_viewer_s_camera_goes_through_the_session_to_the_worker_and_back(
    cube_server: Path, run_inside: Callable[..., str]
) -> None:
    run_inside("check_viewer_session.py")
