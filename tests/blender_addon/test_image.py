"""Runs the checks of pictures in Blender's module, against the real server (its worker paints noise)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_a_picture_lands_as_an_image_data_block_with_its_recipe(
    cube_server: Path, run_inside: Callable[..., str]
) -> None:
    run_inside("check_image.py")


def test_scripts_and_the_command_make_pictures(cube_server: Path, run_inside: Callable[..., str]) -> None:
    run_inside("check_scripted_image.py")


def test_what_comes_as_a_picture_is_checked_before_blender_sees_it(run_inside: Callable[..., str]) -> None:
    run_inside("check_picture.py")


def test_the_panel_offers_what_makes_images_with_this_prior(run_inside: Callable[..., str]) -> None:
    run_inside("check_image_panel.py")
