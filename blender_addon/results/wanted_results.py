"""Jobs whose results are to be imported one after another as they are done: variants in a row.

Rules of this file: the session follows one job at a time, so this queue hands in all jobs at once and then has the
session follow each in turn. What is wanted stands in the file (`scene.limbeck.jobs`), so that it outlives Blender; what
was settled stands in memory too, so that undoing an import does not bring it back. `step` is called after each pump.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OUTAGE_CODES
from limbeck_protocol.client import new_job_id
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.recipe import Recipe

from ..connection.session import Session
from .submitted_jobs import entries, mend

INTERVAL_S = 0.1


class WantedResults:
    """The queue; what it knows beyond the file is lost with Blender and not needed then."""

    def __init__(self) -> None:
        self._unsent: dict[str, messages.Submit] = {}
        """Not acknowledged by the server yet."""
        self._unwanted: set[str] = set()
        """To be cancelled on the server; not acknowledged yet."""
        self._settled: set[str] = set()

    def submit(self, session: Session, recipes: Sequence[Recipe]) -> list[str]:
        """Hand in all recipes, the first at once, starting a server where none runs; return the ids of their jobs.

        Raises:
            LimbeckError: a job is on its way already; nothing is handed in.
        """
        first = session.submit(recipes[0], fetch=True)
        rest = {job_id: recipe for job_id, recipe in ((new_job_id(), recipe) for recipe in recipes[1:])}
        for job_id, recipe in rest.items():
            self._unsent[job_id] = messages.Submit(job_id=job_id, recipe=recipe)
        return [first, *rest]

    def settle(self, job_id: str, trouble: str = "") -> None:
        """Want a job no more: it was imported, or `trouble` says why it will not be."""
        self._settled.add(job_id)
        self._unsent.pop(job_id, None)
        for entry in entries():
            if entry.job_id == job_id:
                entry.is_wanted, entry.trouble = False, trouble

    def cancel_rest(self) -> None:
        """Want nothing any more: what was not handed in is forgotten, all of it is cancelled on the server."""
        for job_id in wanted_ids():
            if job_id not in self._settled:
                self._unwanted.add(job_id)  # also one that is not acknowledged: it may be on its way there
                self.settle(job_id, "Cancelled.")

    def step(self, session: Session) -> float | None:
        """Do what the moment asks for, without waiting; return the seconds until the next call, None for no need."""
        mend()
        wanted = [job_id for job_id in wanted_ids() if self._is_open(job_id)]
        if not (wanted or self._unsent or self._unwanted) or not session.is_connected:
            return None
        for job_id, message in self._unsent.items():
            session.ask(f"submit {job_id}", message, self._on_submitted, self._on_refused(job_id))
        for job_id in self._unwanted:
            request = messages.CancelJob(job_id=job_id)
            session.ask(f"cancel {job_id}", request, self._on_cancelled, self._on_uncancelled(job_id))
        if not session.is_busy and not session.is_unfinished:
            self._follow_next(session, wanted)
        return INTERVAL_S

    def _is_open(self, job_id: str) -> bool:
        if job_id in self._settled:
            self.settle(job_id)  # an undo has brought the wish back, not the person
        return job_id not in self._settled

    def _follow_next(self, session: Session, wanted: Sequence[str]) -> None:
        last = session.followed
        if last is not None and last.wants_result and last.job_id in wanted:
            # It was followed to its end and did not arrive: failed, cancelled, or its result was not usable.
            self.settle(last.job_id, session.error.message if session.error else last.notice or "It was not imported.")
        ready = [job_id for job_id in wanted if job_id not in self._settled and job_id not in self._unsent]
        if ready:
            session.follow(ready[0], fetch=True)

    def _on_submitted(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.JobInfo):
            self._unsent.pop(reply.job_id, None)

    def _on_refused(self, job_id: str) -> Callable[[LimbeckError], None]:
        def take(error: LimbeckError) -> None:
            if error.code not in OUTAGE_CODES:  # else it is asked again, under the same id, which does no harm
                self.settle(job_id, error.message)

        return take

    def _on_cancelled(self, reply: messages.Reply) -> None:
        if isinstance(reply, messages.JobInfo):
            self._unwanted.discard(reply.job_id)

    def _on_uncancelled(self, job_id: str) -> Callable[[LimbeckError], None]:
        def take(error: LimbeckError) -> None:
            if error.code not in OUTAGE_CODES:
                self._unwanted.discard(job_id)  # the server does not know it: there is nothing to cancel

        return take


def wanted_ids() -> list[str]:
    """Return the jobs of this file whose results are still wanted, oldest first."""
    return [entry.job_id for entry in entries() if entry.is_wanted]


def troubles() -> list[tuple[str, str]]:
    """Return (prompt, why) of the jobs of this file that were wanted and did not arrive."""
    return [(entry.prompt, entry.trouble) for entry in entries() if entry.trouble]
