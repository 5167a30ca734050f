"""The logs of the server on this computer: where they lie, and their last lines."""

from __future__ import annotations

from pathlib import Path

from limbeck_protocol.discovery import find_folders

from .server_process import LOG_NAME

JOB_LOG_NAME = "worker.log"
TAIL_BYTES = 16 * 1024


def log_path(job_id: str | None = None) -> Path:
    """Return where the log of the server lies, or of one of its jobs; a job without one falls back to the server's."""
    data = find_folders().data
    if job_id is not None:
        path = data / "jobs" / job_id / JOB_LOG_NAME
        if path.is_file():
            return path
    return data / LOG_NAME


def tail(path: Path) -> list[str]:
    """Return the last lines of a log, 16 KiB of them at most; one line that says so where there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return [f"{path} cannot be read: {error.strerror}."]
    return lines[1 if size > TAIL_BYTES else 0 :] or [f"{path} is empty."]
