"""The timer that keeps the panel's list of jobs fresh while somebody looks at it, and finds the server the first time.

How often, and what it costs:

- until the tab was opened for the first time: once a second it looks whether it is in sight (no network, no file). When
  it is, a server on record is looked for, without starting one;
- connected and in sight: `ListJobs` each second while a job runs or waits, each five seconds otherwise;
- in sight and not connected: each five seconds the age of the server's record is asked of the disk. A server that was
  started since is connected to once; one that was left by the *Disconnect* button stays left;
- not in sight: each five seconds it finds that there is nothing to do.

It is persistent, so that it outlives the opening of another file: a job of that file which still runs is taken up.
Blender fires no timers in the background; there nothing is looked for until a script asks.
"""

from __future__ import annotations

import bpy
from limbeck_protocol import messages
from limbeck_protocol.discovery import server_record_path
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.job_states import FINAL_STATES, JobState

from . import job_list, runtime
from .connection.session import LISTED_JOBS, Session
from .connection.session_state import SessionState
from .preferences import current, network_allowed, remote_endpoint

FIRST_LOOK_S = 1.0
BUSY_S = 1.0
IDLE_S = 5.0
_has_looked = False
_seen_server = ""
"""Which server was looked for last, and which start of it."""
_taken_up: set[str] = set()
"""Jobs that were taken up by themselves: once each, so that what cannot be followed is not tried for ever."""


def tick() -> float:
    """Do what the moment asks for, without waiting; return the seconds until the next call."""
    global _has_looked, _seen_server
    if not network_allowed():
        if _has_looked and runtime.session().has_client:
            runtime.wake()  # it closes the connection, which would go on with heartbeats of its own
        return IDLE_S if _has_looked else FIRST_LOOK_S
    if not job_list.is_panel_open():
        return IDLE_S if _has_looked else FIRST_LOOK_S
    _has_looked = True
    session = runtime.session()
    if not session.has_client:
        return BUSY_S if look_for_server(session) else IDLE_S
    if session.is_connected:
        _seen_server = chosen_server()
        take_up(session)
    # A list that cannot be had ends nothing that is under way; without a job it tells that the server has gone.
    on_error = _ignore if session.is_busy else None
    session.ask("jobs", messages.ListJobs(limit=LISTED_JOBS), lambda reply: _take_jobs(session, reply), on_error)
    runtime.wake()
    return BUSY_S if is_something_running(session) else IDLE_S


def look_for_server(session: Session) -> bool:
    """Connect to the chosen server, once each time it was started; start none, complain of none.

    Returns:
        Whether one is being looked for. A job of this file that still runs there is taken up.
    """
    global _seen_server
    server = chosen_server()
    if session.state is not SessionState.DISCONNECTED or server in ("", _seen_server):
        return False
    _seen_server = server
    try:
        session.connect(start=False, resume=own_jobs(), quiet=True)
    except LimbeckError as error:  # what the preferences name cannot be read; a timer that raises is gone for good
        session.error = error
        session.changes += 1
        return False
    runtime.wake()
    return True


def chosen_server() -> str:
    """Return a text that is another for each server, and for each start of the one on this computer; empty for none."""
    if current().server_mode != "LOCAL":
        return remote_endpoint() or ""
    try:
        return str(server_record_path().stat().st_mtime_ns)
    except OSError:  # no server has left its record
        return ""


def take_up(session: Session) -> None:
    """Follow a job that this file asked for and that still runs, unless another is followed."""
    if session.is_busy or session.is_unfinished:
        return
    own = own_jobs()
    for job in session.jobs:
        is_open = job.state not in FINAL_STATES and job.state is not JobState.CANCELLING
        if is_open and job.job_id in own and job.job_id not in _taken_up:
            _taken_up.add(job.job_id)
            session.follow(job.job_id, fetch=own[job.job_id])
            return


def own_jobs() -> dict[str, bool]:
    """Return the jobs that this file's scenes have asked for, and whether their meshes are to be imported.

    Those that wait in a row of variants are left out: they have a queue of their own.
    """
    scenes = [scene for scene in bpy.data.scenes if scene.library is None]
    return {
        entry.job_id: scene.limbeck.import_when_done
        for scene in scenes
        for entry in scene.limbeck.jobs
        if not entry.is_wanted
    }


def is_something_running(session: Session) -> bool:
    """Return whether a listed job has not ended, or a followed one is not listed yet."""
    if session.is_busy and session.followed is not None:
        return True
    return any(job.state not in FINAL_STATES for job in session.jobs)


def register() -> None:
    """Start the timer, where there is a window to look at."""
    global _has_looked, _seen_server
    _has_looked, _seen_server = False, ""
    _taken_up.clear()
    if not bpy.app.background:
        bpy.app.timers.register(tick, first_interval=FIRST_LOOK_S, persistent=True)


def unregister() -> None:
    """Stop it, and remove what the list has left in memory."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    job_list.unregister()


def _ignore(_error: LimbeckError) -> None:
    """The question is asked again soon, and the job that is followed has questions of its own."""


def _take_jobs(session: Session, reply: messages.Reply) -> None:
    if not isinstance(reply, messages.JobList):
        return
    before, session.jobs = session.jobs, reply.jobs
    if [_standing(job) for job in before] != [_standing(job) for job in reply.jobs]:
        session.changes += 1


def _standing(job: messages.JobInfo) -> tuple[str, JobState, messages.Progress | None, int]:
    """Return what a panel would draw differently; a recipe's arrays cannot be compared at a stroke."""
    return job.job_id, job.state, job.progress, len(job.artifacts)
