"""One typed struct per request, reply and worker event. `WIRE.md` says the same in prose.

Rules of this file: data only. `codec.py` turns these into frames and back and holds every limit; nothing here opens a
socket. Servers are strict (unknown fields are refused), clients are tolerant (unknown fields are ignored): requests
forbid unknown fields, replies do not. `Hello`, `Welcome` and `ErrorReply` are frozen for ever, so that any two releases
can at least tell each other to upgrade.

All waiting is pulled: `GetEvents` and `GetPreview` may be held by the server for up to `wait_ms` until there is
something newer than the client has (a long poll). So a slow client slows only itself.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from limbeck_protocol.catalog import LossInfo as LossInfo
from limbeck_protocol.catalog import ParameterInfo as ParameterInfo
from limbeck_protocol.catalog import PresetInfo as PresetInfo
from limbeck_protocol.catalog import PriorInfo as PriorInfo
from limbeck_protocol.errors import ErrorCode, Remedy
from limbeck_protocol.job_states import JobState
from limbeck_protocol.recipe import Array, JobId, Recipe
from limbeck_protocol.view_cameras import View as View
from limbeck_protocol.view_cameras import ViewerCamera as ViewerCamera

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 3

ArtifactName = Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_.-]{0,63}\Z")]
WaitMs = Annotated[int, Meta(ge=0, le=20_000)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="t"):
    """Base of what clients send."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """Base of what the server answers."""


# --- requests -------------------------------------------------------------------------------------------------------


class Hello(Request, frozen=True, kw_only=True, tag="hello", forbid_unknown_fields=False):
    """First message of a connection. Frozen for ever."""

    major_min: int
    major_max: int
    client: str
    """Program and version, for the log."""


class Submit(Request, frozen=True, kw_only=True, tag="submit"):
    """Idempotent: the same id with the same recipe is answered alike; with another recipe it is a conflict."""

    job_id: JobId
    recipe: Recipe


class GetJob(Request, frozen=True, kw_only=True, tag="get"):
    """One job, answered with `JobInfo`."""

    job_id: JobId


class ListJobs(Request, frozen=True, kw_only=True, tag="list"):
    """The newest jobs, answered with `JobList`."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    """Newest first."""


class CancelJob(Request, frozen=True, kw_only=True, tag="cancel"):
    """End a job; answered with `JobInfo`. A job that has ended stays as it is."""

    job_id: JobId


class GetEvents(Request, frozen=True, kw_only=True, tag="events"):
    """Events with a sequence number above `after_sequence`, oldest first; all jobs unless one is named."""

    after_sequence: Annotated[int, Meta(ge=0)] = 0
    job_id: JobId | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    wait_ms: WaitMs = 0


class GetPreview(Request, frozen=True, kw_only=True, tag="preview"):
    """The newest preview, once its generation is above `after_generation`; for a viewer, of either kind."""

    job_id: JobId
    after_generation: Annotated[int, Meta(ge=0)] = 0
    wait_ms: WaitMs = 0
    viewer: ViewerCamera | None = None
    """From where the asker looks: one picture from there, when the optimiser can spare the time; the newest counts."""


class StatArtifact(Request, frozen=True, kw_only=True, tag="artifact.stat"):
    """Size and digest of one artifact."""

    job_id: JobId
    name: ArtifactName


class ReadArtifact(Request, frozen=True, kw_only=True, tag="artifact.read"):
    """One chunk of an artifact's bytes."""

    job_id: JobId
    name: ArtifactName
    offset: Annotated[int, Meta(ge=0)]
    length: Annotated[int, Meta(ge=1, le=1 << 20)]


class GetStatus(Request, frozen=True, kw_only=True, tag="status"):
    """How the server is doing."""


class GetCatalog(Request, frozen=True, kw_only=True, tag="catalog"):
    """What this server offers: losses with their parameters, priors, presets."""


# --- replies --------------------------------------------------------------------------------------------------------


class Welcome(Reply, frozen=True, kw_only=True, tag="welcome"):
    """Frozen for ever."""

    major: int
    minor: int
    server: str
    """Program and version."""
    store_id: str
    """Random, made with the data folder: the same id means the same history."""
    boot_id: str
    """Random, made at each start."""
    limits: dict[str, int]


class ErrorReply(Reply, frozen=True, kw_only=True, tag="error"):
    """Frozen for ever."""

    code: str
    """A value of `ErrorCode`, or of a newer release's list: so a plain string."""
    message: str
    remedy: Remedy | None = None
    field: str | None = None
    """Dotted name of the field that was wrong, where there is one."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a job made."""

    name: str
    size_bytes: int
    digest: str
    """blake2b-256 of the file, in hex."""
    media_type: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The latest word of a running job; kept in memory only."""

    phase: str
    """`views` (the prior prepares itself), `start` (is measured), `optimise`, `mesh`, `texture`, `score`."""
    step: int
    steps: int
    loss: float | None = None
    """Root mean square of the weighted gradient: falls as the render comes to agree with the prior."""
    seconds: float = 0.0
    """Since the job's worker started."""
    seconds_left: float | None = None
    prior_evaluations: int = 0
    terms: dict[str, float] = {}
    """What a loss offers to be watched, as root mean squares: NFSD's `domain` and `condition`, MSD's `distance`."""


class JobInfo(Reply, frozen=True, kw_only=True, tag="job"):
    """Everything the store knows about one job."""

    job_id: str
    state: JobState
    recipe: Recipe
    """Completed: nothing unset."""
    created: float
    """Unix seconds, for display only."""
    ended: float | None = None
    attempt: int = 0
    progress: Progress | None = None
    artifacts: list[Artifact] = []
    metrics: dict[str, Any] = {}
    error: ErrorReply | None = None


class JobList(Reply, frozen=True, kw_only=True, tag="jobs"):
    """Jobs, newest first: as many as fit into one reply."""

    jobs: list[JobInfo]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One stored thing that happened to a job. Sequence numbers rise by one over the whole store."""

    sequence: int
    job_id: str
    time: float
    kind: str
    """`state`, `phase`, `notice`, `artifact`, `metrics`."""
    data: dict[str, Any]
    """`state`: state, and code, message, remedy when it failed. `phase`: name, title. `notice`: text.
    `artifact`: name, size_bytes. `metrics`: the metrics themselves."""


class Events(Reply, frozen=True, kw_only=True, tag="events"):
    """Stored events, oldest first, and the latest progress beside them."""

    events: list[Event]
    last_sequence: int
    """The newest number in the store, also when `limit` cut the list."""
    progress: dict[str, Progress] = {}
    """Latest progress of the running jobs asked for."""
    views: dict[str, View] = {}
    """Of these, the view that was optimised last: the first of its batch."""


class Preview(Reply, frozen=True, kw_only=True, tag="preview"):
    """The newest picture of the growing object."""

    job_id: str
    generation: int
    step: int
    image: Array | None = None
    """(h, w, 3) uint8, first row on top; None when there is nothing newer."""
    from_viewer: bool = False
    """Whether it was rendered from a viewer's camera; (h, w, 4) then: colour times opacity, and opacity."""
    view: View | None = None
    """The camera that it was rendered from."""


class ArtifactInfo(Reply, frozen=True, kw_only=True, tag="artifact.info"):
    """Answer to `StatArtifact`."""

    artifact: Artifact


class ArtifactChunk(Reply, frozen=True, kw_only=True, tag="artifact.chunk"):
    """Answer to `ReadArtifact`; shorter than asked only at the end of the file."""

    offset: int
    data: Array
    """(n,) uint8."""


class Status(Reply, frozen=True, kw_only=True, tag="status"):
    """Answer to `GetStatus`."""

    server: str
    seconds_up: float
    queued: int
    running: int
    data_folder_free_bytes: int
    device: str
    """What `auto` means on this machine, as far as it is known without importing torch."""


class Catalog(Reply, frozen=True, kw_only=True, tag="catalog"):
    """What this server offers."""

    losses: list[LossInfo]
    priors: list[PriorInfo]
    presets: list[PresetInfo]


AnyRequest = (
    Hello
    | Submit
    | GetJob
    | ListJobs
    | CancelJob
    | GetEvents
    | GetPreview
    | StatArtifact
    | ReadArtifact
    | GetStatus
    | GetCatalog
)
AnyReply = Welcome | ErrorReply | JobInfo | JobList | Events | Preview | ArtifactInfo | ArtifactChunk | Status | Catalog


# --- what a worker tells its server (over a pipe, same codec) ---------------------------------------------------------


class WorkerEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """Base of what a worker process yields."""


class PhaseStarted(WorkerEvent, frozen=True, kw_only=True, tag="w.phase"):
    """The worker begins another phase of the job."""

    name: str
    title: str


class WorkerProgress(WorkerEvent, frozen=True, kw_only=True, tag="w.progress"):
    """The worker's latest progress."""

    progress: Progress
    view: View | None = None


class PreviewReady(WorkerEvent, frozen=True, kw_only=True, tag="w.preview"):
    """A new preview picture."""

    step: int
    image: Array
    """As in `Preview`."""
    from_viewer: bool = False
    view: View | None = None


class Notice(WorkerEvent, frozen=True, kw_only=True, tag="w.notice"):
    """A sentence for the user."""

    text: str


class ArtifactWritten(WorkerEvent, frozen=True, kw_only=True, tag="w.artifact"):
    """A file now lies, whole, in the job's `artifacts` folder."""

    name: str
    media_type: str


class Finished(WorkerEvent, frozen=True, kw_only=True, tag="w.finished"):
    """The job is done; its artifacts lie in place."""

    metrics: dict[str, Any]


class WorkerFailed(WorkerEvent, frozen=True, kw_only=True, tag="w.failed"):
    """The job cannot go on."""

    code: ErrorCode
    message: str
    remedy: Remedy


AnyWorkerEvent = PhaseStarted | WorkerProgress | PreviewReady | Notice | ArtifactWritten | Finished | WorkerFailed
