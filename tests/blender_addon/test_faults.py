"""Runs the checks of `inside/check_faults.py` in Blender's module, each in a process and a home of its own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.blender
FOLDER = Path(__file__).parent
STRANGE_SERVER = str(FOLDER / "strange_server.py")
RunInside = Callable[..., str]


@pytest.fixture
def limbeck_command(tmp_path: Path) -> str:
    """Return a command `limbeck` whose server is the real one with the cube's worker."""
    program = tmp_path / "bin" / "limbeck"
    program.parent.mkdir()
    words = ["env", f"PYTHONPATH={FOLDER}", sys.executable, str(FOLDER / "serve_cube.py")]
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    "check",
    [
        "a_file_is_opened_during_a_job",
        "steps_are_undone_during_a_job",
        "what_marks_the_place_is_deleted_before_the_import",
        "without_online_access_a_remote_server_is_left_alone_and_a_local_one_is_not",
    ],
)
def test_a_job_survives_when(check: str, cube_server: Path, run_inside: RunInside) -> None:
    run_inside("check_faults.py", check)


def test_no_tick_waits_for_a_server_that_is_stopped(
    cube_server: Path, run_inside: RunInside, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run_inside("check_faults.py", "no_tick_waits_for_a_server_that_is_stopped")
    with capsys.disabled():
        print(f"\n{next(line for line in said.splitlines() if 'p99' in line)}")


def test_a_killed_server_is_started_anew_and_the_job_found_again(
    cube_server: Path, run_inside: RunInside, limbeck_command: str
) -> None:
    run_inside("check_faults.py", "a_killed_server_is_started_anew_and_the_job_found_again", limbeck_command)


def test_a_job_waits_until_the_program_that_serves_is_named(run_inside: RunInside, limbeck_command: str) -> None:
    run_inside("check_faults.py", "a_job_waits_until_the_program_that_serves_is_named", limbeck_command)


@pytest.mark.parametrize("check", ["another_program_has_the_port", "an_older_server_has_the_port"])
def test_the_panel_says_so_when(check: str, run_inside: RunInside, limbeck_command: str) -> None:
    run_inside("check_faults.py", check, STRANGE_SERVER, limbeck_command)


def test_without_a_server_there_is_a_button_to_start_one(run_inside: RunInside) -> None:
    run_inside("check_faults.py", "nothing_is_there")
