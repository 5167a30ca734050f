"""How the parts of a job tell of their progress: a clock, and long calls made in a thread of their own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from limbeck_protocol.messages import AnyWorkerEvent, Progress, ViewerCamera, WorkerProgress

SECONDS_BETWEEN_PROGRESS = 0.1

Result = TypeVar("Result")
ProgressCallback = Callable[[int, int], None]
Steps = Generator[AnyWorkerEvent, ViewerCamera | None, None]


class Clock:
    """Seconds since the job began; monotonic."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return how long the job has been running."""
        return time.monotonic() - self._start


def with_progress(
    work: Callable[[ProgressCallback], Result], phase: str, clock: Clock
) -> Generator[AnyWorkerEvent, None, Result]:
    """Run `work(report)` in a thread and yield its reports as progress; return what it returns.

    A thread, so that a cancel is noticed between reports while a library computes; the process ends with it.
    """
    reports: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(work(lambda done, total: reports.put((done, total))))
        except BaseException as error:  # handed to the generator, which raises it in its own thread
            failure.append(error)
        finally:
            reports.put(None)

    threading.Thread(target=body, name=phase, daemon=True).start()
    told = -1.0
    while (report := reports.get()) is not None:
        now = clock.seconds()
        if now - told >= SECONDS_BETWEEN_PROGRESS:
            told = now
            yield WorkerProgress(progress=Progress(phase=phase, step=report[0], steps=report[1], seconds=now))
    if failure:
        raise failure[0]
    return outcome[0]
