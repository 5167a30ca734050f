"""Staying with a job until it ends: events without gap or repeat, latest progress, newest pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OUTAGE_CODES
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import FINAL_STATES
from limbeck_protocol.tickets import Ticket

if TYPE_CHECKING:
    from limbeck_protocol.client import Client

_LOOK_AT_JOB_S = 2.0
_PROGRESS_HOLD_MS = 500
_EVENTS_HOLD_MS = 2000
_PREVIEW_HOLD_MS = 5000
_PREVIEW_PAUSE_S = 0.25
"""After an answer without a picture: a server does not hold the request when no picture can come any more."""

OnEvent = Callable[[messages.Event], None]
OnProgress = Callable[[messages.Progress], None]
OnPreview = Callable[[messages.Preview], None]


def follow_job(
    client: Client,
    job_id: str,
    on_event: OnEvent | None,
    on_progress: OnProgress | None,
    on_preview: OnPreview | None,
    timeout_s: float | None,
    *,
    after: int,
    outage_s: float,
) -> messages.JobInfo:
    """Return the job once it has ended; `Client.follow` has the arguments in words.

    Raises:
        LimbeckError: JOB_NOT_FOUND; TIMEOUT after `timeout_s`; the connection's error after `outage_s`.
    """
    follower = _Follower(client, job_id, on_event, on_progress, on_preview, after)
    started = last_heard = time.monotonic()
    try:
        while timeout_s is None or time.monotonic() - started < timeout_s:
            try:
                ended, heard = follower.step()
            except LimbeckError as error:
                if error.code not in OUTAGE_CODES or time.monotonic() - last_heard > outage_s:
                    raise
                continue
            if ended is not None:
                return ended
            if heard:
                last_heard = time.monotonic()
    finally:
        follower.stop()
    raise LimbeckError(ErrorCode.TIMEOUT, f"The job has not ended within {timeout_s:g} s; it goes on.")


class _Follower:
    """One held request for events, one for previews, and what has been told already."""

    def __init__(
        self,
        client: Client,
        job_id: str,
        on_event: OnEvent | None,
        on_progress: OnProgress | None,
        on_preview: OnPreview | None,
        after: int,
    ) -> None:
        self._client, self._job_id = client, job_id
        self._on_event, self._on_progress, self._on_preview = on_event, on_progress, on_preview
        self._sequence, self._generation = after, 0
        self._progress: messages.Progress | None = None
        self._events: Ticket | None = None
        self._preview: Ticket | None = None
        self._looked = self._no_picture = float("-inf")

    def step(self) -> tuple[messages.JobInfo | None, bool]:
        """Wait a moment and tell what came; return the job once it has ended, and whether the server was heard."""
        if self._events is None:
            # Progress travels beside events and wakes nobody, so who wants it asks often.
            hold_ms = _PROGRESS_HOLD_MS if self._on_progress else _EVENTS_HOLD_MS
            request = messages.GetEvents(after_sequence=self._sequence, job_id=self._job_id, wait_ms=hold_ms)
            self._events = self._client.request(request, listed=False)
        may_ask = time.monotonic() - self._no_picture > _PREVIEW_PAUSE_S
        if self._on_preview is not None and self._preview is None and may_ask:
            self._preview = self._client.request(self._preview_request(_PREVIEW_HOLD_MS), listed=False)
        self._client.wait(0.1)
        if self._preview is not None and self._preview.done:
            ticket, self._preview = self._preview, None
            self._tell_preview(ticket.result())
        if not self._events.done:
            return None, False
        ticket, self._events = self._events, None
        reply = ticket.result()
        if not isinstance(reply, messages.Events):
            raise LimbeckError(ErrorCode.BAD_MESSAGE, f"Expected events; a {type(reply).__name__} came.")
        has_ended = self._tell_events(reply)
        return self._job_if_ended(has_ended, is_quiet=not reply.events), True

    def stop(self) -> None:
        """Take back what is still asked for."""
        for ticket in (self._events, self._preview):
            if ticket is not None:
                self._client.abandon(ticket)

    def _tell_events(self, reply: messages.Events) -> bool:
        """Tell what is new; return whether the job's end was among it."""
        has_ended = False
        for event in reply.events:
            if event.sequence <= self._sequence:
                continue
            self._sequence = event.sequence
            if self._on_event is not None:
                self._on_event(event)
            has_ended = has_ended or (event.kind == "state" and event.data.get("state") in set(FINAL_STATES))
        progress = reply.progress.get(self._job_id)
        if progress is not None and progress != self._progress and self._on_progress is not None:
            self._progress = progress
            self._on_progress(progress)
        return has_ended

    def _job_if_ended(self, has_ended: bool, *, is_quiet: bool) -> messages.JobInfo | None:
        """Return the job if it has ended and its events have all been told."""
        # Without news, the job itself is looked at now and then: its end may lie before the events asked for.
        if not has_ended and not (is_quiet and time.monotonic() - self._looked > _LOOK_AT_JOB_S):
            return None
        self._looked = time.monotonic()
        job = self._client.job(self._job_id)
        if job.state not in FINAL_STATES:
            return None
        if self._on_preview is not None:
            self._tell_preview(self._client.call(self._preview_request(0)))
        return job

    def _preview_request(self, hold_ms: int) -> messages.GetPreview:
        return messages.GetPreview(job_id=self._job_id, after_generation=self._generation, wait_ms=hold_ms)

    def _tell_preview(self, reply: messages.Reply) -> None:
        if not isinstance(reply, messages.Preview) or reply.image is None or reply.generation <= self._generation:
            self._no_picture = time.monotonic()
            return
        self._generation = reply.generation
        if self._on_preview is not None:
            self._on_preview(reply)
