"""What the session may be doing. `panel_state.py` has a sentence and a button for each."""

from __future__ import annotations

from enum import StrEnum


class SessionState(StrEnum):
    """One state at a time; what became of a job stands beside it, in `session.followed` and `session.error`."""

    DISCONNECTED = "disconnected"
    STARTING_SERVER = "starting server"
    STOPPING_SERVER = "stopping server"
    CONNECTING = "connecting"
    READY = "ready"
    SUBMITTING = "submitting"
    FOLLOWING = "following"
    FETCHING = "fetching"


BUSY_STATES = frozenset({SessionState.SUBMITTING, SessionState.FOLLOWING, SessionState.FETCHING})
