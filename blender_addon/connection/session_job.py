"""What is asked about a followed job, again and again, and how the answers change what is known of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OUTAGE_CODES
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .followed_job import FollowedJob
from .session_questions import ErrorHandler, Handler

EVENTS_HOLD_MS, PREVIEW_HOLD_MS = 500, 5000
LOOK_AT_JOB_S = 2.0
VIEWER_PAUSE_S = 0.25
"""Between a picture from the viewer's camera and asking for the next one from the same place."""

Ask = Callable[[str, messages.Request, Handler, ErrorHandler | None], None]
Viewer = Callable[[], messages.ViewerCamera | None]


class JobWatch:
    """Stays with one job.

    Args:
        job: what is known of it; the answers go in there.
        ask: puts a question on its way, one of a purpose at a time.
        drop: forgets the question of a purpose, so that it can be asked anew.
        viewer: returns from where somebody looks at the object, another one whenever that changes; None for nobody.
        on_info: called with each look at the job, after it was noted.
        on_preview: called with each picture that is new.
        on_change: called when a panel would draw something else.
    """

    def __init__(
        self,
        job: FollowedJob,
        ask: Ask,
        drop: Callable[[str], None],
        viewer: Viewer,
        on_info: Callable[[FollowedJob, messages.JobInfo], None],
        on_preview: Callable[[messages.Preview], None],
        on_change: Callable[[], None],
    ) -> None:
        self.job = job
        self._ask, self._on_info, self._on_preview, self._on_change = ask, on_info, on_preview, on_change
        self._drop, self._viewer = drop, viewer
        self._asked_from: messages.ViewerCamera | None = None
        self._may_view = True
        self._next_view = self._looked = 0.0

    def say(self, request: messages.Submit | messages.GetJob) -> None:
        """Hand the job in, or ask how it stands."""
        self._ask("job", request, self.take_info, None)

    def ask_on(self) -> None:
        """Keep one held request for events and one for previews; look at the job itself now and then."""
        job = self.job
        events = messages.GetEvents(after_sequence=job.sequence, job_id=job.job_id, wait_ms=EVENTS_HOLD_MS)
        self._ask("events", events, self._take_events, None)
        self.ask_for_preview(PREVIEW_HOLD_MS)
        if job.must_ask_for_cancel:
            self._ask("cancel", messages.CancelJob(job_id=job.job_id), self.take_info, None)
        if time.monotonic() - self._looked > LOOK_AT_JOB_S:
            self._looked = time.monotonic()
            self.say(messages.GetJob(job_id=job.job_id))

    def ask_for_preview(self, hold_ms: int) -> None:
        """Ask for a picture newer than the last; the server may hold the request until there is one.

        While somebody looks at the object, from there too. When the place changes, what was asked before is dropped:
        the server forgets it likewise.
        """
        viewer = self._viewer() if hold_ms and self._may_view else None
        if viewer is not self._asked_from:
            self._drop("preview")
            self._asked_from = viewer
        elif viewer is not None and time.monotonic() < self._next_view:
            return
        message = messages.GetPreview(
            job_id=self.job.job_id, after_generation=self.job.generation, wait_ms=hold_ms, viewer=viewer
        )
        self._ask("preview", message, self._take_picture, self._on_no_picture)

    def take_info(self, reply: messages.Reply) -> None:
        """Note how the job stands."""
        if isinstance(reply, messages.JobInfo) and reply.job_id == self.job.job_id:
            self.job.take_info(reply)
            self._on_change()
            self._on_info(self.job, reply)

    def _take_events(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.Events):
            if self.job.take_events(reply):
                self._looked = 0.0  # look at the job with the next round
            self._on_change()

    def _take_picture(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.Preview) and self.job.take_preview(reply):
            if reply.from_viewer:
                self._next_view = time.monotonic() + VIEWER_PAUSE_S
            self._on_preview(reply)
            self._on_change()

    def _on_no_picture(self, error: LimbeckError) -> None:
        """Bear with an outage, which the other questions meet too, and with a server that does not know viewers."""
        if error.code is ErrorCode.INVALID_FIELD and self._asked_from is not None:
            self._may_view = False
        elif error.code not in OUTAGE_CODES:
            raise error
