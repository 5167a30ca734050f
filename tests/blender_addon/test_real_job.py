"""Runs the checks with the real worker in Blender's module: the add-on starts the server, which does the job."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.blender, pytest.mark.slow]


def test_a_prompt_becomes_a_mesh_in_blender(run_inside: Callable[..., str]) -> None:
    run_inside("check_real_job.py", "20", timeout_s=290.0)


def test_a_prompt_becomes_a_picture_in_blender(run_inside: Callable[..., str]) -> None:
    run_inside("check_real_image.py", "40", timeout_s=290.0)
