"""Which job runs next. First come, first served; the store is the queue, so a restart loses nothing."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck_protocol.errors import ErrorCode, LimbeckError

from limbeck_server.service.job_store import JobStore


@dataclass(frozen=True)
class QueueLimits:
    """How much may wait and how much may run."""

    queued: int = 256
    """Jobs that may wait at a time."""
    running: int = 1
    """Workers at a time: one, since one job fills a machine."""


def check_room(store: JobStore, limits: QueueLimits) -> None:
    """Raise unless one more job may be queued.

    Raises:
        LimbeckError: `QUOTA_EXCEEDED`.
    """
    waiting = store.count_queued()
    if waiting >= limits.queued:
        raise LimbeckError(
            ErrorCode.QUOTA_EXCEEDED, f"{waiting} jobs wait already; this server queues up to {limits.queued}."
        )


def next_job(store: JobStore, running: int, limits: QueueLimits) -> str | None:
    """Return the id of the job to start now, None while nothing waits or every place is taken.

    Args:
        store: the store.
        running: how many workers exist.
        limits: the limits.
    """
    if running >= limits.running:
        return None
    return store.oldest_queued()
