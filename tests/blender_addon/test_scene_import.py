"""Runs `inside/check_import.py` in Blender's module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.blender


def test_arrays_become_an_object_or_leave_nothing(run_inside: Callable[..., str]) -> None:
    run_inside("check_import.py")
