"""Workers as processes of this machine: one per job, spawned fresh, in a group of its own.

A thread per worker reads its pipe into a short queue, so that a worker that talks fast waits, and wakes the server's
loop; another one writes the pipe to it. Everything else happens in the server's own thread, in `poll`.
"""

from __future__ import annotations

import math
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from limbeck_protocol.codec import decode_worker_event, encode_message, pack_frames, unpack_frames
from limbeck_protocol.errors import CodecError
from limbeck_protocol.messages import Finished, GetPreview, WorkerEvent, WorkerFailed

from limbeck_server.service.executors.commands import CommandPipe
from limbeck_server.service.executors.executor import Report, WorkerEnded
from limbeck_server.service.executors.pipes import BadBlobError, read_blob
from limbeck_server.service.executors.process_group import exit_status, has_exited, signal_group

TERM_AFTER_S = 1.0
KILL_AFTER_S = 1.6
"""After a cancel: so that a worker is gone within two seconds even when it ignores everything."""
LINGER_S = 5.0
"""How long a worker may take to exit after its last word."""
EVENTS_WAITING = 32
LOG_NAME = "worker.log"
_SECRET = re.compile(r"\ALIMBECK_.*(SECRET|KEY|TOKEN|PASSWORD)")


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without Limbeck's secrets: a worker loads other people's models."""
    return {name: value for name, value in environment.items() if not _SECRET.match(name)}


@dataclass
class _Worker:
    job_id: str
    process: subprocess.Popen[bytes]
    commands: CommandPipe
    events: queue.Queue[WorkerEvent] = field(default_factory=lambda: queue.Queue(EVENTS_WAITING))
    reader: threading.Thread | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set once the process is gone: the reader waits for nobody then."""
    problem: str | None = None
    """What was wrong with its words, when they could not be understood."""
    term_at: float = math.inf
    kill_at: float = math.inf

    def end_by(self, term_at: float, kill_at: float) -> None:
        """Have it terminated and killed at these times; an earlier appointment stands."""
        self.term_at, self.kill_at = min(self.term_at, term_at), min(self.kill_at, kill_at)


class LocalExecutor:
    """Workers as processes; see `executor.Executor`.

    Args:
        entry: the worker as `module:function`, a generator function of recipe and folder; imported in the child only.
        wake: called from other threads when `poll` has something to return.
        clock: monotonic seconds.
    """

    def __init__(
        self, entry: str, wake: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entry = entry
        self._wake = wake
        self._clock = clock
        self._workers: dict[str, _Worker] = {}
        self._stillborn: list[Report] = []

    def start(self, job_id: str, folder: Path) -> None:
        """Start a worker on `folder / "recipe.json"`; its output goes to `folder / "worker.log"`."""
        # -P: what lies in the folder that the server was started from is not imported.
        command = [sys.executable, "-P", "-m", "limbeck_server.service.executors.child", self._entry, str(folder)]
        own_group = {"process_group": 0} if sys.platform != "win32" else {"creationflags": 0x200}
        try:
            with (folder / LOG_NAME).open("ab") as log:
                process = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603  # our own program
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=worker_environment(os.environ),
                    **own_group,
                )
        except OSError as error:
            self._stillborn.append(Report(job_id, WorkerEnded(f"it could not be started: {error.strerror}")))
            return
        worker = _Worker(job_id, process, CommandPipe(process.stdin, f"commands-{job_id}"))
        worker.reader = threading.Thread(target=self._read, args=(worker,), name=f"worker-{job_id}", daemon=True)
        self._workers[job_id] = worker
        worker.reader.start()

    def poll(self) -> list[Report]:
        """Return what has happened since the last call, and see to workers that should be gone."""
        reports, self._stillborn = self._stillborn, []
        now = self._clock()
        for worker in list(self._workers.values()):
            reports += self._drain(worker)
            self._press(worker, now)
            if has_exited(worker.process):
                signal_group(worker.process, kill=True)  # children that it left behind
                reports += self._reap(worker)
                del self._workers[worker.job_id]
        return reports

    def running(self) -> int:
        return len(self._workers) + len(self._stillborn)

    def cancel(self, job_id: str) -> None:
        """Ask the worker to end; terminate it after a second, kill it 0.6 s later."""
        worker = self._workers.get(job_id)
        if worker is None:
            return
        now = self._clock()
        worker.end_by(now + TERM_AFTER_S, now + KILL_AFTER_S)
        worker.commands.cancel()

    def look(self, job_id: str, request: GetPreview) -> None:
        """Hand the request on as it came."""
        worker = self._workers.get(job_id)
        if worker is not None:
            worker.commands.look(pack_frames(encode_message(request, request_id="viewer")))

    def close(self) -> None:
        """Cancel every worker and wait until all are gone."""
        for job_id in list(self._workers):
            self.cancel(job_id)
        while self._workers:
            self.poll()
            time.sleep(0.01)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _read(self, worker: _Worker) -> None:
        """In the worker's own thread: pipe to queue, until the pipe ends or stops making sense."""
        pipe: BinaryIO = worker.process.stdout  # type: ignore[assignment]  # it is a pipe
        try:
            while (blob := read_blob(pipe)) is not None:
                self._hand_over(worker, decode_worker_event(unpack_frames(blob)).message)
        except (BadBlobError, CodecError, OSError) as error:
            worker.problem = f"its words could not be understood: {error}"
        finally:
            pipe.close()
            self._wake()

    def _hand_over(self, worker: _Worker, event: WorkerEvent) -> None:
        while not worker.stopping.is_set():
            try:
                worker.events.put(event, timeout=0.5)
                break
            except queue.Full:
                self._wake()
        self._wake()

    def _drain(self, worker: _Worker) -> list[Report]:
        reports: list[Report] = []
        while len(reports) < EVENTS_WAITING:
            try:
                event = worker.events.get_nowait()
            except queue.Empty:
                break
            if isinstance(event, (Finished, WorkerFailed)):
                now = self._clock()
                worker.end_by(now + LINGER_S, now + LINGER_S + 1.0)
            reports.append(Report(worker.job_id, event))
        return reports

    def _press(self, worker: _Worker, now: float) -> None:
        """Terminate or kill a worker whose time has come, and one that makes no sense."""
        if worker.problem is not None:
            worker.end_by(now, now + TERM_AFTER_S)
        if now >= worker.kill_at:
            signal_group(worker.process, kill=True)
        elif now >= worker.term_at:
            signal_group(worker.process, kill=False)
            worker.term_at = math.inf

    def _reap(self, worker: _Worker) -> list[Report]:
        """Collect what the dead worker still said, then how it ended."""
        deadline = self._clock() + 1.0
        reports: list[Report] = []
        while worker.reader is not None and worker.reader.is_alive() and self._clock() < deadline:
            reports += self._drain(worker)
            worker.reader.join(0.005)
        worker.stopping.set()
        reports += self._drain(worker)
        how = exit_status(worker.process)
        if worker.problem is not None:
            how = f"{how}; {worker.problem}"
        worker.commands.close()
        return [*reports, Report(worker.job_id, WorkerEnded(how))]
