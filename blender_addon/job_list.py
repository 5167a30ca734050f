"""The server's jobs as the list in the panel shows them: rows on the window manager, pictures, cancelling one of them.

Rules of this file: `after_pump` is called after each pump, never while drawing. Rows hold ids and prompts only; whoever
draws one looks the job up in the session. The window manager is looked up each time.
"""

from __future__ import annotations

import time

import bpy
from limbeck_protocol import messages
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import FINAL_STATES, JobState

from .connection.session import Session
from .previews.thumbnails import Thumbnails
from .recipe.loss_parameter_sync import LossParameterSync
from .status_text import duration

TAB = "Limbeck"
FETCH_INTERVAL_S = 0.05
LOOK_UP_S = 5.0
_LOOK_UP_STEP_S = 0.005
thumbnails = Thumbnails()
_parameters = LossParameterSync()


def after_pump(session: Session) -> float | None:
    """Bring rows and loss parameters in line with the session, ask for a picture that is lacking.

    Returns:
        The seconds until the next pump if something was asked for here, else None.
    """
    mirror_jobs(session)
    if _parameters.step(session.catalog):
        session.changes += 1
    is_asking = is_panel_open() and session.is_connected and thumbnails.step(session)
    return FETCH_INTERVAL_S if is_asking else None


def mirror_jobs(session: Session) -> None:
    """Let the list's rows be the session's jobs; the same job stays selected."""
    mirror = bpy.context.window_manager.limbeck
    wanted = [(job.job_id, job.recipe.prompt) for job in session.jobs]
    if [(row.job_id, row.name) for row in mirror.rows] == wanted:
        return
    is_at_top = mirror.selected <= 0
    selected = selected_id()
    mirror.rows.clear()
    for job_id, prompt in wanted:
        row = mirror.rows.add()
        row.job_id, row.name = job_id, prompt
    ids = [job_id for job_id, _ in wanted]
    # Who looks at the newest job goes on looking at the newest.
    mirror.selected = ids.index(selected) if selected in ids and not is_at_top else 0


def selected_id() -> str:
    """Return the id of the job whose details are shown; empty when there is none."""
    mirror = bpy.context.window_manager.limbeck
    return mirror.rows[mirror.selected].job_id if 0 <= mirror.selected < len(mirror.rows) else ""


def job_by_id(session: Session, job_id: str) -> messages.JobInfo | None:
    """Return a job with the newest word of the one that is followed; None when it is not listed, nor was looked up."""
    followed = session.followed
    if followed is not None and followed.job_id == job_id and followed.info is not None:
        return followed.info
    older = session.older_jobs.get(job_id)
    return next(
        (job for job in session.jobs if job.job_id == job_id), older if isinstance(older, messages.JobInfo) else None
    )


def look_up(session: Session, job_id: str, timeout_s: float = LOOK_UP_S) -> messages.JobInfo:
    """Return a job, listed or not: the server is asked once for each that is not, and the answer kept. May wait.

    Raises:
        LimbeckError: JOB_NOT_FOUND: the server has no such job, which is kept likewise; TIMEOUT: it does not answer.
    """
    if (known := job_by_id(session, job_id)) is not None:
        return known

    def take(reply: messages.Reply) -> None:
        if isinstance(reply, messages.JobInfo):
            session.older_jobs[job_id] = reply

    def note(error: LimbeckError) -> None:
        failed.append(error)
        if error.code is ErrorCode.JOB_NOT_FOUND:
            session.older_jobs[job_id] = error

    failed: list[LimbeckError] = []
    deadline = time.monotonic() + timeout_s
    if job_id not in session.older_jobs:
        session.ask(f"look up {job_id}", messages.GetJob(job_id=job_id), take, note)
    while job_id not in session.older_jobs and not failed:
        if time.monotonic() > deadline or not session.has_client:
            raise LimbeckError(ErrorCode.TIMEOUT, "The server does not say what it knows of this job.")
        session.pump()
        time.sleep(_LOOK_UP_STEP_S)
    found = session.older_jobs.get(job_id)
    if isinstance(found, messages.JobInfo):
        return found
    raise found or failed[0]


def progress_of(session: Session, job: messages.JobInfo) -> messages.Progress | None:
    """Return the latest progress of a job that has not ended."""
    if job.state in FINAL_STATES:
        return None
    followed = session.followed
    return followed.progress if followed is not None and followed.job_id == job.job_id else job.progress


def cancel_job(session: Session, job_id: str) -> None:
    """Ask for the end of any job of the server; what is followed goes on."""
    if session.is_busy and session.followed is not None and session.followed.job_id == job_id:
        session.cancel()
        return

    def take(reply: messages.Reply) -> None:
        if isinstance(reply, messages.JobInfo):
            session.jobs = [reply if job.job_id == reply.job_id else job for job in session.jobs]
            session.changes += 1

    def show(error: LimbeckError) -> None:
        session.error = error
        session.changes += 1

    session.ask(f"cancel {job_id}", messages.CancelJob(job_id=job_id), take, show)


def is_panel_open() -> bool:
    """Return whether the sidebar's tab is in sight in some window; in the background there is none."""
    if bpy.app.background:
        return False
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI" and region.width > 1 and region.active_panel_category == TAB:
                        return True
    return False


def time_sentence(job: messages.JobInfo, now: float | None = None) -> str:
    """Return when a job was made and how long it took, such as `21 Nov 14:05, took 1:04`."""
    made = time.strftime("%d %b %H:%M", time.localtime(job.created))
    if job.ended is not None:
        return f"{made}, took {duration(job.ended - job.created)}"
    if job.state is JobState.QUEUED:
        return f"{made}, waits"
    return f"{made}, for {duration((time.time() if now is None else now) - job.created)}"


def unregister() -> None:
    """Remove the pictures and forget the catalog."""
    global _parameters
    thumbnails.clear()
    _parameters = LossParameterSync()
