"""Find a server on this computer, or start one and find that: a step at a time, never waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from limbeck_protocol.client import Client
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .server_process import ServerProcess, start_server

START_TIMEOUT_S = 30.0


class ServerSearch:
    """Call `step()` until it returns a client or raises.

    Args:
        command: returns the Python command that starts a server; called only when one must be started.
        start: whether to start a server where none runs.
    """

    def __init__(self, command: Callable[[], Sequence[str]], *, start: bool) -> None:
        self.server: ServerProcess | None = None
        """The server that was started, if one was."""
        self._command, self._start = command, start
        self._until = 0.0

    def step(self) -> Client | None:
        """Return a client once a server is found; None while one is starting.

        Raises:
            LimbeckError: NO_SERVER: none runs and none was to be started, or it ended at once, or did not come up
                within 30 s. Or the client's key files are damaged or open to others.
        """
        # Asked first: of two servers started at once one gives way, and the other is found below.
        failure = self.server.failure() if self.server else None
        try:
            return Client.discover(name="blender")
        except LimbeckError as error:
            if error.code is not ErrorCode.NO_SERVER or not self._start:
                raise
        if self.server is None:
            self.server = start_server(self._command())
            self._until = time.monotonic() + START_TIMEOUT_S
        elif failure is not None:
            raise failure
        elif time.monotonic() > self._until:
            sentence = f"The server has not come up within {START_TIMEOUT_S:g} s; its log is {self.server.log_path}."
            raise LimbeckError(ErrorCode.NO_SERVER, sentence)
        return None
