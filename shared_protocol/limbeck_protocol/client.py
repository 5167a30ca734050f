"""The one client: Blender's panel, scripts and the command line all use it.

`Client` is a `Connection` (never waiting: `request`, `poll`) with conveniences that wait, each with a `timeout_s`.
A panel uses the former from its timer, a script the latter. Closing a client costs a job nothing: it goes on.
"""

from __future__ import annotations

import socket as sockets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import zmq

from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OnBytes, fetch_bytes, fetch_file
from limbeck_protocol.connection import Connection, ConnectionState
from limbeck_protocol.discovery import (
    KeyPair,
    client_keys_path,
    create_or_load_keys,
    read_server_record,
    server_record_path,
)
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.following import follow_job
from limbeck_protocol.recipe import Recipe, check_recipe
from limbeck_protocol.tickets import Patience, Ticket, new_job_id

__all__ = ["Client", "ConnectionState", "Patience", "Ticket", "new_job_id"]

_CALL_S = 10.0
R = TypeVar("R", bound=messages.Reply)


class Client(Connection):
    """A connection with conveniences that wait. See `Connection` for the arguments; use it from one thread only."""

    @classmethod
    def discover(
        cls,
        *,
        name: str = "limbeck-client",
        keys: KeyPair | None = None,
        context: zmq.Context[Any] | None = None,
        patience: Patience | None = None,
    ) -> Self:
        """Return a client of this user's own server, found through `server.json`; keys are made at first use.

        Raises:
            LimbeckError: NO_SERVER when none is running; or key files that others could reach.
        """
        record = read_server_record()
        if record is None or not _something_listens(record.endpoint):
            raise LimbeckError(ErrorCode.NO_SERVER, f"No server is running here (looked at {server_record_path()}).")
        if not record.major_min <= messages.PROTOCOL_MAJOR <= record.major_max:
            sentence = (
                f"The running server ({record.version}) speaks protocol {record.major_min} to {record.major_max}; "
                f"this client speaks {messages.PROTOCOL_MAJOR}."
            )
            raise LimbeckError(ErrorCode.PROTOCOL_UNSUPPORTED, sentence)

        def locate() -> tuple[str, str] | None:
            found = read_server_record()
            return None if found is None else (found.endpoint, found.server_key)

        keys = keys or create_or_load_keys(client_keys_path())
        return cls(
            record.endpoint, record.server_key, keys, context=context, name=name, patience=patience, locate=locate
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, message: messages.Request, timeout_s: float = _CALL_S) -> messages.Reply:
        """Return the reply to `message`.

        Raises:
            LimbeckError: the server's error; or NO_SERVER, SERVER_LOST, ACCESS_DENIED, TIMEOUT.
        """
        ticket = self.request(message, listed=False)
        deadline = time.monotonic() + timeout_s
        while not ticket.done:
            left = deadline - time.monotonic()
            if left <= 0:
                self.abandon(ticket)
                raise LimbeckError(ErrorCode.TIMEOUT, f"No answer came within {timeout_s:g} s.")
            self.wait(min(left, 0.1))
        return ticket.result()

    def _expect(self, kind: type[R], message: messages.Request, timeout_s: float) -> R:
        reply = self.call(message, timeout_s)
        if not isinstance(reply, kind):
            sentence = f"Expected a {kind.__name__}; the server answered with a {type(reply).__name__}."
            raise LimbeckError(ErrorCode.BAD_MESSAGE, sentence)
        return reply

    def submit(self, recipe: Recipe, job_id: str | None = None, timeout_s: float = _CALL_S) -> messages.JobInfo:
        """Hand in a recipe and return the stored job. Under one `job_id` this may be repeated without harm.

        Raises:
            LimbeckError: the recipe makes no sense (checked here first), or the server refuses it.
        """
        check_recipe(recipe)
        message = messages.Submit(job_id=job_id or new_job_id(), recipe=recipe)
        return self._expect(messages.JobInfo, message, timeout_s)

    def job(self, job_id: str, timeout_s: float = _CALL_S) -> messages.JobInfo:
        """Return what the store knows of a job."""
        return self._expect(messages.JobInfo, messages.GetJob(job_id=job_id), timeout_s)

    def jobs(self, limit: int = 50, timeout_s: float = _CALL_S) -> messages.JobList:
        """Return the newest jobs, newest first: at most `limit`, and as many as fit into one reply."""
        return self._expect(messages.JobList, messages.ListJobs(limit=limit), timeout_s)

    def cancel(self, job_id: str, timeout_s: float = _CALL_S) -> messages.JobInfo:
        """Ask for a job's end and return how it stands; a job that has ended stays as it is."""
        return self._expect(messages.JobInfo, messages.CancelJob(job_id=job_id), timeout_s)

    def events(
        self, after: int = 0, job_id: str | None = None, wait_ms: int = 0, timeout_s: float = _CALL_S
    ) -> messages.Events:
        """Return stored events numbered above `after`; the server may wait up to `wait_ms` until there is one."""
        message = messages.GetEvents(after_sequence=after, job_id=job_id, wait_ms=wait_ms)
        return self._expect(messages.Events, message, timeout_s + wait_ms / 1000.0)

    def preview(
        self, job_id: str, after_generation: int = 0, wait_ms: int = 0, timeout_s: float = _CALL_S
    ) -> messages.Preview:
        """Return the newest preview; its `image` is None when there is none newer than `after_generation`."""
        message = messages.GetPreview(job_id=job_id, after_generation=after_generation, wait_ms=wait_ms)
        return self._expect(messages.Preview, message, timeout_s + wait_ms / 1000.0)

    def catalog(self, timeout_s: float = _CALL_S) -> messages.Catalog:
        """Return the server's losses, priors and presets."""
        return self._expect(messages.Catalog, messages.GetCatalog(), timeout_s)

    def status(self, timeout_s: float = _CALL_S) -> messages.Status:
        """Return how the server is doing."""
        return self._expect(messages.Status, messages.GetStatus(), timeout_s)

    @overload
    def fetch_artifact(
        self, job_id: str, name: str, path: None = None, progress: OnBytes | None = None, outage_s: float = 60.0
    ) -> bytes: ...
    @overload
    def fetch_artifact(
        self, job_id: str, name: str, path: Path | str, progress: OnBytes | None = None, outage_s: float = 60.0
    ) -> Path: ...
    def fetch_artifact(
        self,
        job_id: str,
        name: str,
        path: Path | str | None = None,
        progress: OnBytes | None = None,
        outage_s: float = 60.0,
    ) -> bytes | Path:
        """Return an artifact's bytes, or write them to `path` (whole or not at all) and return that.

        Args:
            job_id: the job that made it.
            name: such as `mesh.glb`.
            path: where to write it; an existing file is replaced.
            progress: called with (bytes so far, bytes in all).
            outage_s: how long to go on while the server is away.

        Raises:
            LimbeckError: the server refuses or stays away, the digest is wrong, or `path` cannot be written.
        """
        message = messages.StatArtifact(job_id=job_id, name=name)
        artifact = self._expect(messages.ArtifactInfo, message, _CALL_S).artifact
        if path is None:
            return fetch_bytes(self, job_id, artifact, progress, outage_s)
        fetch_file(self, job_id, artifact, Path(path), progress, outage_s)
        return Path(path)

    def follow(
        self,
        job_id: str,
        on_event: Callable[[messages.Event], None] | None = None,
        on_progress: Callable[[messages.Progress], None] | None = None,
        on_preview: Callable[[messages.Preview], None] | None = None,
        timeout_s: float | None = None,
        *,
        after: int = 0,
        outage_s: float = 60.0,
    ) -> messages.JobInfo:
        """Stay with a job until it ends, and return how. Ending the wait does not end the job.

        Args:
            job_id: the job.
            on_event: called with each of its stored events numbered above `after`, in order, without gap or repeat.
            on_progress: called with the latest progress, about twice a second while it changes.
            on_preview: called with each new picture that was not overtaken by a newer one.
            timeout_s: how long to stay at most; None stays for ever.
            after: the last event already known.
            outage_s: how long to wait for a server that went away.

        Raises:
            LimbeckError: JOB_NOT_FOUND; TIMEOUT after `timeout_s`; the connection's error after `outage_s`.
        """
        return follow_job(self, job_id, on_event, on_progress, on_preview, timeout_s, after=after, outage_s=outage_s)


def _something_listens(endpoint: str) -> bool:
    """Return whether the port is open; a record left behind by a dead server is told from a live one at once."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        with sockets.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False
