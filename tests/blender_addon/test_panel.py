"""Runs the checks of the panel and of the server's panel in Blender's module."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender


def test_tooltips_reasons_remedies_and_narrow_sidebars(run_inside: Callable[..., str]) -> None:
    run_inside("check_panel.py")


def test_the_server_is_found_examined_started_and_stopped_from_the_panel(
    run_inside: Callable[..., str], tmp_path: Path
) -> None:
    # A virtual environment as the user may name one: its Python is this one.
    python = tmp_path / "project" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    run_inside("check_server_panel.py", str(tmp_path / "project"), sys.executable, timeout_s=240.0)
