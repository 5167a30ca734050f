"""The panel's one state machine: what is known -> state, one sentence, one button that moves on. And errors -> buttons.

Plain functions on plain data, no Blender: `facts_of` gathers, `state_of` decides, `view_of` words. Whoever wonders what
the panel says in some situation reads the two tables below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.job_states import JobState

from .connection.session import Session
from .connection.session_state import BUSY_STATES, SessionState
from .preference_fields import ONLINE_ACCESS_FIELD, PREFERENCES_PREFIX, PROGRAM_FIELD
from .status_text import busy_sentence


class PanelState(StrEnum):
    """What the panel may show; exactly one at a time."""

    OFFLINE = "offline by preference"
    NO_SERVER = "no server"
    STARTING = "starting"
    STOPPING = "stopping"
    CONNECTING = "connecting"
    WRONG_PROGRAM = "wrong program"
    WRONG_VERSION = "wrong version"
    NOT_ALLOWED = "not allowed"
    IDLE = "idle"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True)
class Button:
    """An operator as a panel draws it."""

    operator: str
    label: str
    icon: str
    keywords: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What the state follows from."""

    session: SessionState = SessionState.DISCONNECTED
    is_busy: bool = False
    is_reconnecting: bool = False
    is_unfinished: bool = False
    """Whether a job was interrupted that the next connection takes up again."""
    error: LimbeckError | None = None
    busy_sentence: str = ""
    """What a job that is on its way is at."""
    job_id: str = ""
    job_state: JobState | None = None
    """Of the job last followed."""
    has_prompt: bool = False
    """Whether something is written that could be generated."""
    notice: str = ""
    """The last word about that job."""
    is_imported: bool = False
    """Whether its result stands in this file."""
    is_remote: bool = False
    """Whether the chosen server is another computer's."""
    host: str = ""
    is_allowed: bool = True
    """Whether Blender lets us talk to the chosen server."""
    is_offline_mode: bool = False
    """Whether Blender was started so that online access cannot be switched on."""


@dataclass(frozen=True)
class View:
    """What the panel draws of a state."""

    state: PanelState
    sentence: str
    button: Button
    hint: str = ""
    """What to do about an error, in words; empty where the button says it all."""


_START = Button("limbeck.start_server", "Start Server", "PLAY")
_CONNECT = Button("limbeck.refresh", "Connect", "LINKED")
_TRY_AGAIN = Button("limbeck.refresh", "Try Again", "FILE_REFRESH")
_GENERATE = Button("limbeck.generate", "Generate", "SHADERFX")
_CANCEL = Button("limbeck.cancel", "Cancel", "CANCEL")
_DISCONNECT = Button("limbeck.disconnect", "Stop Waiting", "CANCEL")
_FIND = Button("limbeck.find_server", "Find", "VIEWZOOM")
_COPY_KEY = Button("limbeck.copy_key", "Copy My Key", "COPYDOWN")
_DISMISS = Button("limbeck.dismiss_error", "Dismiss", "X")
_ONLINE = Button("limbeck.open_preferences", "Allow Online Access...", "INTERNET", {"page": "SYSTEM"})
_PREFERENCES = Button("limbeck.open_preferences", "Open Preferences...", "PREFERENCES", {"page": "ADDON"})

REMEDY_BUTTONS: dict[str, Button] = {
    RemedyAction.EDIT_FIELD: Button("limbeck.edit_field", "Correct...", "GREASEPENCIL"),
    RemedyAction.START_SERVER: _START,
    RemedyAction.CHOOSE_PRIOR: Button("limbeck.choose_prior", "Choose a Prior...", "PRESET"),
    RemedyAction.LOWER_RESOLUTION: Button("limbeck.lower_resolution", "Lower the Resolution", "MOD_DECIM"),
    RemedyAction.COPY_KEY: _COPY_KEY,
    RemedyAction.UPDATE: Button("limbeck.open_preferences", "Get Updates...", "IMPORT", {"page": "EXTENSIONS"}),
    RemedyAction.RETRY: Button("limbeck.retry", "Try Again", "FILE_REFRESH"),
    RemedyAction.FREE_DISK: Button("limbeck.open_data_folder", "Show the Folder", "FILE_FOLDER"),
    RemedyAction.SHOW_LOG: Button("limbeck.show_log", "Show Log...", "TEXT"),
}
"""Every action of the protocol's list; a newer server's unknown action falls back to a button that dismisses."""


def remedy_button(remedy: Remedy, *, is_remote: bool = False) -> Button:
    """Return the button that does what a remedy says.

    Args:
        remedy: of the error.
        is_remote: whether the server is another computer's: it cannot be started from here, nor its folder be opened.
    """
    named = remedy.field or ""
    if named == ONLINE_ACCESS_FIELD:
        return _ONLINE
    if named == PROGRAM_FIELD:
        return _FIND
    if named.startswith(PREFERENCES_PREFIX):
        return _PREFERENCES
    if is_remote and remedy.action in {RemedyAction.START_SERVER, RemedyAction.FREE_DISK, RemedyAction.SHOW_LOG}:
        return _TRY_AGAIN if remedy.action == RemedyAction.START_SERVER else _DISMISS
    button = REMEDY_BUTTONS.get(remedy.action, _DISMISS)
    if remedy.action == RemedyAction.EDIT_FIELD:
        return Button(button.operator, button.label, button.icon, {"field": named}) if named else _DISMISS
    return button


def facts_of(
    session: Session,
    *,
    has_prompt: bool = False,
    is_imported: bool = False,
    remote_endpoint: str | None = None,
    is_allowed: bool = True,
    is_offline_mode: bool = False,
) -> Facts:
    """Return what the state follows from: the session's part read from it, the rest as given."""
    job = session.followed
    return Facts(
        session=session.state,
        is_busy=session.is_busy,
        is_reconnecting=session.is_reconnecting,
        is_unfinished=session.is_unfinished,
        error=session.error,
        busy_sentence=busy_sentence(session),
        job_id=job.job_id if job else "",
        job_state=job.info.state if job and job.info else None,
        has_prompt=has_prompt,
        notice=job.notice if job else "",
        is_imported=is_imported,
        is_remote=remote_endpoint is not None,
        host=(remote_endpoint or "").removeprefix("tcp://"),
        is_allowed=is_allowed,
        is_offline_mode=is_offline_mode,
    )


def state_of(facts: Facts) -> PanelState:
    """Return the one state that the facts amount to; the first that fits counts."""
    if not facts.is_allowed:
        return PanelState.OFFLINE
    if facts.is_reconnecting:
        return PanelState.RECONNECTING
    if facts.error is not None:
        return _state_of_error(facts.error, facts.session)
    if facts.session in BUSY_STATES:
        return PanelState.RUNNING
    if facts.session is SessionState.READY:
        return PanelState.DONE if facts.job_state is JobState.SUCCEEDED else PanelState.IDLE
    return {
        SessionState.STARTING_SERVER: PanelState.STARTING,
        SessionState.STOPPING_SERVER: PanelState.STOPPING,
        SessionState.CONNECTING: PanelState.CONNECTING,
    }.get(facts.session, PanelState.NO_SERVER)


def _state_of_error(error: LimbeckError, session: SessionState) -> PanelState:
    if error.code is ErrorCode.PROTOCOL_UNSUPPORTED:
        return PanelState.WRONG_VERSION
    if error.code in {ErrorCode.ACCESS_DENIED, ErrorCode.UNAUTHENTICATED}:
        is_about_us = error.remedy.action == RemedyAction.COPY_KEY
        return PanelState.NOT_ALLOWED if is_about_us else PanelState.WRONG_PROGRAM
    is_away = error.code in {ErrorCode.NO_SERVER, ErrorCode.SERVER_LOST, ErrorCode.TIMEOUT}
    return PanelState.NO_SERVER if is_away and session is SessionState.DISCONNECTED else PanelState.FAILED


def view_of(facts: Facts) -> View:
    """Return what the panel says and offers."""
    state = state_of(facts)
    if facts.error is not None and state not in {PanelState.OFFLINE, PanelState.RECONNECTING}:
        return _error_view(state, facts, facts.error)
    sentence, button = _wording(state, facts)
    return View(state, sentence, button)


def _wording(state: PanelState, facts: Facts) -> tuple[str, Button]:
    host = facts.host or "the server"
    ready = "Ready to generate." if facts.has_prompt else "Ready: write a prompt and generate."
    waits = " The interrupted job will be taken up again." if facts.is_unfinished else ""
    if state is PanelState.OFFLINE:
        if facts.is_offline_mode:
            sentence = f"Blender was started with --offline-mode, and {host} is on another computer."
            return sentence, Button("limbeck.use_local_server", "Use This Computer", "DESKTOP")
        return f"Blender's online access is off, and {host} is on another computer.", _ONLINE
    if state is PanelState.NO_SERVER:
        if facts.is_remote:
            return f"Not connected to {host}.{waits}", _CONNECT
        return f"No server is connected.{waits}", _START
    if state is PanelState.RECONNECTING:
        button = _DISCONNECT if facts.is_remote else _START
        return "The server is away; the job is safe. Reconnecting...", button
    if state is PanelState.DONE:
        if facts.is_imported:
            return "Done.", _GENERATE
        button = Button("limbeck.import_result", "Import", "IMPORT", {"job_id": facts.job_id})
        return facts.notice or "Done: it can be imported.", button
    return {
        PanelState.STARTING: ("Starting the server...", _DISCONNECT),
        PanelState.STOPPING: ("Stopping the server...", _START),
        PanelState.CONNECTING: (f"Connecting to {host}...", _DISCONNECT),
        PanelState.RUNNING: (facts.busy_sentence or "Working...", _CANCEL),
        PanelState.IDLE: (facts.notice or ready, _GENERATE),
    }[state]


def _error_view(state: PanelState, facts: Facts, error: LimbeckError) -> View:
    button = remedy_button(error.remedy, is_remote=facts.is_remote)
    if state is PanelState.WRONG_PROGRAM:
        button = _PREFERENCES if facts.is_remote else _START
    hint = error.remedy.label
    if facts.is_unfinished:
        hint += " The job is not lost: it is taken up again as soon as there is a connection."
    return View(state, error.message, button, hint)
