"""Runs the checks of the session in Blender's module, against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender
SERVE = Path(__file__).parent / "serve_cube.py"


def test_the_panel_s_session_generates_cancels_reports_and_takes_up_again(
    cube_server: Path, run_inside: Callable[..., str]
) -> None:
    run_inside("check_session.py")


def test_the_session_bears_with_a_server_that_dies_and_comes_back(
    cube_server: Path, run_inside: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SERVE.parent))
    run_inside("check_outage.py", str(SERVE))
