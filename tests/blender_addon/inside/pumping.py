"""What drives the add-on in scripts: its pump, called as Blender's timer would call it."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable

TICK_S = 0.02


class Ticks:
    """Pumps whose time is taken, in seconds; what a busy machine takes from them is left out.

    A pump that waited by its own doing (for an answer, a lock, a disk) gave its core away, which the system counts; it
    took as long as the clock says. One that did not took as long as its thread worked: if the clock says more, somebody
    else had the core.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def pump(self) -> float | None:
        """Pump once and return when to pump again, as the add-on does."""
        begun, worked, waits = time.perf_counter(), time.thread_time(), _waits()
        interval = sys.modules["limbeck"].runtime.pump()
        has_waited = _waits() > waits
        self.seconds.append(time.perf_counter() - begun if has_waited else time.thread_time() - worked)
        return interval

    def share(self, of: float) -> float:
        """Return what this share of the ticks stayed below: 1 gives the longest."""
        ordered = sorted(self.seconds)
        return ordered[min(int(of * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def _waits() -> int:
    """Return how often this thread has given its core away so far, to wait for something."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def pump_until(condition: Callable[[], object], timeout_s: float = 40.0, *, awaited: bool = False) -> set[str]:
    """Pump until the condition holds and return the states of the session that were seen.

    Args:
        awaited: until then the add-on must want to be called again; a pump that rests is a failure.
    """
    runtime = sys.modules["limbeck"].runtime
    seen: set[str] = set()
    deadline = time.monotonic() + timeout_s
    while not condition():
        interval = runtime.pump()
        session = runtime.session()
        seen.add(str(session.state))
        said = (session.state, session.error, session.followed, session.jobs)
        assert time.monotonic() < deadline, said
        assert interval is not None or not awaited or condition(), said
        time.sleep(min(interval or TICK_S, TICK_S))
    return seen


def pump_dry(timeout_s: float = 120.0) -> Ticks:
    """Pump until nothing is awaited any more."""
    ticks, deadline = Ticks(), time.monotonic() + timeout_s
    while ticks.pump() is not None:
        assert time.monotonic() < deadline, sys.modules["limbeck"].runtime.session().state
        time.sleep(TICK_S)
    return ticks
