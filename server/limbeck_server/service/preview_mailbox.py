"""Previews: the newest of each job, nothing else. Kept in memory, so that a slow client costs the optimiser nothing."""

from __future__ import annotations

from collections import OrderedDict

from limbeck_protocol.messages import Preview
from limbeck_protocol.recipe import Array

JOBS_KEPT = 8
"""Jobs whose last preview is remembered; 3 MiB each at the most."""


class PreviewMailbox:
    """One slot per job, overwritten by every new picture; its generation counts the pictures put in."""

    def __init__(self, jobs_kept: int = JOBS_KEPT) -> None:
        self._newest: OrderedDict[str, Preview] = OrderedDict()
        self._jobs_kept = jobs_kept

    def put(self, job_id: str, step: int, image: Array) -> int:
        """Replace the job's picture, (h, w, 3) uint8, and return its generation, 1 for the first."""
        before = self._newest.get(job_id)
        generation = 1 if before is None else before.generation + 1
        self._newest[job_id] = Preview(job_id=job_id, generation=generation, step=step, image=image)
        self._newest.move_to_end(job_id)
        while len(self._newest) > self._jobs_kept:
            self._newest.popitem(last=False)
        return generation

    def newer(self, job_id: str, after_generation: int) -> Preview | None:
        """Return the job's newest picture if its generation is above `after_generation`."""
        preview = self._newest.get(job_id)
        return preview if preview is not None and preview.generation > after_generation else None

    def nothing_newer(self, job_id: str) -> Preview:
        """Return the reply that says that there is no newer picture: no image, the generation as it is."""
        preview = self._newest.get(job_id)
        if preview is None:
            return Preview(job_id=job_id, generation=0, step=0)
        return Preview(job_id=job_id, generation=preview.generation, step=preview.step)
