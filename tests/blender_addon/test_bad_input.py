"""Runs `inside/check_bad_input.py` in Blender's module."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.blender


def test_bad_input_is_a_sentence_and_leaves_nothing(run_inside: Callable[..., str]) -> None:
    run_inside("check_bad_input.py")
