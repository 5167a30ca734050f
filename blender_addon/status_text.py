"""What a job is at, in the panel's words. Plain functions on plain data, no Blender."""

from __future__ import annotations

from limbeck_protocol import messages
from limbeck_protocol.job_states import JobState

from .connection.session import Session
from .connection.session_state import SessionState

_JOB_SENTENCES = {
    JobState.QUEUED: "Waiting in the queue...",
    JobState.STARTING: "Starting the worker...",
    JobState.RUNNING: "Distilling...",
    JobState.EXPORTING: "Writing the result...",
    JobState.CANCELLING: "Cancelling...",
}
_PHASES = {
    "views": "Preparing the prior",
    "start": "Measuring what it starts from",
    "optimise": "Distilling",
    "mesh": "Making the mesh",
    "texture": "Baking the texture",
    "score": "Scoring",
}
JOB_ICONS = {
    JobState.QUEUED: "TIME",
    JobState.STARTING: "TIME",
    JobState.RUNNING: "PLAY",
    JobState.EXPORTING: "PLAY",
    JobState.CANCELLING: "CANCEL",
    JobState.SUCCEEDED: "CHECKMARK",
    JobState.FAILED: "ERROR",
    JobState.CANCELLED: "CANCEL",
}


def busy_sentence(session: Session) -> str:
    """Return what the job that is on its way is at, as one sentence; empty when none is."""
    job = session.followed
    if session.state is SessionState.FETCHING:
        return _fetching(session)
    if job is None or not session.is_busy:
        return ""
    if job.is_cancel_wanted:
        return _JOB_SENTENCES[JobState.CANCELLING]
    if session.state is not SessionState.FOLLOWING or job.info is None:
        return "Handing in the recipe..."
    return job.phase or _JOB_SENTENCES.get(job.info.state, "Working...")


def _fetching(session: Session) -> str:
    return f"Fetching the {session.followed.word if session.followed else 'result'}..."


def progress_bar(session: Session) -> tuple[float, str] | None:
    """Return the share done (0..1) and the text on the bar, or None when nothing is on its way."""
    if session.state is SessionState.FETCHING:
        return session.fetched_share, _fetching(session)
    job = session.followed
    if not session.is_busy or job is None:
        return None
    if job.progress is None or session.is_reconnecting or job.is_cancel_wanted:
        return 0.0, "Reconnecting..." if session.is_reconnecting else busy_sentence(session)
    return share_done(job.progress), progress_text(job.progress)


def share_done(progress: messages.Progress) -> float:
    """Return how much of the phase is done, 0..1."""
    return min(1.0, max(0.0, progress.step / progress.steps)) if progress.steps > 0 else 0.0


def progress_text(progress: messages.Progress) -> str:
    """Return phase, step and time left, such as `Distilling 120/300, 0:35 left`."""
    text = _PHASES.get(progress.phase, progress.phase.capitalize())
    if progress.steps > 0:
        text += f" {progress.step}/{progress.steps}"
    if progress.seconds_left is not None:
        text += f", {duration(progress.seconds_left)} left"
    return text


def duration(seconds: float) -> str:
    """Return `m:ss` or `h:mm:ss`."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
