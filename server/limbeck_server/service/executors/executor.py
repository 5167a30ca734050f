"""The contract between the server and whatever runs workers. Small, so that a cluster can stand behind it too.

An executor starts workers and reports; it never decides. The job's truth stays in the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from limbeck_protocol.messages import GetPreview, WorkerEvent


@dataclass(frozen=True)
class WorkerEnded:
    """The last report about a worker: it is gone, and nothing of it is left running."""

    how: str
    """For people: `exit code 1`, `signal SIGKILL`."""


@dataclass(frozen=True)
class Report:
    """What happened to the worker of a job."""

    job_id: str
    what: WorkerEvent | WorkerEnded


class Executor(Protocol):
    """Runs one worker per job. All methods return at once, except `close`."""

    def start(self, job_id: str, folder: Path) -> None:
        """Start a worker on `folder / "recipe.json"`. A worker that cannot start is reported as ended.

        Args:
            job_id: whose worker it is; it has none yet.
            folder: the job's own.
        """

    def poll(self) -> list[Report]:
        """Return what has happened since the last call, in order for each job. Call at least every 0.1 s."""

    def running(self) -> int:
        """Return how many workers have been started and not yet been reported as ended."""

    def cancel(self, job_id: str) -> None:
        """Have the job's worker gone within two seconds, whether it listens or not; unknown jobs are ignored."""

    def look(self, job_id: str, request: GetPreview) -> None:
        """Tell the job's worker where a viewer looks from. Only the newest counts; unknown jobs are ignored."""

    def close(self) -> None:
        """Have every worker gone, within two seconds, and free everything. No report follows."""
