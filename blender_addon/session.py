"""The session: owns the client, follows one job, and is drained by `pump()` on the main thread.

Rules of this file: it never waits, has no thread, and knows nothing of Blender. What it learns lies in plain attributes
that the panel draws; what it must hand over (a picture, a finished mesh) goes to the two functions it was given.
`pump()` returns when it wants to be called next, None when nothing is awaited: a timer in the add-on, a loop in tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OUTAGE_CODES
from limbeck_protocol.client import Client, ConnectionState, Ticket, new_job_id
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.job_states import FINAL_STATES, JobState
from limbeck_protocol.recipe import Recipe
from limbeck_protocol.replies import error_from_reply

from .download import Download
from .followed_job import FollowedJob
from .mesh_arrays import MeshArrays, read_mesh_arrays
from .server_process import ServerProcess
from .server_search import ServerSearch
from .session_state import BUSY_STATES, SessionState

MESH_NAME = "mesh.npz"
BUDGET_S = 0.004
"""How long one `pump()` may deal with answers; the import of a mesh is one piece and takes as long as it takes."""
BUSY_INTERVAL_S = 0.05
SEARCH_INTERVAL_S = 0.2
OUTAGE_S = 60.0
_EVENTS_HOLD_MS, _PREVIEW_HOLD_MS = 500, 5000
_LOOK_AT_JOB_S = 2.0


_Handler = Callable[[messages.Reply], None]


class Session:
    """One client, one job followed.

    Args:
        command: returns the Python command that starts a server; called only when one must be started.
        on_preview: given each new picture.
        on_mesh: given a finished job and its mesh; a `LimbeckError` of its becomes the session's error.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        on_preview: Callable[[messages.Preview], None],
        on_mesh: Callable[[messages.JobInfo, MeshArrays], None],
    ) -> None:
        self.state = SessionState.DISCONNECTED
        self.error: LimbeckError | None = None
        self.followed: FollowedJob | None = None
        self.catalog: messages.Catalog | None = None
        self.jobs: list[messages.JobInfo] = []
        """The newest jobs of the server, newest first."""
        self.changes = 0
        """Rises with everything that a panel would draw differently."""
        self._command, self._on_preview, self._on_mesh = command, on_preview, on_mesh
        self._client: Client | None = None
        self._server: ServerProcess | None = None
        self._search: ServerSearch | None = None
        self._first_request: messages.Submit | messages.GetJob | None = None
        """What is said about the job as soon as there is a server."""
        self._waiting: dict[str, tuple[Ticket, _Handler]] = {}
        """What was asked and not answered yet, one request of each purpose."""
        self._download: Download | None = None
        self._resume: frozenset[str] = frozenset()
        self._looked = self._heard = 0.0

    # --- what the panel asks ---

    @property
    def is_busy(self) -> bool:
        """Whether a job is on its way; a second one has to wait."""
        return self.state in BUSY_STATES or self._first_request is not None

    @property
    def is_reconnecting(self) -> bool:
        """Whether a job is followed and the server has gone away for the moment."""
        return self.is_busy and self._client is not None and self._client.state is ConnectionState.LOST

    @property
    def fetched_share(self) -> float:
        """How much of the mesh is here, 0..1; 0 when none is being fetched."""
        return self._download.share if self._download else 0.0

    @property
    def has_own_server(self) -> bool:
        """Whether a server runs that this session started."""
        return self._server is not None and self._server.process.poll() is None

    # --- what operators call ---

    def connect(self, *, start: bool, resume: Collection[str] = ()) -> None:
        """Look for a server; `start` one where none runs. Then learn what it offers and which jobs it has.

        If one of the jobs to `resume` still runs there, and no other is followed, it is taken up again.
        """
        self.error = None
        self._resume = frozenset(resume)
        if self._client is None:
            self._search = ServerSearch(self._command, start=start)
            self._become(SessionState.CONNECTING)
        else:
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
        """Follow a job that the server has already; `fetch` its mesh when it is done.

        Raises:
            LimbeckError: a job is on its way already.
        """
        self._begin(FollowedJob(job_id, fetch), messages.GetJob(job_id=job_id), start=False)

    def cancel(self) -> None:
        """Ask for the end of the job that is followed; one that was not sent yet is forgotten."""
        if self.followed is None or not self.is_busy:
            return
        self.changes += 1
        if self._first_request is not None:
            self._first_request = None
            self.followed.notice = "Cancelled."
        elif self._download is not None:
            self._stop_download()
            self.followed.notice = "The mesh was not fetched; it is still on the server."
            self._become(SessionState.READY)
        else:
            self.followed.is_cancel_wanted = True

    def stop_server(self) -> None:
        """End the server that this session started; its stored jobs stay."""
        self.close()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def close(self) -> None:
        """Close the connection. Jobs go on, and so does the server."""
        self._stop_download()
        self._waiting.clear()
        self._first_request = self._search = None
        if self._client is not None:
            self._client.close()
            self._client = None
        self._become(SessionState.DISCONNECTED)

    def _begin(self, job: FollowedJob, request: messages.Submit | messages.GetJob, *, start: bool) -> None:
        if self.is_busy:
            remedy = remedy_for(ErrorCode.BAD_STATE, label="Wait for it, or cancel it first.")
            raise LimbeckError(ErrorCode.BAD_STATE, "A job is on its way already.", remedy)
        self.followed, self._first_request = job, request
        self._looked, self._heard = 0.0, time.monotonic()
        self.connect(start=start)

    # --- the work ---

    def pump(self) -> float | None:
        """Do what can be done without waiting; return the seconds until the next call, None when nothing is awaited."""
        try:
            if self._client is not None:
                self._drain(self._client)
            elif self._search is not None:
                self._find_server(self._search)
        except LimbeckError as error:
            self._fail(error)
        if self._search is not None:
            return SEARCH_INTERVAL_S
        return BUSY_INTERVAL_S if self._waiting or self.is_busy else None

    def _find_server(self, search: ServerSearch) -> None:
        try:
            self._client = search.step()
        finally:
            self._server = search.server or self._server
        if self._client is None:
            self._become(SessionState.STARTING_SERVER)
            return
        self._search = None
        self._become(SessionState.CONNECTING)
        self._greet()

    def _greet(self) -> None:
        """Ask what the server offers, and say what waited for it."""
        self._ask("catalog", messages.GetCatalog(), self._on_catalog)
        self._ask("jobs", messages.ListJobs(limit=20), self._on_jobs)
        if self._first_request is not None:
            request, self._first_request = self._first_request, None
            self._become(SessionState.SUBMITTING)
            self._ask("job", request, self._on_job)

    def _drain(self, client: Client) -> None:
        deadline = time.monotonic() + BUDGET_S
        client.poll()
        for purpose, (ticket, handler) in list(self._waiting.items()):
            # An answer before this one may have ended the wait for it, or asked the same anew.
            if not ticket.done or self._waiting.get(purpose) != (ticket, handler):
                continue
            del self._waiting[purpose]
            try:
                reply = ticket.result()
            except LimbeckError as error:
                self._bear(error)
                continue
            self._heard = time.monotonic()
            handler(reply)
            if time.monotonic() > deadline:
                return
        if self._download is not None:
            self._advance_download(self._download)
        elif self.state is SessionState.FOLLOWING and self.followed is not None:
            self._ask_on(self.followed)

    def _ask(self, purpose: str, message: messages.Request, handler: _Handler) -> None:
        if self._client is not None and purpose not in self._waiting:
            self._waiting[purpose] = (self._client.request(message), handler)

    def _ask_on(self, job: FollowedJob) -> None:
        """Keep one held request for events and one for previews; look at the job itself now and then."""
        events = messages.GetEvents(after_sequence=job.sequence, job_id=job.job_id, wait_ms=_EVENTS_HOLD_MS)
        self._ask("events", events, self._on_events)
        self._ask_for_preview(job, _PREVIEW_HOLD_MS)
        if job.must_ask_for_cancel:
            self._ask("cancel", messages.CancelJob(job_id=job.job_id), self._on_job)
        if time.monotonic() - self._looked > _LOOK_AT_JOB_S:
            self._looked = time.monotonic()
            self._ask("job", messages.GetJob(job_id=job.job_id), self._on_job)

    def _ask_for_preview(self, job: FollowedJob, hold_ms: int) -> None:
        message = messages.GetPreview(job_id=job.job_id, after_generation=job.generation, wait_ms=hold_ms)
        self._ask("preview", message, self._on_picture)

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
            running = [job for job in self.jobs if job.job_id in self._resume and job.state not in FINAL_STATES]
            self._resume = frozenset()
            if running and not self.is_busy:
                self.follow(running[0].job_id, fetch=True)

    def _on_events(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.Events) and self.followed is not None:
            if self.followed.take_events(reply):
                self._looked = 0.0  # look at the job with the next round
            self.changes += 1

    def _on_picture(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.Preview) and self.followed is not None and self.followed.take_preview(reply):
            self._on_preview(reply)
            self.changes += 1

    def _on_job(self, reply: messages.Reply) -> None:
        job = self.followed
        if not isinstance(reply, messages.JobInfo) or job is None or reply.job_id != job.job_id:
            return
        job.take_info(reply)
        self.changes += 1
        if not job.has_ended:
            self._become(SessionState.FOLLOWING)
        elif self.state in {SessionState.SUBMITTING, SessionState.FOLLOWING}:
            self._finish(job, reply)

    def _finish(self, job: FollowedJob, info: messages.JobInfo) -> None:
        self._abandon_all()
        self._become(SessionState.READY)
        self._ask_for_preview(job, 0)
        self._ask("jobs", messages.ListJobs(limit=20), self._on_jobs)
        if info.state is JobState.SUCCEEDED and job.wants_mesh:
            self._begin_download(info)
        elif info.state is JobState.SUCCEEDED:
            job.notice = "Done: the mesh waits to be imported."
        elif info.state is JobState.CANCELLED:
            job.notice = "Cancelled."
        elif info.error is not None:
            self.error = error_from_reply(info.error)

    def _begin_download(self, info: messages.JobInfo) -> None:
        artifact = next((artifact for artifact in info.artifacts if artifact.name == MESH_NAME), None)
        if artifact is None or self._client is None:
            raise LimbeckError(ErrorCode.ARTIFACT_NOT_FOUND, f"The job has ended without the artifact {MESH_NAME}.")
        self._download = Download(self._client, info.job_id, artifact)
        self._become(SessionState.FETCHING)

    def _advance_download(self, download: Download) -> None:
        content = download.advance()
        self.changes += 1
        if content is not None and self.followed is not None and self.followed.info is not None:
            self._stop_download()
            self._become(SessionState.READY)
            self._on_mesh(self.followed.info, read_mesh_arrays(content))

    # --- endings ---

    def _bear(self, error: LimbeckError) -> None:
        """Bear with a server that is away for a while when a job is followed; whatever else fails is raised."""
        is_outage = error.code in OUTAGE_CODES and time.monotonic() - self._heard < OUTAGE_S
        if not (is_outage and self.state is SessionState.FOLLOWING):
            raise error

    def _fail(self, error: LimbeckError) -> None:
        """Show the error; a server that cannot be reached is let go, so that the next try looks for it anew."""
        self.error = error
        self.changes += 1
        if error.code in OUTAGE_CODES | {ErrorCode.ACCESS_DENIED, ErrorCode.PROTOCOL_UNSUPPORTED}:
            self.close()
            return
        self._abandon_all()
        self._stop_download()
        self._first_request = self._search = None
        self._become(SessionState.READY if self._client else SessionState.DISCONNECTED)

    def _abandon_all(self) -> None:
        for ticket, _ in self._waiting.values():
            if self._client is not None:
                self._client.abandon(ticket)
        self._waiting.clear()

    def _stop_download(self) -> None:
        if self._download is not None:
            self._download.stop()
            self._download = None

    def _become(self, state: SessionState) -> None:
        if state is not self.state:
            self.state = state
            self.changes += 1
