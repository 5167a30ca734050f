"""The server's door: one ROUTER, one loop, one thread. Nothing that a client sends may end it.

Each round: let the handshake's questions be answered, take requests, let the jobs advance, answer the requests whose
wait is over. Sends never wait: a client that does not read loses its own replies, and asks again.
"""

from __future__ import annotations

import logging
import socket as sockets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import zmq
from limbeck_protocol.codec import CodecError, Envelope, decode_request, encode_message
from limbeck_protocol.discovery import KeyPair
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.messages import GetEvents, GetPreview, Reply, Request
from limbeck_protocol.replies import error_reply, for_minor, shorten_to_fit
from limbeck_protocol.transport import configure_server_socket

from limbeck_server.service.access import AllowList, ZapHandler, check_refusal, is_wide
from limbeck_server.service.handlers import Service, answer
from limbeck_server.service.long_polls import LongPolls

REQUESTS_PER_ROUND = 64
"""So that a flood of requests cannot keep the jobs from advancing."""
BUSY_ROUND_S = 0.05
IDLE_ROUND_S = 1.0
_log = logging.getLogger(__name__)


class WakeUp:
    """Ends a poll from another thread or a signal handler."""

    def __init__(self) -> None:
        self.socket, self._trigger = sockets.socketpair()
        self.socket.setblocking(False)
        self._trigger.setblocking(False)

    def __call__(self) -> None:
        try:
            self._trigger.send(b"!")
        except OSError:
            return  # it is full, so awake already; or closed, so nobody sleeps

    def clear(self) -> None:
        """Forget all calls so far."""
        try:
            while self.socket.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        self.socket.close()
        self._trigger.close()


class Endpoint:
    """The bound socket and its loop.

    Args:
        context: the server's own.
        keys: the server's key pair.
        allowed: who may talk to it.
        service: what answers.
        wake: ends the loop's wait.
    """

    def __init__(
        self, context: zmq.Context[Any], keys: KeyPair, allowed: AllowList, service: Service, wake: WakeUp
    ) -> None:
        self._context = context
        self._keys = keys
        self._allowed = allowed
        self._service = service
        self._wake = wake
        self._zap = ZapHandler(context, allowed)
        self._router: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._polls = LongPolls(service)
        self._poller = zmq.Poller()
        self._sent = 0
        self.counts: Counter[str] = Counter()
        """What could not be answered: `garbage`, `unreachable`."""
        self.last_active = time.monotonic()

    def bind(self, endpoint: str) -> str:
        """Listen at `endpoint`, see that a stranger is refused, and return where clients of this machine connect.

        Raises:
            LimbeckError: the address cannot be used, or the stranger got in.
        """
        configure_server_socket(self._router, self._keys, ipv6="[" in endpoint)
        try:
            self._router.bind(endpoint)
        except zmq.ZMQError as error:
            raise LimbeckError(
                ErrorCode.INVALID_FIELD,
                f"The server cannot listen at {endpoint}: {error.strerror}.",
                Remedy(action=RemedyAction.EDIT_FIELD, label="Choose another address or port, or leave it out."),
            ) from error
        for socket in (self._zap.socket, self._router, self._wake.socket):
            self._poller.register(socket, zmq.POLLIN)
        bound = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        local = bound.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
        check_refusal(self._context, local, self._keys.public_key, self._zap.answer_waiting)
        _log.info("listening at %s%s", bound, " (open to other machines)" if is_wide(bound) else "")
        return local

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Serve until `should_stop()`, which is asked once a round."""
        while not should_stop():
            self._poller.poll(round(1000 * self._patience_s()))
            self._wake.clear()
            self._zap.answer_waiting()
            self._take_requests()
            try:
                self._service.runner.advance()
                for held, reply in self._polls.release(time.monotonic(), self._answer):
                    self._send(held.connection, held.request_id, for_minor(reply, held.minor))
            except Exception:  # a fault of ours must not take the door down with it
                _log.exception("a round of the server failed")
                time.sleep(BUSY_ROUND_S)

    def close(self) -> None:
        """Close the sockets; replies that have not left yet are lost, and asked for again."""
        self._router.close(linger=0)
        self._zap.close()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _patience_s(self) -> float:
        if self._service.runner.running():
            self.last_active = time.monotonic()
            return BUSY_ROUND_S
        deadline = self._polls.next_deadline()
        return IDLE_ROUND_S if deadline is None else min(IDLE_ROUND_S, max(0.0, deadline - time.monotonic()))

    def _take_requests(self) -> None:
        for _ in range(REQUESTS_PER_ROUND):
            try:
                frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                self._take(frames)
            except Exception:  # nothing that a client sends may end the loop
                _log.exception("a message could not be handled")
                self.counts["garbage"] += 1

    def _take(self, frames: Sequence[zmq.Frame]) -> None:
        connection = frames[0].bytes
        try:
            envelope = decode_request([frame.buffer for frame in frames[1:]])
        except CodecError as error:
            if error.request_id is None:
                self.counts["garbage"] += 1
                _log.info("dropped a message that cannot be read: %s", error.message)
            else:
                self._send(connection, error.request_id, error_reply(error))
            return
        if str(frames[-1].get("User-Id")) not in self._allowed:
            refusal = LimbeckError(ErrorCode.UNAUTHENTICATED, "This client's key is not allowed here any more.")
            self._send(connection, envelope.request_id, error_reply(refusal))
            return
        self.last_active = time.monotonic()
        self._reply(connection, envelope)

    def _reply(self, connection: bytes, envelope: Envelope[Request]) -> None:
        message, reply = envelope.message, self._answer(envelope.message)
        if isinstance(message, GetPreview) and message.viewer is not None:
            self._service.runner.look(message)  # once for each time of asking, not with every round of a wait
        if not isinstance(message, (GetEvents, GetPreview)):
            self._send(connection, envelope.request_id, for_minor(reply, envelope.minor))
            return
        for held in self._polls.hold(connection, envelope, reply, time.monotonic()):
            fitting = reply if held.message is message else self._answer(held.message)
            self._send(connection, held.request_id, for_minor(fitting, held.minor))

    def _answer(self, message: Request) -> Reply:
        """Return the reply to a request, an error's if need be; raises nothing."""
        try:
            return answer(self._service, message)
        except LimbeckError as error:
            return error_reply(error)
        except sqlite3.OperationalError as error:
            _log.exception("the store did not answer a %s request", type(message).__name__)
            if error.sqlite_errorcode in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
                full = LimbeckError(ErrorCode.DISK_FULL, "The disk that holds the server's data is full.")
                return error_reply(full)
            return self._stumbled(message)
        except Exception:
            _log.exception("a %s request could not be answered", type(message).__name__)
            return self._stumbled(message)

    def _stumbled(self, message: Request) -> Reply:
        kind = message.__struct_config__.tag
        sentence = f"The server stumbled over a {kind!r} request; its log has the details."
        remedy = Remedy(action=RemedyAction.SHOW_LOG, label="Look at the server's log, and report it.")
        return error_reply(LimbeckError(ErrorCode.INTERNAL, sentence, remedy))

    def _send(self, connection: bytes, request_id: str, reply: Reply) -> None:
        self._sent += 1
        own_id = f"s{self._sent}"
        try:
            frames = encode_message(reply, request_id=own_id, reply_to=request_id)
        except CodecError:
            try:
                frames = encode_message(shorten_to_fit(reply), request_id=own_id, reply_to=request_id)
            except CodecError as error:
                _log.error("a reply cannot travel: %s", error.message)
                sentence = "The server's answer does not fit into a message; its log has the details."
                failure = error_reply(LimbeckError(ErrorCode.INTERNAL, sentence))
                frames = encode_message(failure, request_id=own_id, reply_to=request_id)
        try:
            self._router.send_multipart([connection, *frames], zmq.NOBLOCK)
        except zmq.ZMQError as error:  # EHOSTUNREACH: it has gone; EAGAIN: it does not read
            self.counts["unreachable"] += 1
            _log.debug("a reply was not sent: %s", error)
