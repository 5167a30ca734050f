"""A client's connection to a server, never waiting: send with `request()`, look with `poll()`.

The life of a connection: TCP and CURVE handshake (libzmq's, reported by the socket's monitor), `Hello` and `Welcome`,
then requests. Whatever interrupts it, the requests without an answer are sent again under their old ids once there is
a connection again: servers treat a repeated request like the first. No thread: somebody must call `poll()`.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import zmq

from limbeck_protocol import __version__, messages
from limbeck_protocol.codec import decode_reply, encode_message
from limbeck_protocol.discovery import KeyPair
from limbeck_protocol.errors import CodecError, ErrorCode, LimbeckError
from limbeck_protocol.minor_versions import why_not_for
from limbeck_protocol.replies import error_from_reply, wrong_program, wrong_version
from limbeck_protocol.tickets import Patience, Ticket, new_job_id
from limbeck_protocol.transport import configure_client_socket

_MESSAGES_PER_POLL = 64
_VAGUE_FAILURES_TO_GIVE_UP = 3
_RELOCATE_S = 1.0
_EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)

Locate = Callable[[], tuple[str, str] | None]
"""Returns the endpoint and key under which the server is found now, or None."""


class ConnectionState(StrEnum):
    """How a connection stands, for a panel to show."""

    CONNECTING = "connecting"
    """No server has answered yet."""
    CONNECTED = "connected"
    DENIED = "denied"
    """The server refused this client; `problem` says why. The next request tries again."""
    LOST = "lost"
    """There was a server; the connection is being tried again."""


class Connection:
    """One client's connection; use it from one thread only.

    Args:
        endpoint: such as `tcp://127.0.0.1:41234`.
        server_key: the server's public key, Z85.
        keys: this client's own pair.
        context: a zmq context to share; by default the connection has its own.
        name: the program's name, for the server's log.
        patience: how long to wait and how often to ask again.
        locate: asked for the server's whereabouts while there is no connection, since a server that was started again
            has another port.
    """

    def __init__(
        self,
        endpoint: str,
        server_key: str,
        keys: KeyPair,
        *,
        context: zmq.Context[Any] | None = None,
        name: str = "limbeck-client",
        patience: Patience | None = None,
        locate: Locate | None = None,
    ) -> None:
        self.state = ConnectionState.CONNECTING
        self.welcome: messages.Welcome | None = None
        """What the server said of itself, once connected."""
        self.problem: LimbeckError | None = None
        """Why the state is DENIED."""
        self._endpoint, self._server_key, self._keys = endpoint, server_key, keys
        self._name, self._patience, self._locate = name, patience or Patience(), locate
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._socket: zmq.Socket[Any] | None = None
        self._monitor: zmq.Socket[Any] | None = None
        self._pending: dict[str, Ticket] = {}
        self._completed: list[Ticket] = []
        self._hello_id = ""
        """Of the greeting under way or answered on this connection; empty without a connection."""
        self._hello_sent: float | None = None
        self._has_tcp, self._vague_failures = False, 0
        self._last_located, self._closed = 0.0, False

    # --- what users call ---

    def request(self, message: messages.Request, *, listed: bool = True) -> Ticket:
        """Put `message` on its way and return its ticket. Nothing is waited for; `poll()` does the work.

        Args:
            message: the request.
            listed: whether `poll()` shall tell when it is done; who keeps the ticket and looks at it needs no telling.

        Raises:
            LimbeckError: the message cannot travel (too large, NaN), or the connection is closed.
        """
        if self._closed:
            raise LimbeckError(ErrorCode.BAD_STATE, "The client has been closed; make a new one.")
        request_id = new_job_id()
        ticket = Ticket(request_id, message, encode_message(message, request_id=request_id), time.monotonic())
        ticket.is_listed = listed
        self._pending[request_id] = ticket
        if self.state is ConnectionState.DENIED:
            self.state, self.problem = ConnectionState.CONNECTING, None
        self._pump()
        return ticket

    def poll(self) -> list[Ticket]:
        """Send and receive what can be without waiting; return the tickets that were completed since the last call."""
        self._pump()
        completed, self._completed = self._completed, []
        return completed

    def wait(self, timeout_s: float) -> None:
        """Wait until something may have happened, at most `timeout_s`, and do what `poll()` does, but for its list."""
        if self._socket is not None and self._monitor is not None:
            poller = zmq.Poller()
            poller.register(self._socket, zmq.POLLIN)
            poller.register(self._monitor, zmq.POLLIN)
            poller.poll(max(0, round(1000 * timeout_s)))
        else:
            time.sleep(max(0.0, timeout_s))
        self._pump()

    def abandon(self, ticket: Ticket) -> None:
        """Give up on a request: its ticket is done, with the error CANCELLED, and its answer will be ignored."""
        if self._pending.pop(ticket.request_id, None) is not None:
            ticket.complete(LimbeckError(ErrorCode.CANCELLED, "The request was given up."))

    def close(self) -> None:
        """Close all sockets; what is pending ends with an error. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._fail_all(LimbeckError(ErrorCode.CANCELLED, "The client was closed before the answer came."))
        self._close_socket()
        if self._own_context:
            self._context.term()

    # --- the work ---

    def _pump(self) -> None:
        if self._closed:
            return
        if self._socket is None and self.state is not ConnectionState.DENIED:
            self._open()
        self._read_monitor()
        self._read_replies()
        self._check_timers(time.monotonic())
        self._send_pending()

    def _open(self) -> None:
        self._socket = self._context.socket(zmq.DEALER)
        configure_client_socket(self._socket, self._keys, self._server_key, ipv6="[" in self._endpoint)
        self._monitor = self._socket.get_monitor_socket(_EVENTS)
        self._last_located = time.monotonic()
        try:
            self._socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            self._deny(LimbeckError(ErrorCode.INVALID_FIELD, f"{self._endpoint!r} is no address: {error}."))

    def _close_socket(self) -> None:
        socket, monitor, self._socket, self._monitor = self._socket, self._monitor, None, None
        if socket is not None:
            socket.disable_monitor()
            socket.close(linger=0)
        if monitor is not None:
            monitor.close(linger=0)
        self._has_tcp = False
        self._on_loss()

    def _on_loss(self) -> None:
        """There is no greeted connection (any more): whatever was sent will be sent again."""
        if self.state is ConnectionState.CONNECTED:
            self.state = ConnectionState.LOST
        self._hello_id, self._hello_sent, self.welcome = "", None, None
        now = time.monotonic()
        for ticket in self._pending.values():
            if ticket.is_sent:
                ticket.is_sent, ticket.changed = False, now

    def _deny(self, problem: LimbeckError) -> None:
        self.state, self.problem = ConnectionState.DENIED, problem
        self._close_socket()
        self._fail_all(problem)

    def _read_monitor(self) -> None:
        while self._monitor is not None:
            try:
                frames = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # Two bytes of event, four of value; pyzmq's own reader would import asyncio for it.
            self._on_event(struct.unpack_from("=H", frames[0])[0])

    def _on_event(self, event: int) -> None:
        if event == zmq.EVENT_CONNECTED:
            self._has_tcp = True
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._vague_failures = 0
            self._hello_id = new_job_id()
            self._say_hello()
        elif event == zmq.EVENT_DISCONNECTED:
            self._has_tcp = False
            for ticket in self._pending.values():
                # Counted, so that a request which brings the server down is not repeated for ever.
                ticket.tries += ticket.is_sent
            self._on_loss()
        elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            self._deny(LimbeckError(ErrorCode.ACCESS_DENIED, "The server does not allow this client's key."))
        elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            self._deny(wrong_program(f"What listens at {self._endpoint} is no Limbeck server."))
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            # It hung up without a reason, or said nothing: it died just then, or the key is not the one expected.
            self._vague_failures += 1
            if self._vague_failures >= _VAGUE_FAILURES_TO_GIVE_UP:
                self._vague_failures = 0
                sentence = f"What listens at {self._endpoint} is not the Limbeck server whose key is known here."
                self._deny(wrong_program(sentence))

    def _say_hello(self) -> None:
        major = messages.PROTOCOL_MAJOR
        hello = messages.Hello(major_min=major, major_max=major, client=f"{self._name} {__version__}")
        if self._try_to_send(encode_message(hello, request_id=self._hello_id)):
            self._hello_sent = time.monotonic()

    def _try_to_send(self, frames: list[Any]) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _read_replies(self) -> None:
        for _ in range(_MESSAGES_PER_POLL):
            if self._socket is None:
                return
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            outcome: messages.Reply | LimbeckError
            try:
                envelope = decode_reply(frames)
            except CodecError as error:
                reply_to, outcome = error.reply_to, error
            else:
                reply_to, outcome = envelope.reply_to, envelope.message
                if isinstance(outcome, messages.ErrorReply):
                    outcome = error_from_reply(outcome)
            self._on_reply(reply_to, outcome)

    def _on_reply(self, reply_to: str | None, outcome: messages.Reply | LimbeckError) -> None:
        if reply_to is not None and reply_to == self._hello_id:
            if isinstance(outcome, messages.Welcome) and outcome.major != messages.PROTOCOL_MAJOR:
                self._deny(wrong_version(outcome))
            elif isinstance(outcome, messages.Welcome):
                self.welcome, self.state = outcome, ConnectionState.CONNECTED
            elif isinstance(outcome, LimbeckError):
                self._deny(outcome)
            return
        # Answers to abandoned or repeated requests find no ticket any more: they have been dealt with.
        ticket = self._pending.pop(reply_to or "", None)
        if ticket is not None:
            self._complete(ticket, outcome)

    def _complete(self, ticket: Ticket, outcome: messages.Reply | LimbeckError) -> None:
        ticket.complete(outcome)
        if ticket.is_listed:
            self._completed.append(ticket)

    def _fail_all(self, error: LimbeckError) -> None:
        for ticket in self._pending.values():
            self._complete(ticket, error)
        self._pending.clear()

    def _check_timers(self, now: float) -> None:
        if self.welcome is None:
            self._look_for_server(now)
        if self._hello_id and self.welcome is None:
            silent = self._hello_sent is not None and now - self._hello_sent > self._patience.timeout_s
            if self._hello_sent is None or silent:
                self._say_hello()
        for ticket in list(self._pending.values()):
            waited = now - ticket.changed
            if not ticket.is_sent and (waited > self._patience.total_s or ticket.tries >= self._patience.tries):
                self._fail(ticket, self._why_not_sent())
            elif ticket.is_sent and waited > self._patience.timeout_s + ticket.held_s:
                self._ask_again(ticket, now)

    def _ask_again(self, ticket: Ticket, now: float) -> None:
        ticket.tries += 1
        if ticket.tries >= self._patience.tries:
            sentence = f"The server did not answer within {self._patience.tries} tries."
            self._fail(ticket, LimbeckError(ErrorCode.TIMEOUT, sentence))
            return
        # On the same socket: a slow server's answer to the first try still counts. A connection that only looks alive
        # is found out by libzmq's heartbeats, which end it; then everything is sent again over the next one.
        ticket.is_sent, ticket.changed = False, now

    def _fail(self, ticket: Ticket, error: LimbeckError) -> None:
        self._pending.pop(ticket.request_id, None)
        self._complete(ticket, error)

    def _why_not_sent(self) -> LimbeckError:
        if self.state is ConnectionState.LOST:
            return LimbeckError(ErrorCode.SERVER_LOST, f"The connection to the server at {self._endpoint} is lost.")
        if self._has_tcp:
            return LimbeckError(ErrorCode.TIMEOUT, f"Something listens at {self._endpoint} and does not answer.")
        return LimbeckError(ErrorCode.NO_SERVER, f"No server answers at {self._endpoint}.")

    def _look_for_server(self, now: float) -> None:
        if self._locate is None or now - self._last_located < _RELOCATE_S:
            return
        self._last_located = now
        found: tuple[str, str] | None = None
        # A damaged record is no news of the server; the requests that wait for it end by their own clocks.
        with contextlib.suppress(LimbeckError):
            found = self._locate()
        if found is not None and found != (self._endpoint, self._server_key):
            self._endpoint, self._server_key = found
            self._close_socket()

    def _send_pending(self) -> None:
        if self.welcome is None:
            return
        for ticket in [ticket for ticket in self._pending.values() if not ticket.is_sent]:
            if (refusal := why_not_for(ticket.message, self.welcome)) is not None:
                self._fail(ticket, refusal)
            elif self._try_to_send(ticket.frames):
                ticket.is_sent, ticket.changed = True, time.monotonic()
            else:
                return
