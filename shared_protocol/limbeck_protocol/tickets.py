"""Requests on their way: ids, tickets, and how long to wait before asking again."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from limbeck_protocol import messages
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.frame_blob import Frame

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80


def new_job_id() -> str:
    """Return a new id of 26 letters and digits (a ULID): ids of later milliseconds sort later; 80 bits are random."""
    number = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True)
class Patience:
    """How long a client waits for an answer, and how often it asks."""

    timeout_s: float = 2.5
    """For one try; a request that the server may hold adds its `wait_ms`."""
    tries: int = 3

    @property
    def total_s(self) -> float:
        """How long a request may wait to be sent at all."""
        return self.timeout_s * self.tries


class Ticket:
    """A request and, some time later, what came of it. Made by `Connection.request`; `poll()` completes it."""

    def __init__(self, request_id: str, message: messages.Request, frames: list[Frame], now: float) -> None:
        self.request_id = request_id
        self.message = message
        self.done = False
        # For the connection only:
        self.frames = frames
        self.tries = 0
        self.is_sent = False
        self.is_listed = True
        self.changed = now
        """When it was last sent, or began to wait for being sent."""
        self._reply: messages.Reply | None = None
        self._error: LimbeckError | None = None

    @property
    def held_s(self) -> float:
        """How long the server may hold this request before it answers."""
        if isinstance(self.message, (messages.GetEvents, messages.GetPreview)):
            return self.message.wait_ms / 1000.0
        return 0.0

    def result(self) -> messages.Reply:
        """Return the reply.

        Raises:
            LimbeckError: the server answered with an error, or no answer came.
        """
        if self._error is not None:
            raise self._error
        if self._reply is None:
            raise LimbeckError(ErrorCode.BAD_STATE, "The answer has not come yet; poll until the ticket is done.")
        return self._reply

    def complete(self, outcome: messages.Reply | LimbeckError) -> None:
        """Settle the ticket; what comes later is ignored."""
        if self.done:
            return
        self.done = True
        self.frames = []
        if isinstance(outcome, LimbeckError):
            self._error = outcome
        else:
            self._reply = outcome
