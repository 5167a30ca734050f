"""The life of a job: one table for both ends.

Rules of this file: it holds the states, which of them are final, and the only moves that are legal.
The server refuses any other move; the panel asks this table what it may offer. No I/O, no clocks.
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. The values travel on the wire and are never renamed."""

    QUEUED = "queued"
    """Acknowledged and stored; waits for a worker."""
    STARTING = "starting"
    """Its worker process has been spawned and is importing."""
    RUNNING = "running"
    """The optimiser runs."""
    EXPORTING = "exporting"
    """The field is being turned into a mesh."""
    CANCELLING = "cancelling"
    """Somebody asked for its end; the worker has not gone yet."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LEGAL_MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.CANCELLED, JobState.FAILED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.EXPORTING, JobState.CANCELLING, JobState.FAILED}),
    JobState.EXPORTING: frozenset({JobState.SUCCEEDED, JobState.CANCELLING, JobState.FAILED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

FINAL_STATES = frozenset(state for state, moves in LEGAL_MOVES.items() if not moves)


class IllegalMoveError(Exception):
    """A job was asked to make a move that the table does not hold."""


def check_move(before: JobState, after: JobState) -> None:
    """Raise `IllegalMoveError` unless a job in state `before` may go to `after`."""
    if after not in LEGAL_MOVES[before]:
        allowed = ", ".join(sorted(LEGAL_MOVES[before])) or "nothing: it has ended"
        raise IllegalMoveError(f"a {before} job cannot become {after}; from {before} it may become {allowed}")
