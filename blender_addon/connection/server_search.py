"""Find the chosen server, or start one on this computer and find that: a step at a time, never waiting.

A file says where the server of this computer was last reached. It may be stale, and another program may have the port
by now: only the encrypted handshake tells. So a search ends when the server has said who it is, not when a port opens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limbeck_protocol import messages
from limbeck_protocol.client import Client, ConnectionState
from limbeck_protocol.discovery import (
    ServerRecord,
    client_keys_path,
    create_or_load_keys,
    read_server_record,
    server_record_path,
)
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .port_probe import PortProbe
from .server_process import EXIT_ALREADY_SERVED, ServerProcess, start_server

START_TIMEOUT_S = 30.0
GREETING_TIMEOUT_S = 9.0
"""Longer than three failed handshakes of 2 s, after which the connection itself knows what is wrong."""
CLIENT_NAME = "blender"


@dataclass(frozen=True)
class ServerChoice:
    """Which server to talk to."""

    command: tuple[str, ...] = ()
    """Program and arguments of the Python or the `limbeck` that starts one on this computer."""
    remote: tuple[str, str] | None = None
    """Endpoint and key (Z85) of a server to connect to; None: the one on this computer."""


def _permit_all(_endpoint: str) -> None:
    return


class ServerSearch:
    """Call `step()` until it returns a client or raises.

    Args:
        command: returns the command that starts a server; called only when one must be started.
        start: whether to start a server where none runs.
        remote: endpoint and key of a server elsewhere; none is ever started then.
        permit: raises a `LimbeckError` if the network may not be used to reach an endpoint.
    """

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        *,
        start: bool,
        remote: tuple[str, str] | None = None,
        permit: Callable[[str], None] = _permit_all,
    ) -> None:
        self.server: ServerProcess | None = None
        """The server that was started, if one was."""
        self._command, self._start, self._remote, self._permit = command, start and remote is None, remote, permit
        self._client: Client | None = None
        self._record: ServerRecord | None = None
        self._probe: PortProbe | None = None
        self._refused: set[str] = set()
        """`boot_id` of the records behind which there was no server of ours."""
        self._until = 0.0
        self._greeting_until = 0.0

    @property
    def is_starting(self) -> bool:
        """Whether a server was started and has not been found yet."""
        return self.server is not None

    def step(self) -> Client | None:
        """Return a client once the server has said who it is; None while there is something to wait for.

        Raises:
            LimbeckError: NO_SERVER: none runs and none was to be started, or it ended at once, or did not come up
                within 30 s. ACCESS_DENIED, PROTOCOL_UNSUPPORTED: what the other side is. Or the client's key files are
                damaged or open to others, or the network may not be used.
        """
        try:
            if self._client is not None:
                return self._await_greeting(self._client)
            if self._remote is not None:
                self._open(*self._remote)
                return None
            return self._look_here()
        except LimbeckError:
            self.stop()
            raise

    def stop(self) -> None:
        """Let go of what the search holds; a server that it started goes on."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._drop_probe()

    # --- this computer ---

    def _look_here(self) -> None:
        # Asked first: of two servers started at once one gives way, and the other is found below.
        failure = self.server.failure() if self.server else None
        record = read_server_record()
        if record is not None and record.boot_id not in self._refused:
            if self._probe is None or self._record is None or self._record.boot_id != record.boot_id:
                self._permit(record.endpoint)
                self._drop_probe()
                self._record, self._probe = record, PortProbe(record.endpoint)
            is_open = self._probe.step()
            if is_open is None:
                return
            self._drop_probe()
            if is_open:
                self._check_version(record)
                self._open(record.endpoint, record.server_key)
                return
        self._start_or_wait(failure)

    def _start_or_wait(self, failure: LimbeckError | None) -> None:
        if self.server is None:
            if not self._start:
                sentence = f"No server is running here (looked at {server_record_path()})."
                raise LimbeckError(ErrorCode.NO_SERVER, sentence)
            self.server = start_server(self._command())
            self._until = time.monotonic() + START_TIMEOUT_S
        elif failure is not None:
            raise failure
        elif self._refused and self.server.process.poll() == EXIT_ALREADY_SERVED:
            raise self._silence()  # one of ours holds the data, and is not to be talked to
        elif time.monotonic() > self._until:
            sentence = f"The server has not come up within {START_TIMEOUT_S:g} s; its log is {self.server.log_path}."
            raise LimbeckError(ErrorCode.NO_SERVER, sentence)

    def _check_version(self, record: ServerRecord) -> None:
        if record.major_min <= messages.PROTOCOL_MAJOR <= record.major_max:
            return
        sentence = (
            f"The running server ({record.version}) speaks protocol {record.major_min} to {record.major_max}; "
            f"this Blender speaks {messages.PROTOCOL_MAJOR}."
        )
        raise LimbeckError(ErrorCode.PROTOCOL_UNSUPPORTED, sentence)

    # --- either ---

    def _open(self, endpoint: str, server_key: str) -> None:
        self._permit(endpoint)
        keys = create_or_load_keys(client_keys_path())
        locate = None if self._remote is not None else self._locate
        self._client = Client(endpoint, server_key, keys, name=CLIENT_NAME, locate=locate)
        self._greeting_until = time.monotonic() + GREETING_TIMEOUT_S

    def _locate(self) -> tuple[str, str] | None:
        """Say where the server is now: one that was started again has another port."""
        record = read_server_record()
        if record is None:
            return None
        self._permit(record.endpoint)
        return record.endpoint, record.server_key

    def _await_greeting(self, client: Client) -> Client | None:
        client.poll()
        if client.state is ConnectionState.CONNECTED:
            self._client = None
            return client
        problem = client.problem
        if problem is None and time.monotonic() > self._greeting_until:
            problem = self._silence()
        if problem is None:
            return None
        self.stop()
        # The port of a server that died may be another program's now: then ours is still to be started.
        is_stale = problem.code is ErrorCode.ACCESS_DENIED and self._record is not None
        if not (is_stale and (self._start or self.server is not None)):
            raise problem
        self._refused.add(self._record.boot_id)
        return None

    def _silence(self) -> LimbeckError:
        if self._remote is None:
            return LimbeckError(ErrorCode.TIMEOUT, "The server on this computer is there, but does not answer.")
        host = self._remote[0].removeprefix("tcp://")
        return LimbeckError(ErrorCode.TIMEOUT, f"No server answers at {host}.")

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None
