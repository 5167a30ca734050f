"""Runs the checks of guidance and of the jobs list in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender
SERVE = Path(__file__).parent / "serve_example.py"


def test_what_the_server_offers_appears_in_the_panel_and_reaches_the_server(run_inside: Callable[..., str]) -> None:
    run_inside("check_guidance.py", str(SERVE), timeout_s=240.0)


def test_parameters_that_are_a_choice_are_menus_and_texts(run_inside: Callable[..., str]) -> None:
    run_inside("check_loss_choices.py", str(SERVE), timeout_s=240.0)


def test_the_jobs_list_finds_its_jobs_again_and_shows_them(run_inside: Callable[..., str]) -> None:
    run_inside("check_job_list.py", str(SERVE), timeout_s=240.0)


def test_pictures_of_jobs_are_checked_and_kept_within_bounds(run_inside: Callable[..., str]) -> None:
    run_inside("check_thumbnails.py")
