"""What the session is doing, in the panel's words. Plain functions on plain data, no Blender."""

from __future__ import annotations

from limbeck_protocol import messages
from limbeck_protocol.job_states import JobState

from .session import Session
from .session_state import SessionState

_SENTENCES = {
    SessionState.DISCONNECTED: "No server connected",
    SessionState.STARTING_SERVER: "Starting the server...",
    SessionState.CONNECTING: "Connecting to the server...",
    SessionState.READY: "Ready",
    SessionState.SUBMITTING: "Handing in the recipe...",
    SessionState.FOLLOWING: "Working...",
    SessionState.FETCHING: "Fetching the mesh...",
}
_JOB_SENTENCES = {
    JobState.QUEUED: "Waiting in the queue...",
    JobState.STARTING: "Starting the worker...",
    JobState.RUNNING: "Distilling...",
    JobState.EXPORTING: "Making the mesh...",
    JobState.CANCELLING: "Cancelling...",
}
_PHASES = {
    "views": "Preparing the prior",
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


def status_sentence(session: Session) -> str:
    """Return one sentence on how things stand."""
    job = session.followed
    if session.is_reconnecting:
        return "The server is away; the job is safe, reconnecting..."
    if session.state is SessionState.FOLLOWING and job is not None and job.info is not None:
        if job.is_cancel_wanted:
            return "Cancelling..."
        return job.phase or _JOB_SENTENCES.get(job.info.state, _SENTENCES[session.state])
    return _SENTENCES[session.state]


def progress_bar(session: Session) -> tuple[float, str] | None:
    """Return the share done (0..1) and the text on the bar, or None when nothing is on its way."""
    if session.state is SessionState.FETCHING:
        return session.fetched_share, _SENTENCES[SessionState.FETCHING]
    job = session.followed
    if not session.is_busy or job is None:
        return None
    if job.progress is None or session.is_reconnecting or job.is_cancel_wanted:
        return 0.0, status_sentence(session)
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
