"""One function per request: message in, reply out. Nothing here knows about sockets or waits.

A handler raises `LimbeckError` for whatever the client can put right. `GetEvents` and `GetPreview` are answered with
what there is now; `long_polls.py` decides whether that is worth sending yet.
"""

from __future__ import annotations

import functools
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.messages import (
    PROTOCOL_MINOR,
    ArtifactChunk,
    ArtifactInfo,
    CancelJob,
    Catalog,
    Events,
    GetCatalog,
    GetEvents,
    GetJob,
    GetPreview,
    GetStatus,
    Hello,
    JobInfo,
    JobList,
    ListJobs,
    Preview,
    ReadArtifact,
    Reply,
    Request,
    StatArtifact,
    Status,
    Submit,
    Welcome,
)
from limbeck_protocol.recipe import Recipe
from limbeck_protocol.replies import choose_major

from limbeck_server.service.artifacts import job_folder, read_chunk
from limbeck_server.service.job_queue import QueueLimits, check_room
from limbeck_server.service.job_runner import JobRunner
from limbeck_server.service.job_store import JobStore, recipe_digest
from limbeck_server.service.preview_mailbox import PreviewMailbox
from limbeck_server.service.start_jobs import with_start_field


@dataclass(frozen=True)
class Service:
    """What the handlers work on."""

    store: JobStore
    runner: JobRunner
    previews: PreviewMailbox
    limits: QueueLimits
    jobs_folder: Path
    complete_recipe: Callable[[Recipe], Recipe]
    """Fills what is unset; raises `LimbeckError` for names and words that do not exist."""
    catalog: Callable[[], Catalog]
    version: str
    """Program and version."""
    store_id: str
    boot_id: str
    started: float
    """Monotonic seconds."""


def hello(service: Service, message: Hello) -> Welcome:
    """Agree on a protocol version, or say which end is the older one."""
    return Welcome(
        major=choose_major(message),
        minor=PROTOCOL_MINOR,
        server=service.version,
        store_id=service.store_id,
        boot_id=service.boot_id,
        limits=LIMITS.as_dict(),
    )


def submit(service: Service, message: Submit) -> JobInfo:
    """Store the job; only then is it acknowledged. A repeated submit is answered with the job as it stands."""
    digest = recipe_digest(message.recipe)
    known = service.store.find_submitted(message.job_id, digest)
    if known is not None:
        return _with_progress(service, known)
    recipe = with_start_field(message.recipe, service.store, service.jobs_folder)
    completed = service.complete_recipe(recipe)
    check_room(service.store, service.limits)
    return service.store.submit(message.job_id, digest, completed)


def get_job(service: Service, message: GetJob) -> JobInfo:
    """Return the job as it stands, with its latest progress."""
    return _with_progress(service, service.store.job(message.job_id))


def list_jobs(service: Service, message: ListJobs) -> JobList:
    """Return the newest jobs, newest first."""
    return JobList(jobs=[_with_progress(service, job) for job in service.store.jobs(message.limit)])


def cancel_job(service: Service, message: CancelJob) -> JobInfo:
    """Have the job end; one that has ended stays as it is."""
    return _with_progress(service, service.runner.cancel(message.job_id))


def get_events(service: Service, message: GetEvents) -> Events:
    """Return the stored events above the number asked for, and the progress of running jobs."""
    if message.job_id is not None:
        service.store.state(message.job_id)  # an unknown job is an error
    running = service.runner.progress
    return Events(
        events=service.store.events(message.after_sequence, message.job_id, message.limit),
        last_sequence=service.store.last_sequence(),
        progress={job: running[job] for job in running if message.job_id in (None, job)},
        views={job: view for job, view in service.runner.views.items() if message.job_id in (None, job)},
    )


def get_preview(service: Service, message: GetPreview) -> Preview:
    """Return the newest picture, or none when the client has it."""
    service.store.state(message.job_id)
    for_viewer = message.viewer is not None
    newer = service.previews.newer(message.job_id, message.after_generation, for_viewer=for_viewer)
    return newer or service.previews.nothing_newer(message.job_id, for_viewer=for_viewer)


def stat_artifact(service: Service, message: StatArtifact) -> ArtifactInfo:
    """Return size and digest of a file, as recorded when it was made."""
    return ArtifactInfo(artifact=service.store.artifact(message.job_id, message.name))


def read_artifact(service: Service, message: ReadArtifact) -> ArtifactChunk:
    """Return a piece of a file that is on record."""
    artifact = service.store.artifact(message.job_id, message.name)
    folder = job_folder(service.jobs_folder, message.job_id)
    data = read_chunk(folder, artifact.name, message.offset, message.length)
    return ArtifactChunk(offset=message.offset, data=np.frombuffer(data, dtype=np.uint8))


def get_status(service: Service, message: GetStatus) -> Status:
    """Return how the server is doing."""
    return Status(
        server=service.version,
        seconds_up=time.monotonic() - service.started,
        queued=service.store.count_queued(),
        running=service.runner.running(),
        data_folder_free_bytes=shutil.disk_usage(service.jobs_folder).free,
        device=likely_device(),
    )


def get_catalog(service: Service, message: GetCatalog) -> Catalog:
    """Return losses, priors and presets."""
    return service.catalog()


HANDLERS: dict[type[Request], Callable[[Service, Any], Reply]] = {
    Hello: hello,
    Submit: submit,
    GetJob: get_job,
    ListJobs: list_jobs,
    CancelJob: cancel_job,
    GetEvents: get_events,
    GetPreview: get_preview,
    StatArtifact: stat_artifact,
    ReadArtifact: read_artifact,
    GetStatus: get_status,
    GetCatalog: get_catalog,
}


def answer(service: Service, message: Request) -> Reply:
    """Return the reply to `message`.

    Raises:
        LimbeckError: the client can put it right.
    """
    handler = HANDLERS.get(type(message))
    if handler is None:
        raise LimbeckError(ErrorCode.UNKNOWN_TYPE, f"This server does not answer {type(message).__name__} requests.")
    return handler(service, message)


@functools.cache
def likely_device() -> str:
    """Return `cuda` or `cpu`: what `auto` probably means here, told without importing torch."""
    try:
        built_for_cpu = "+cpu" in metadata.version("torch")
    except metadata.PackageNotFoundError:
        built_for_cpu = True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    has_driver = Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None
    return "cuda" if has_driver and not built_for_cpu and not hidden else "cpu"


def _with_progress(service: Service, job: JobInfo) -> JobInfo:
    progress = service.runner.progress.get(job.job_id)
    return job if progress is None else msgspec.structs.replace(job, progress=progress)
