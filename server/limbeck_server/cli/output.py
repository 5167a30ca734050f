"""What the terminal shows: people read standard error, programs read one JSON object on standard output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.messages import Event, JobInfo, Progress
from limbeck_protocol.recipe import encode_array_as_list


def say(text: str) -> None:
    """Print a line for people."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(msgspec.to_builtins(value, enc_hook=encode_array_as_list), sort_keys=True), flush=True)


def job_summary(job: JobInfo) -> dict[str, Any]:
    """Return what `--json` prints of a job."""
    return {
        "job_id": job.job_id,
        "state": str(job.state),
        "recipe": msgspec.to_builtins(job.recipe, enc_hook=encode_array_as_list),
        "seconds": job.metrics.get("seconds"),
        "steps": job.metrics.get("steps"),
        "prior_evaluations": job.metrics.get("prior_evaluations"),
        "artifacts": [msgspec.to_builtins(artifact) for artifact in job.artifacts],
        "metrics": job.metrics,
        "error": msgspec.to_builtins(job.error) if job.error else None,
    }


def check_writable(path: Path) -> None:
    """Raise unless a file can be put at `path`; leaves nothing behind.

    Raises:
        LimbeckError: the folder is missing or closed, or the path is a folder.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise LimbeckError(ErrorCode.CANNOT_WRITE, f"No file can have that name: {error.strerror}.") from error
    folder = path.resolve().parent
    if is_folder:
        raise LimbeckError(ErrorCode.CANNOT_WRITE, f"{path} is a folder; a file name was expected.")
    if not folder.is_dir():
        raise LimbeckError(ErrorCode.CANNOT_WRITE, f"There is no folder {folder}.")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise LimbeckError(ErrorCode.CANNOT_WRITE, f"{path} cannot be written: permission denied.")


def is_file(path: Path) -> bool:
    """Return whether there is a file; a name that is too long for one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def unused(path: Path) -> Path:
    """Return the path, or the first of `name-2`, `name-3`, ... that nothing has: what is there stays."""
    found, number = path, 1
    while found.exists() or found.is_symlink():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found


class JobDisplay:
    """A rich progress bar per phase, on standard error; plain lines where that is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self._console = Console(stderr=True)
        self._bars = Bars(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._told_phase = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[JobDisplay]:
        """Show the bars while the block runs."""
        with self._bars:
            yield self

    def on_event(self, event: Event) -> None:
        """Tell of phases, notices and artifacts."""
        if event.kind == "notice":
            self._console.print(event.data["text"], highlight=False, markup=False)
        elif event.kind == "phase" and not self._console.is_terminal:
            self._console.print(event.data["title"], highlight=False, markup=False)

    def on_progress(self, progress: Progress) -> None:
        """Move the bar of the progress's phase."""
        loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
        loss += "".join(f" {name} {value:.3f}" for name, value in progress.terms.items())
        left = "" if progress.seconds_left is None else f"{progress.seconds_left:.0f} s left"
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = self._bars.add_task(progress.phase, total=progress.steps, loss="", left="")
        self._bars.update(
            self._tasks[progress.phase], completed=progress.step, total=progress.steps, loss=loss, left=left
        )
