"""Is anything listening there? Asked without waiting: a record left behind by a dead server is told from a live one."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import select
import socket
import time

TIMEOUT_S = 1.0
_PENDING = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN, getattr(errno, "WSAEWOULDBLOCK", 10035)})


class PortProbe:
    """Call `step()` until it says True or False.

    Args:
        endpoint: such as `tcp://127.0.0.1:41234`. Numeric addresses only: looking a name up would wait; a name counts
            as open, and the handshake tells.
    """

    def __init__(self, endpoint: str) -> None:
        self._until = time.monotonic() + TIMEOUT_S
        self._socket: socket.socket | None = None
        self._answer: bool | None = None
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        try:
            address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
        except ValueError:
            self._answer = True
            return
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            code = self._socket.connect_ex((str(address), int(port)))
        except (OSError, ValueError, OverflowError):
            self._conclude(False)
            return
        if code not in _PENDING:
            self._conclude(code == 0)

    def step(self) -> bool | None:
        """Return whether something listens; None while that is not known."""
        if self._answer is not None or self._socket is None:
            return self._answer
        # The third list: where Windows tells of a refused connection.
        _, writable, broken = select.select([], [self._socket], [self._socket], 0)
        if writable or broken:
            self._conclude(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0)
        elif time.monotonic() > self._until:
            self._conclude(False)
        return self._answer

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _conclude(self, answer: bool) -> None:
        self._answer = answer
        self.close()
