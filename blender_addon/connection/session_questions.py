"""Questions to the server that have no answer yet: one of each purpose, each with the function that takes its reply."""

from __future__ import annotations

import time
from collections.abc import Callable

from limbeck_protocol import messages
from limbeck_protocol.client import Client, Ticket
from limbeck_protocol.errors import LimbeckError

Handler = Callable[[messages.Reply], None]
ErrorHandler = Callable[[LimbeckError], None]


class Questions:
    """What was asked through one client."""

    def __init__(self) -> None:
        self.last_answer = 0.0
        """When a reply last came, by the monotonic clock."""
        self._waiting: dict[str, tuple[Ticket, Handler, ErrorHandler | None]] = {}

    def __bool__(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._waiting)

    def ask(
        self,
        client: Client,
        purpose: str,
        message: messages.Request,
        handler: Handler,
        on_error: ErrorHandler | None = None,
    ) -> None:
        """Put a question on its way, unless one of its purpose is under way already; `on_error` as in `hand_over`."""
        if purpose not in self._waiting:
            self._waiting[purpose] = (client.request(message), handler, on_error)

    def hand_over(self, budget_s: float, on_error: ErrorHandler) -> None:
        """Give the answers that have come to their handlers, until the time is over; the rest waits for the next call.

        Args:
            budget_s: after this long no further handler is called.
            on_error: given what was answered with an error, or not at all; a question's own `on_error` goes first.
        """
        deadline = time.monotonic() + budget_s
        for purpose, (ticket, handler, own_on_error) in list(self._waiting.items()):
            # An answer before this one may have ended the wait for it, or asked the same anew.
            if not ticket.done or self._waiting.get(purpose, (None,))[0] is not ticket:
                continue
            del self._waiting[purpose]
            try:
                reply = ticket.result()
            except LimbeckError as error:
                (own_on_error or on_error)(error)
                continue
            self.last_answer = time.monotonic()
            handler(reply)
            if time.monotonic() > deadline:
                return

    def drop(self, client: Client, purpose: str) -> None:
        """Want no answer to the question of this purpose any more, if there is one."""
        if purpose in self._waiting:
            client.abandon(self._waiting.pop(purpose)[0])

    def forget(self, client: Client | None) -> None:
        """Want no answer any more."""
        for ticket, _, _ in self._waiting.values():
            if client is not None:
                client.abandon(ticket)
        self._waiting.clear()
