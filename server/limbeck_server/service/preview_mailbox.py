"""Previews: the newest of each job and kind, nothing else; in memory. So a slow client costs the optimiser nothing.

There are two kinds: the job's own, for everybody, and those from a viewer's camera, for viewers.
"""

from __future__ import annotations

from collections import OrderedDict

from limbeck_protocol.messages import Preview, PreviewReady

JOBS_KEPT = 8
"""Jobs whose last preview is remembered; 3 MiB each at the most."""


class PreviewMailbox:
    """Two slots per job, each overwritten by every new picture; generations count the pictures of both together."""

    def __init__(self, jobs_kept: int = JOBS_KEPT) -> None:
        self._newest: OrderedDict[str, dict[bool, Preview]] = OrderedDict()
        self._jobs_kept = jobs_kept

    def put(self, job_id: str, picture: PreviewReady) -> int:
        """Replace the job's picture of the same kind, and return the new one's generation, 1 for the first."""
        slots = self._newest.setdefault(job_id, {})
        generation = 1 + max((preview.generation for preview in slots.values()), default=0)
        slots[picture.from_viewer] = Preview(
            job_id=job_id,
            generation=generation,
            step=picture.step,
            image=picture.image,
            from_viewer=picture.from_viewer,
            view=picture.view,
        )
        self._newest.move_to_end(job_id)
        while len(self._newest) > self._jobs_kept:
            self._newest.popitem(last=False)
        return generation

    def newer(self, job_id: str, after_generation: int, *, for_viewer: bool = False) -> Preview | None:
        """Return the earliest kept picture whose generation is above `after_generation`; of both kinds for a viewer."""
        found = [one for one in self._offered(job_id, for_viewer) if one.generation > after_generation]
        return min(found, key=lambda preview: preview.generation, default=None)

    def nothing_newer(self, job_id: str, *, for_viewer: bool = False) -> Preview:
        """Return the reply that says that there is no newer picture: no image, generation and step of the newest."""
        newest = max(self._offered(job_id, for_viewer), key=lambda preview: preview.generation, default=None)
        if newest is None:
            return Preview(job_id=job_id, generation=0, step=0)
        return Preview(job_id=job_id, generation=newest.generation, step=newest.step)

    def _offered(self, job_id: str, for_viewer: bool) -> list[Preview]:
        return [preview for preview in self._newest.get(job_id, {}).values() if for_viewer or not preview.from_viewer]
