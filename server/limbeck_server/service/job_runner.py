"""Takes queued jobs to workers, and what workers say to the store. The only writer of states after `queued`.

Called from the server's loop: `advance` does what there is to do and returns at once.
"""

from __future__ import annotations

import errno
import logging
import sqlite3
import time
from collections import deque
from pathlib import Path

from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.job_states import FINAL_STATES, JobState
from limbeck_protocol.messages import (
    ArtifactWritten,
    ErrorReply,
    Finished,
    GetPreview,
    JobInfo,
    Notice,
    PhaseStarted,
    PreviewReady,
    Progress,
    View,
    WorkerEvent,
    WorkerFailed,
    WorkerProgress,
)
from limbeck_protocol.recipe import recipe_to_json
from limbeck_protocol.replies import error_reply

from limbeck_server.service.artifacts import describe, job_folder
from limbeck_server.service.executors.executor import Executor, Report, WorkerEnded
from limbeck_server.service.job_queue import QueueLimits, next_job
from limbeck_server.service.job_store import LIVE_STATES, JobStore
from limbeck_server.service.preview_mailbox import PreviewMailbox

EXPORT_PHASES = frozenset({"mesh", "texture", "score"})
"""Phases in which the field is being turned into results; all others come before."""
RETRY_S = 1.0
_ROAD = (JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.SUCCEEDED)
_log = logging.getLogger(__name__)


class JobRunner:
    """Starts jobs, stores what their workers say, ends them.

    Args:
        store: the truth.
        executor: where workers run.
        previews: where pictures go.
        jobs_folder: each job gets a folder of its own in it.
        limits: how many jobs run at a time.
    """

    def __init__(
        self, store: JobStore, executor: Executor, previews: PreviewMailbox, jobs_folder: Path, limits: QueueLimits
    ) -> None:
        self._store = store
        self._executor = executor
        self._previews = previews
        self._jobs_folder = jobs_folder
        self._limits = limits
        self._reports: deque[Report] = deque()
        self._live: set[str] = set()
        self._retry_at = 0.0
        self.progress: dict[str, Progress] = {}
        """The latest word of each running job; in memory only."""
        self.views: dict[str, View] = {}
        """The view that each running job has optimised last."""

    def running(self) -> int:
        """Return how many workers exist."""
        return self._executor.running()

    def advance(self) -> None:
        """Store what workers said since the last call, and start the next job if there is room.

        While the store cannot be written (a full disk), reports wait, in order; nothing is lost or done twice.
        """
        if time.monotonic() < self._retry_at:
            return
        try:
            self._take_reports()
            while (job_id := next_job(self._store, self._executor.running(), self._limits)) is not None:
                self._start(job_id)
        except sqlite3.Error:
            _log.exception("the store cannot be written; it is tried again in %g s", RETRY_S)
            self._retry_at = time.monotonic() + RETRY_S

    def cancel(self, job_id: str) -> JobInfo:
        """Have the job end, and return how it stands; one that has ended stays as it is.

        Raises:
            LimbeckError: `JOB_NOT_FOUND`.
        """
        state = self._store.state(job_id)
        if state == JobState.QUEUED:
            self._store.move(job_id, JobState.CANCELLED)
        elif state not in FINAL_STATES and state != JobState.CANCELLING:
            self._store.move(job_id, JobState.CANCELLING)
            self._executor.cancel(job_id)
        return self._store.job(job_id)

    def look(self, request: GetPreview) -> None:
        """Tell the job's worker where a viewer looks from; a job without one is left as it is."""
        self._executor.look(request.job_id, request)

    def stop(self) -> None:
        """End all workers, within two seconds, and say so in their jobs. Queued jobs wait for the next start."""
        self._take_reports()
        self._executor.close()
        for job_id in sorted(self._live):
            state = self._store.state(job_id)
            if state == JobState.CANCELLING:
                self._store.move(job_id, JobState.CANCELLED)
            elif state in LIVE_STATES:
                self._store.move(job_id, JobState.FAILED, error=_lost("The server was stopped while this job ran."))
        self._live.clear()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take_reports(self) -> None:
        if not self._reports:
            self._reports.extend(self._executor.poll())
        while self._reports:
            try:
                self._take(self._reports[0])
            except sqlite3.Error:
                raise
            except Exception as error:
                _log.exception("a report of job %s could not be handled", self._reports[0].job_id)
                self._give_up(self._reports[0].job_id, error)
            self._reports.popleft()

    def _start(self, job_id: str) -> None:
        folder = job_folder(self._jobs_folder, job_id)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = folder / "recipe.json.part"
            unfinished.write_text(recipe_to_json(self._store.job(job_id).recipe), encoding="utf-8")
            unfinished.replace(folder / "recipe.json")
        except OSError as error:
            message = f"The job's folder could not be written: {error.strerror}."
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            code = ErrorCode.DISK_FULL if full else ErrorCode.CANNOT_WRITE
            self._store.move(
                job_id, JobState.FAILED, error=ErrorReply(code=code, message=message, remedy=remedy_for(code))
            )
            return
        self._store.move(job_id, JobState.STARTING)
        self._live.add(job_id)
        self._executor.start(job_id, folder)

    def _take(self, report: Report) -> None:
        job_id, what = report.job_id, report.what
        state = self._store.state(job_id)
        if isinstance(what, WorkerEnded):
            if state == JobState.CANCELLING:
                self._store.move(job_id, JobState.CANCELLED)
            elif state not in FINAL_STATES:
                self._store.move(job_id, JobState.FAILED, error=_lost(f"The job's worker ended early ({what.how})."))
            self._forget_progress(job_id)
            self._live.discard(job_id)
        elif state in FINAL_STATES or state == JobState.CANCELLING:
            return  # its last words are of no interest any more
        else:
            self._take_event(job_id, state, what)

    def _take_event(self, job_id: str, state: JobState, event: WorkerEvent) -> None:
        if isinstance(event, WorkerFailed):
            error = ErrorReply(code=event.code, message=event.message, remedy=event.remedy, field=event.remedy.field)
            self._store.move(job_id, JobState.FAILED, error=error)
            self._forget_progress(job_id)
            return
        if isinstance(event, Finished):
            self._store.finish(job_id, event.metrics, *_ROAD[_ROAD.index(state) + 1 :])
            self._forget_progress(job_id)
            return
        if state == JobState.STARTING:
            self._store.move(job_id, JobState.RUNNING)
            state = JobState.RUNNING
        if isinstance(event, PhaseStarted):
            if event.name in EXPORT_PHASES and state == JobState.RUNNING:
                self._store.move(job_id, JobState.EXPORTING)
            self._store.add_event(job_id, "phase", {"name": event.name, "title": event.title})
        elif isinstance(event, WorkerProgress):
            self.progress[job_id] = event.progress
            if event.view is not None:
                self.views[job_id] = event.view
            else:
                self.views.pop(job_id, None)
        elif isinstance(event, PreviewReady):
            self._previews.put(job_id, event)
        elif isinstance(event, Notice):
            self._store.add_event(job_id, "notice", {"text": event.text})
        elif isinstance(event, ArtifactWritten):
            folder = job_folder(self._jobs_folder, job_id)
            self._store.add_artifact(job_id, describe(folder, event.name, event.media_type))

    def _forget_progress(self, job_id: str) -> None:
        self.progress.pop(job_id, None)
        self.views.pop(job_id, None)

    def _give_up(self, job_id: str, error: Exception) -> None:
        """Fail a job whose worker said something that cannot be acted upon, and have the worker gone."""
        self._executor.cancel(job_id)
        if self._store.state(job_id) in (*FINAL_STATES, JobState.CANCELLING):
            return
        if isinstance(error, LimbeckError):
            reply = error_reply(error)
        else:
            message = (
                f"The server could not use what the worker of job {job_id} said; the server's log has the details."
            )
            reply = ErrorReply(
                code=ErrorCode.INTERNAL,
                message=message,
                remedy=remedy_for(ErrorCode.INTERNAL, label="Look at the server's log, and report it."),
            )
        self._store.move(job_id, JobState.FAILED, error=reply)


def _lost(message: str) -> ErrorReply:
    return ErrorReply(code=ErrorCode.WORKER_LOST, message=message, remedy=remedy_for(ErrorCode.WORKER_LOST))
