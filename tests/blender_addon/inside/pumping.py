"""What drives the add-on in scripts: its pump, called as Blender's timer would call it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

TICK_S = 0.02


class Ticks:
    """Pumps whose time is taken: by the clock, and the work of their own thread, both in seconds.

    A busy machine keeps a pump waiting for a core, so only `works` is held against a narrow limit. `walls` has a wide
    one: a pump that waited for a server's answer would miss it by far.
    """

    def __init__(self) -> None:
        self.walls: list[float] = []
        self.works: list[float] = []

    def pump(self) -> float | None:
        """Pump once and return when to pump again, as the add-on does."""
        begun, worked = time.perf_counter(), time.thread_time()
        interval = sys.modules["limbeck"].runtime.pump()
        self.walls.append(time.perf_counter() - begun)
        self.works.append(time.thread_time() - worked)
        return interval

    def check(self, work_s: float, wall_s: float) -> None:
        """Hold the longest against their limits, and say what they were."""
        longest, work = max(self.walls, default=0.0), max(self.works, default=0.0)
        print(f"{len(self.walls)} ticks: longest {1000 * longest:.1f} ms, own work {1000 * work:.1f} ms at most")
        assert work < work_s, work
        assert longest < wall_s, longest


def pump_until(condition: Callable[[], object], timeout_s: float = 60.0, *, awaited: bool = False) -> set[str]:
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
