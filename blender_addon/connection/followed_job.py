"""What is known of the job that the session follows. Data only: answers go in, the panel and the session read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from limbeck_protocol import messages
from limbeck_protocol.job_states import FINAL_STATES, JobState

from ..results.picture import result_word


@dataclass
class FollowedJob:
    """One job, from the moment somebody asked for it."""

    job_id: str
    wants_result: bool
    """Whether its mesh or picture is to be fetched once it has succeeded."""
    info: messages.JobInfo | None = None
    """None until the server has acknowledged it."""
    progress: messages.Progress | None = None
    phase: str = ""
    """Title of what the worker is at, as the server words it."""
    notice: str = ""
    is_cancel_wanted: bool = False
    picture: np.ndarray | None = None
    """The last preview of the job's own, (h, w, 3) uint8, first row on top."""
    sequence: int = 0
    """The last event seen."""
    generation: int = 0
    """The last preview seen."""
    view: tuple[np.ndarray, np.ndarray] | None = None
    """The camera that is being optimised: to the object's frame (4, 4), and its lens (3,); float32."""

    @property
    def has_ended(self) -> bool:
        """Whether the server has said so."""
        return self.info is not None and self.info.state in FINAL_STATES

    @property
    def makes_picture(self) -> bool:
        """Whether it makes a picture; not known, so False, until the server has acknowledged it."""
        return self.info is not None and bool(self.info.recipe.image)

    @property
    def word(self) -> str:
        """What a person calls its result: `picture` or `mesh`."""
        return "mesh" if self.info is None else result_word(self.info.recipe)

    @property
    def must_ask_for_cancel(self) -> bool:
        """Whether a cancel is wanted that the server has not acted upon."""
        return (
            self.is_cancel_wanted
            and self.info is not None
            and self.info.state not in FINAL_STATES | {JobState.CANCELLING}
        )

    def take_info(self, info: messages.JobInfo) -> None:
        """Note how the job stands; at its end, also what became of it."""
        self.info = info
        self.progress = info.progress or self.progress
        if info.state is JobState.SUCCEEDED and not self.wants_result:
            self.notice = f"Done: the {self.word} waits to be imported."
        elif info.state is JobState.CANCELLED:
            self.notice = "Cancelled."

    def take_events(self, events: messages.Events) -> bool:
        """Note what has happened; return whether the job changed its state, so that it should be looked at."""
        has_moved = False
        for event in events.events:
            if event.sequence <= self.sequence:
                continue
            self.sequence = event.sequence
            if event.kind == "phase":
                self.phase = str(event.data.get("title", ""))
            elif event.kind == "notice":
                self.notice = str(event.data.get("text", ""))
            has_moved = has_moved or event.kind == "state"
        self.progress = events.progress.get(self.job_id, self.progress)
        view = events.views.get(self.job_id)
        is_view = view is not None and view.camera_to_world.shape == (4, 4) and view.lens.shape == (3,)
        self.view = (view.camera_to_world, view.lens) if is_view else None
        return has_moved

    def take_preview(self, preview: messages.Preview) -> bool:
        """Note a picture; return whether it is a new one of this job."""
        is_new = preview.image is not None and preview.generation > self.generation and preview.job_id == self.job_id
        if is_new:
            self.generation = preview.generation
            self.picture = self.picture if preview.from_viewer else preview.image
        return is_new
