"""Requests that wait for news: at most one for events and one for previews per connection.

A newer request of the same kind supersedes the older one, which is answered with what there is. So a client cannot pile
them up, and one that went away costs nothing once its wait is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from limbeck_protocol.codec import Envelope
from limbeck_protocol.job_states import FINAL_STATES
from limbeck_protocol.messages import Events, GetEvents, GetPreview, Preview, Progress, Reply, Request

from limbeck_server.service.handlers import Service

MAX_HELD = 512
"""Beyond it, requests are answered at once."""
PROGRESS_EVERY_S = 0.25
"""How often progress alone ends a wait for events."""


@dataclass(frozen=True)
class Held:
    """A request that waits."""

    connection: bytes
    """The client's routing id."""
    minor: int
    """The minor version that the client speaks."""
    request_id: str
    message: GetEvents | GetPreview
    since: float
    """Monotonic seconds."""
    told: Mapping[str, Progress]
    """The progress there was when the wait began."""

    @property
    def deadline(self) -> float:
        return self.since + self.message.wait_ms / 1000.0


class LongPolls:
    """The waiting requests of all connections.

    Args:
        service: asked whether a job has ended.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._held: dict[tuple[bytes, type[Request]], Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, connection: bytes, request: Envelope[Request], reply: Reply, now: float) -> list[Held]:
        """Decide whether a request waits, and return those to answer now: itself, or the older one that it supersedes.

        Args:
            connection: the client's routing id.
            request: a `GetEvents` or `GetPreview`.
            reply: its answer as of now.
            now: monotonic seconds.
        """
        message, request_id = request.message, request.request_id
        if not isinstance(message, (GetEvents, GetPreview)):
            raise TypeError(f"a {type(message).__name__} request cannot wait")
        told = dict(reply.progress) if isinstance(reply, Events) else {}
        held = Held(connection, request.minor, request_id, message, now, told)
        place = (connection, type(message))
        full = len(self._held) >= MAX_HELD and place not in self._held
        if message.wait_ms == 0 or full or self._has_news(held, reply, now):
            return [held]
        older = self._held.get(place)
        self._held[place] = held
        return [older] if older is not None and older.request_id != request_id else []

    def release(self, now: float, answer: Callable[[Request], Reply]) -> Iterator[tuple[Held, Reply]]:
        """Yield the requests whose wait is over, with their replies."""
        for place, held in list(self._held.items()):
            reply = answer(held.message)
            if now >= held.deadline or self._has_news(held, reply, now):
                del self._held[place]
                yield held, reply

    def next_deadline(self) -> float | None:
        """Return when the first wait is over, in monotonic seconds."""
        return min((held.deadline for held in self._held.values()), default=None)

    def _has_news(self, held: Held, reply: Reply, now: float) -> bool:
        """Return whether the reply says more than the client knew, or waiting for more is pointless."""
        if isinstance(reply, Events):
            return bool(reply.events) or (now - held.since >= PROGRESS_EVERY_S and reply.progress != held.told)
        if isinstance(reply, Preview):
            return reply.image is not None or self._service.store.state(reply.job_id) in FINAL_STATES
        return True  # an error
