"""The session: owns the client, follows one job, and is drained by `pump()` on the main thread.

Rules of this file: it never waits, has no thread, and knows nothing of Blender. What it learns lies in plain attributes
that the panel draws; what it must hand over (a preview, a finished result) goes to the two functions it was given.
`pump()` returns when it wants to be called next, None when nothing is awaited: a timer in the add-on, a loop in tests.
No job is lost: one that was handed in and has not ended is taken up again by the next `connect()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OUTAGE_CODES
from limbeck_protocol.client import Client, new_job_id
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.job_states import FINAL_STATES, JobState
from limbeck_protocol.recipe import Recipe
from limbeck_protocol.replies import error_from_reply

from ..results.picture import Result, read_result, result_name
from .download import Download, artifact_named
from .followed_job import FollowedJob
from .server_search import ServerChoice, ServerSearch
from .session_facts import SessionFacts
from .session_job import JobWatch, Viewer
from .session_questions import ErrorHandler, Handler, Questions
from .session_state import BUSY_STATES, SessionState

BUDGET_S = 0.004
"""How long one `pump()` may deal with answers; the import of a result is one piece and takes as long as it takes."""
BUSY_INTERVAL_S = 0.05
SEARCH_INTERVAL_S = 0.1
OUTAGE_S = 60.0
LISTED_JOBS = 20
_UNREACHABLE = OUTAGE_CODES | {ErrorCode.ACCESS_DENIED, ErrorCode.PROTOCOL_UNSUPPORTED, ErrorCode.UNAUTHENTICATED}


class Session(SessionFacts):
    """One client, one job followed.

    Args:
        choice: returns which server to talk to; asked at each `connect()`.
        permit: raises a `LimbeckError` if the network may not be used to reach an endpoint.
        on_preview: given each new picture.
        on_result: given a finished job and its mesh or picture; a `LimbeckError` of its becomes the session's error.
    """

    def __init__(
        self,
        choice: Callable[[], ServerChoice],
        permit: Callable[[str], None],
        on_preview: Callable[[messages.Preview], None],
        on_result: Callable[[messages.JobInfo, Result], None],
    ) -> None:
        super().__init__()
        self.viewer: Viewer = lambda: None
        """Says from where somebody looks at the object while it grows; see `JobWatch`."""
        self._choice, self._permit, self._on_preview, self._on_result = choice, permit, on_preview, on_result
        self._watch: JobWatch | None = None
        self._questions = Questions()
        self._resume: Mapping[str, bool] = {}
        self._is_quiet = False

    # --- what operators call ---

    def connect(self, *, start: bool, resume: Mapping[str, bool] | None = None, quiet: bool = False) -> None:
        """Find the server, or start one on this computer; learn what it offers, and take up what was interrupted.

        Args:
            start: whether to start a server where none runs.
            resume: if one of these jobs still runs there, and no other is followed, it is followed; the value says
                whether its result is fetched when it is done.
            quiet: that there is no server is no error then.
        """
        self.error = None
        self._resume, self._is_quiet = dict(resume or {}), quiet
        if self._client is None and self._search is None:
            choice = self._choice()
            self._search = ServerSearch(lambda: choice.command, start=start, remote=choice.remote, permit=self._permit)
            self._become(SessionState.CONNECTING)
        elif self.is_reconnecting:
            if start:
                self._server.revive(self._choice())
            self._questions.last_answer = time.monotonic()  # the patience begins anew
        elif self._client is not None:
            self._greet()

    def submit(self, recipe: Recipe, *, fetch: bool = True) -> str:
        """Hand in a recipe, starting a server where none runs, and follow it; return the id of its job.

        Raises:
            LimbeckError: a job is on its way already.
        """
        job_id = new_job_id()
        self._begin(FollowedJob(job_id, fetch), messages.Submit(job_id=job_id, recipe=recipe), start=True)
        return job_id

    def follow(self, job_id: str, *, fetch: bool) -> None:
        """Follow a job that the server has already; `fetch` its result when it is done.

        Raises:
            LimbeckError: a job is on its way already.
        """
        self._begin(FollowedJob(job_id, fetch), messages.GetJob(job_id=job_id), start=False)

    def cancel(self) -> None:
        """Ask for the end of the job that is followed; one that was not sent yet is forgotten."""
        if self.followed is None or not self.is_busy:
            return
        self.changes += 1
        if self._is_waiting_to_say:
            self._unsent, self._is_waiting_to_say = None, False
            self.followed.notice = "Cancelled."
        elif self._download is not None:
            self._stop_download()
            self.followed.notice = f"The {self.followed.word} was not fetched; it is still on the server."
            self._become(SessionState.READY)
        else:
            self.followed.is_cancel_wanted = True

    def dismiss_error(self) -> None:
        """Take the error away; nothing else changes."""
        self.error = None
        self.changes += 1

    def stop_server(self) -> None:
        """End the server on this computer that we have started or are connected to; its stored jobs stay.

        Raises:
            LimbeckError: the server's record is damaged.
        """
        is_stopping = self._server.stop(self._client)
        self.close()
        self.error = None
        if is_stopping:
            self._become(SessionState.STOPPING_SERVER)

    def close(self) -> None:
        """Close the connection. Jobs go on, and so does the server; `connect()` takes the job up again."""
        self._stop_download()
        self._questions.forget(None)
        self._is_waiting_to_say = False
        if self._search is not None:
            self._search.stop()
        self._search = None
        if self._client is not None:
            self._client.close()
            self._client = None
        self._become(SessionState.DISCONNECTED)

    def give_up(self) -> None:
        """Close the connection. A job not yet handed in is forgotten; one that the server has is found again."""
        self.close()
        if isinstance(self._unsent, messages.Submit) and self.followed is not None:
            self._unsent, self.followed.notice = None, "It was not handed in."
        self.dismiss_error()

    def leave(self) -> None:
        """Close the connection and forget what was learnt through it: another server is chosen."""
        self.close()
        self.error = self.catalog = self.followed = self._unsent = None
        self.jobs, self.older_jobs = [], {}

    def _begin(self, job: FollowedJob, request: messages.Submit | messages.GetJob, *, start: bool) -> None:
        if self.is_busy:
            remedy = remedy_for(ErrorCode.BAD_STATE, label="Wait for it, or cancel it first.")
            raise LimbeckError(ErrorCode.BAD_STATE, "A job is on its way already.", remedy)
        self.followed, self._unsent, self._is_waiting_to_say = job, request, True
        self.connect(start=start)

    # --- the work ---

    def pump(self) -> float | None:
        """Do what can be done without waiting; return the seconds until the next call, None when nothing is awaited."""
        try:
            if self._server.is_stopping:
                if self._server.has_stopped():
                    self._become(SessionState.CONNECTING if self._search else SessionState.DISCONNECTED)
            elif self._client is not None:
                self._drain(self._client)
            elif self._search is not None:
                self._find_server(self._search)
        except LimbeckError as error:
            self._fail(error)
        if self._search is not None or self._server.is_stopping:
            return SEARCH_INTERVAL_S
        return BUSY_INTERVAL_S if self._questions or self.is_busy else None

    def _find_server(self, search: ServerSearch) -> None:
        try:
            self._client = search.step()
        finally:
            self._server.process = search.server or self._server.process
        if self._client is not None:
            self._search = None
            self._become(SessionState.CONNECTING)
            self._greet()
        elif search.is_starting:
            self._become(SessionState.STARTING_SERVER)

    def _greet(self) -> None:
        """Ask what the server offers, and say what waited for it."""
        self._questions.last_answer = time.monotonic()
        self.older_jobs = {}  # it may be another server by now
        self.ask("catalog", messages.GetCatalog(), self._on_catalog)
        self.ask("jobs", messages.ListJobs(limit=LISTED_JOBS), self._on_jobs)
        if self.followed is not None and self._unsent is not None and self.state not in BUSY_STATES:
            self._is_waiting_to_say = False
            self._watch = self._watch_over(self.followed)
            self._become(SessionState.SUBMITTING)
            self._watch.say(self._unsent)

    def _watch_over(self, job: FollowedJob) -> JobWatch:
        sinks = (self._on_info, self._on_preview, self._count_change)
        return JobWatch(job, self.ask, self._drop, lambda: self.viewer(), *sinks)

    def _drain(self, client: Client) -> None:
        client.poll()
        self._questions.hand_over(BUDGET_S, self._bear)
        if self._download is not None:
            self._advance_download(self._download)
        elif self.state is SessionState.FOLLOWING and self._watch is not None:
            self._watch.ask_on()

    def ask(
        self, purpose: str, message: messages.Request, handler: Handler, on_error: ErrorHandler | None = None
    ) -> None:
        """Ask the server and hand its reply to `handler` in a later `pump()`; one question of a purpose at a time.

        Without an `on_error` of its own, a question that fails is the session's error, and ends what is under way.
        """
        if self._client is not None:
            self._questions.ask(self._client, purpose, message, handler, on_error)

    def _drop(self, purpose: str) -> None:
        if self._client is not None:
            self._questions.drop(self._client, purpose)

    # --- answers ---

    def _on_catalog(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.Catalog):
            self.catalog = reply
        if self.state is SessionState.CONNECTING:
            self._become(SessionState.READY)

    def _on_jobs(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.JobList):
            self.jobs = reply.jobs
            self.changes += 1
            resume, self._resume = self._resume, {}
            running = [job.job_id for job in self.jobs if job.job_id in resume and job.state not in FINAL_STATES]
            if running and not self.is_busy:
                self.follow(running[0], fetch=resume[running[0]])

    def _on_info(self, job: FollowedJob, info: messages.JobInfo) -> None:
        self._unsent = messages.GetJob(job_id=job.job_id)  # the server has it: from now on it is only looked for
        if not job.has_ended:
            self._become(SessionState.FOLLOWING)
        elif self.state in {SessionState.SUBMITTING, SessionState.FOLLOWING}:
            self._finish(job, info)

    def _finish(self, job: FollowedJob, info: messages.JobInfo) -> None:
        self._unsent = None
        self._questions.forget(self._client)
        self._become(SessionState.READY)
        if self._watch is not None:
            self._watch.ask_for_preview(0)
        self.ask("jobs", messages.ListJobs(limit=LISTED_JOBS), self._on_jobs)
        if info.state is JobState.SUCCEEDED and job.wants_result and self._client is not None:
            self._download = Download(self._client, info.job_id, artifact_named(info, result_name(info.recipe)))
            self._unsent = messages.GetJob(job_id=info.job_id)  # until its result is here
            self._become(SessionState.FETCHING)
        elif info.error is not None:
            self.error = error_from_reply(info.error)

    def _advance_download(self, download: Download) -> None:
        content = download.advance()
        self.changes += 1
        if content is not None and self.followed is not None and self.followed.info is not None:
            self._stop_download()
            self._unsent = None
            self._become(SessionState.READY)
            self._on_result(self.followed.info, read_result(self.followed.info.recipe, content))

    # --- endings ---

    def _bear(self, error: LimbeckError) -> None:
        """Bear with a server that is away for a while when a job is followed; whatever else fails is raised."""
        if self.is_reconnecting and (failure := self._server.take_failure_of_revival()) is not None:
            raise failure
        is_outage = error.code in OUTAGE_CODES and time.monotonic() - self._questions.last_answer < OUTAGE_S
        if not (is_outage and self.state is SessionState.FOLLOWING):
            raise error

    def _fail(self, error: LimbeckError) -> None:
        """Show the error; a server that cannot be reached is let go, so that the next try looks for it anew."""
        self.error = None if self._is_quiet and error.code is ErrorCode.NO_SERVER else error
        self._is_quiet = False
        self.changes += 1
        if error.code in _UNREACHABLE or self._client is None:
            self.close()
            return
        self._unsent = None
        self._questions.forget(self._client)
        self._stop_download()
        self._become(SessionState.READY)

    def _stop_download(self) -> None:
        if self._download is not None:
            self._download.stop()
            self._download = None

    def _become(self, state: SessionState) -> None:
        self.changes += state is not self.state
        self.state = state

    def _count_change(self) -> None:
        self.changes += 1
