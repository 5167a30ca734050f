"""The server's process, as far as the session has a hand in it: started by us, started anew, stopped."""

from __future__ import annotations

from limbeck_protocol.client import Client
from limbeck_protocol.discovery import read_server_record
from limbeck_protocol.errors import LimbeckError

from .server_process import ServerProcess, Stopping, start_server
from .server_search import ServerChoice


class ServerKeeper:
    """What is known of the server on this computer."""

    def __init__(self) -> None:
        self.process: ServerProcess | None = None
        """The server that we started last."""
        self._stopping: Stopping | None = None
        self._is_revival = False

    @property
    def is_running(self) -> bool:
        """Whether a server runs that we started."""
        return self.process is not None and self.process.process.poll() is None

    @property
    def is_stopping(self) -> bool:
        """Whether a server has been asked to end and has not ended yet."""
        return self._stopping is not None

    def revive(self, choice: ServerChoice) -> None:
        """Start a server in place of one that went away; the connection that lost it will find it.

        Raises:
            LimbeckError: it cannot be started.
        """
        if choice.remote is None and not self.is_running:
            self.process, self._is_revival = start_server(choice.command), True

    def take_failure_of_revival(self) -> LimbeckError | None:
        """Return, once, why the server that was started anew has ended."""
        failure = self.process.failure() if self.process is not None and self._is_revival else None
        if failure is not None:
            self.process, self._is_revival = None, False
        return failure

    def stop(self, client: Client | None) -> bool:
        """Ask our server to end, or the one that `client` talks to if it is on this computer; say if there was one."""
        server = self.process if self.is_running else process_behind(client)
        self._stopping = None if server is None else Stopping(server)
        return self.is_stopping

    def has_stopped(self) -> bool:
        """Return whether the server has ended now; never waits."""
        if self._stopping is not None and self._stopping.step():
            self._stopping = self.process = None
        return not self.is_stopping


def process_behind(client: Client | None) -> int | None:
    """Return the process id of the server that `client` talks to; None unless it is this computer's and this user's.

    Raises:
        LimbeckError: the server's record is damaged, or other users could have written it.
    """
    if client is None or client.welcome is None:
        return None
    record = read_server_record()
    return record.pid if record is not None and record.boot_id == client.welcome.boot_id else None
