"""Runs `inside/check_registration.py` in Blender's module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.blender


def test_the_add_on_comes_and_goes_and_its_panels_name_only_what_exists(run_inside: Callable[..., str]) -> None:
    run_inside("check_registration.py")
