"""The server from start to stop: lock, keys, store, door, record. `serve` is what `limbeck serve` calls."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import zmq
from filelock import FileLock, Timeout
from limbeck_protocol.discovery import (
    Folders,
    ServerRecord,
    create_or_load_keys,
    find_folders,
    read_server_record,
    remove_server_record,
    write_server_record,
)
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.messages import PROTOCOL_MAJOR, Catalog
from limbeck_protocol.private_files import make_private_folder
from limbeck_protocol.recipe import Recipe

from limbeck_server import __version__
from limbeck_server.service.access import AllowList, check_bind
from limbeck_server.service.endpoint import Endpoint, WakeUp
from limbeck_server.service.executors.local import LocalExecutor
from limbeck_server.service.handlers import Service
from limbeck_server.service.job_queue import QueueLimits
from limbeck_server.service.job_runner import JobRunner
from limbeck_server.service.job_store import JobStore
from limbeck_server.service.preview_mailbox import PreviewMailbox

EXIT_BIND_REFUSED = 3
"""For the command line: what a refused bind (`ACCESS_DENIED`) exits with."""
EXIT_ALREADY_SERVED = 4
WORKER_ENTRY = "limbeck_server.worker:run"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeSettings:
    """How a server is run."""

    bind: str = "tcp://127.0.0.1:*"
    """Where it listens; `*` lets the system choose a port."""
    wide: bool = False
    """Whether other machines may reach it; at least one client's key must be allowed then."""
    idle_exit_minutes: float | None = None
    """Stop by itself after so long without jobs and requests; None never does."""
    limits: QueueLimits = field(default_factory=QueueLimits)
    data_folder: Path | None = None
    """Where jobs are kept; None keeps them where `folders` says."""
    folders: Folders = field(default_factory=find_folders)
    """Of this user: keys and `server.json` lie there, whatever the data folder is."""

    @property
    def data(self) -> Path:
        return (self.data_folder or self.folders.data).expanduser().absolute()

    @property
    def allowed_path(self) -> Path:
        return self.folders.keys / "allowed.json"

    @property
    def record_path(self) -> Path:
        return self.folders.runtime / "server.json"


def serve(
    settings: ServeSettings,
    complete_recipe: Callable[[Recipe], Recipe],
    catalog: Callable[[], Catalog],
    worker_entry: str = WORKER_ENTRY,
    ready: Callable[[ServerRecord], None] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or idle exit, and return the exit code.

    Args:
        settings: how.
        complete_recipe: fills what a recipe leaves unset; raises `LimbeckError` for names and words that do not exist.
        catalog: what this server offers.
        worker_entry: `module:function` of the worker, imported in its own process only.
        ready: called once clients can connect.

    Returns:
        0 after a proper stop; 4 when another server holds the data folder (said on standard error).

    Raises:
        LimbeckError: `ACCESS_DENIED` for a wide bind that was not prepared (exit code 3 at the command line);
            keys, store or address cannot be used.
    """
    make_private_folder(settings.data)
    lock = FileLock(settings.data / "server.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        sys.stderr.write(_already_served(settings) + "\n")
        return EXIT_ALREADY_SERVED
    try:
        _serve_locked(settings, complete_recipe, catalog, worker_entry, ready)
    finally:
        lock.release()
    return 0


def _serve_locked(
    settings: ServeSettings,
    complete_recipe: Callable[[Recipe], Recipe],
    catalog: Callable[[], Catalog],
    worker_entry: str,
    ready: Callable[[ServerRecord], None] | None,
) -> None:
    keys_folder = settings.folders.keys
    keys = create_or_load_keys(keys_folder / "server.json")
    own_client = create_or_load_keys(keys_folder / "client.json")
    allowed = AllowList(settings.allowed_path, own_client.public_key)
    check_bind(settings.bind, settings.wide, allowed)
    jobs_folder = settings.data / "jobs"
    make_private_folder(jobs_folder)
    with contextlib.ExitStack() as stack:
        store = JobStore(settings.data / "jobs.sqlite3")
        stack.callback(store.close)
        for job_id in store.recover():
            _log.warning("job %s had been left behind by a server that ended abruptly", job_id)
        wake = WakeUp()
        stack.callback(wake.close)
        previews = PreviewMailbox()
        runner = JobRunner(store, LocalExecutor(worker_entry, wake), previews, jobs_folder, settings.limits)
        stack.callback(runner.stop)
        service = Service(
            store=store,
            runner=runner,
            previews=previews,
            limits=settings.limits,
            jobs_folder=jobs_folder,
            complete_recipe=complete_recipe,
            catalog=catalog,
            version=f"limbeck-server {__version__}",
            store_id=store.store_id,
            boot_id=uuid.uuid4().hex,
            started=time.monotonic(),
        )
        context: zmq.Context[Any] = zmq.Context()
        stack.callback(context.destroy, linger=0)
        endpoint = Endpoint(context, keys, allowed, service, wake)
        stack.callback(endpoint.close)
        address = endpoint.bind(settings.bind)
        stop = stack.enter_context(_stop_signals(wake))
        record = ServerRecord(
            endpoint=address,
            server_key=keys.public_key,
            major_min=PROTOCOL_MAJOR,
            major_max=PROTOCOL_MAJOR,
            pid=os.getpid(),
            boot_id=service.boot_id,
            store_id=service.store_id,
            version=__version__,
            started=time.time(),
        )
        write_server_record(record, settings.record_path)
        stack.callback(remove_server_record, record.boot_id, settings.record_path)
        if ready is not None:
            ready(record)
        endpoint.run(lambda: stop.is_set() or _is_idle(settings, endpoint, service))
        _log.info("stopping")


def _is_idle(settings: ServeSettings, endpoint: Endpoint, service: Service) -> bool:
    if settings.idle_exit_minutes is None or service.runner.running():
        return False
    return time.monotonic() - endpoint.last_active >= 60.0 * settings.idle_exit_minutes


@contextlib.contextmanager
def _stop_signals(wake: WakeUp) -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set. Only the main thread can take signals; elsewhere it stays unset."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        wake()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _already_served(settings: ServeSettings) -> str:
    """Return the sentence about the server that holds the data folder."""
    try:
        record = read_server_record(settings.record_path)
    except LimbeckError:
        record = None
    if record is None:
        return f"Another server is starting on {settings.data}. Wait a moment and use that one."
    return (
        f"A server runs on {settings.data} already: {record.endpoint}, process {record.pid}. "
        f"Use it, or stop it first: kill {record.pid}"
    )
