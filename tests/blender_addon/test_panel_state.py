"""The panel's state machine, on plain data and without Blender: every state has one sentence and one button."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction, remedy_for
from limbeck_protocol.job_states import JobState

ADDON = Path(__file__).parents[2] / "blender_addon"
PACKAGE = "limbeck_without_blender"


@pytest.fixture(scope="module")
def panel_state() -> Iterator[ModuleType]:
    """The file, imported from the add-on's folder without the package's own `__init__`, which wants Blender."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(ADDON)]
    sys.modules[PACKAGE] = package
    has_blender = "bpy" in sys.modules
    yield importlib.import_module(f"{PACKAGE}.panel_state")
    assert has_blender or "bpy" not in sys.modules
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def session_state(panel_state: ModuleType) -> type:
    return panel_state.SessionState


def error(code: ErrorCode, action: RemedyAction | None = None, field: str | None = None) -> LimbeckError:
    remedy = remedy_for(code, field=field) if action is None else Remedy(action=action, label="Do it.", field=field)
    return LimbeckError(code, "What went wrong.", remedy)


# name -> (facts, state, words of the sentence, operator); session states by name
SITUATIONS: dict[str, tuple[dict, str, str, str]] = {
    "nothing yet": ({}, "NO_SERVER", "No server is connected.", "limbeck.start_server"),
    "nothing yet, remote": (
        {"is_remote": True, "host": "studio:7"},
        "NO_SERVER",
        "Not connected to studio:7.",
        "limbeck.refresh",
    ),
    "interrupted": ({"is_unfinished": True}, "NO_SERVER", "will be taken up again", "limbeck.start_server"),
    "starting": ({"session": "STARTING_SERVER"}, "STARTING", "Starting the server", "limbeck.disconnect"),
    "stopping": ({"session": "STOPPING_SERVER"}, "STOPPING", "Stopping the server", "limbeck.start_server"),
    "connecting": ({"session": "CONNECTING"}, "CONNECTING", "Connecting to the server", "limbeck.disconnect"),
    "connecting, a job waits": (
        {"session": "CONNECTING", "is_busy": True},
        "CONNECTING",
        "Connecting",
        "limbeck.disconnect",
    ),
    "idle": ({"session": "READY"}, "IDLE", "Ready: write a prompt", "limbeck.generate"),
    "idle, with a prompt": ({"session": "READY", "has_prompt": True}, "IDLE", "Ready to generate.", "limbeck.generate"),
    "cancelled": (
        {"session": "READY", "notice": "Cancelled.", "job_state": JobState.CANCELLED},
        "IDLE",
        "Cancelled.",
        "limbeck.generate",
    ),
    "submitting": ({"session": "SUBMITTING", "is_busy": True}, "RUNNING", "Working", "limbeck.cancel"),
    "running": (
        {"session": "FOLLOWING", "is_busy": True, "busy_sentence": "Distilling..."},
        "RUNNING",
        "Distilling...",
        "limbeck.cancel",
    ),
    "fetching": ({"session": "FETCHING", "is_busy": True}, "RUNNING", "Working", "limbeck.cancel"),
    "away": (
        {"session": "FOLLOWING", "is_busy": True, "is_reconnecting": True},
        "RECONNECTING",
        "the job is safe",
        "limbeck.start_server",
    ),
    "away, remote": (
        {"session": "FOLLOWING", "is_reconnecting": True, "is_remote": True},
        "RECONNECTING",
        "the job is safe",
        "limbeck.disconnect",
    ),
    "done": (
        {"session": "READY", "job_state": JobState.SUCCEEDED, "job_id": "job-0001"},
        "DONE",
        "Done",
        "limbeck.import_result",
    ),
    "done and imported": (
        {"session": "READY", "job_state": JobState.SUCCEEDED, "is_imported": True},
        "DONE",
        "Done.",
        "limbeck.generate",
    ),
    "offline": (
        {"is_allowed": False, "is_remote": True, "host": "studio:7"},
        "OFFLINE",
        "online access is off",
        "limbeck.open_preferences",
    ),
    "offline mode": (
        {"is_allowed": False, "is_remote": True, "is_offline_mode": True},
        "OFFLINE",
        "--offline-mode",
        "limbeck.use_local_server",
    ),
    "no server": ({"error": error(ErrorCode.NO_SERVER)}, "NO_SERVER", "What went wrong.", "limbeck.start_server"),
    "no such program": (
        {"error": error(ErrorCode.NO_SERVER, RemedyAction.EDIT_FIELD, "preferences.python_command")},
        "NO_SERVER",
        "What went wrong.",
        "limbeck.find_server",
    ),
    "remote does not answer": (
        {"error": error(ErrorCode.TIMEOUT), "is_remote": True},
        "NO_SERVER",
        "What went wrong.",
        "limbeck.retry",
    ),
    "wrong program": (
        {"error": error(ErrorCode.ACCESS_DENIED, RemedyAction.RETRY)},
        "WRONG_PROGRAM",
        "What went wrong.",
        "limbeck.start_server",
    ),
    "wrong program, remote": (
        {"error": error(ErrorCode.ACCESS_DENIED, RemedyAction.RETRY), "is_remote": True},
        "WRONG_PROGRAM",
        "What went wrong.",
        "limbeck.open_preferences",
    ),
    "key not allowed": (
        {"error": error(ErrorCode.ACCESS_DENIED), "is_remote": True},
        "NOT_ALLOWED",
        "What went wrong.",
        "limbeck.copy_key",
    ),
    "key revoked": (
        {"error": error(ErrorCode.UNAUTHENTICATED), "is_remote": True},
        "NOT_ALLOWED",
        "What went wrong.",
        "limbeck.copy_key",
    ),
    "wrong version": (
        {"error": error(ErrorCode.PROTOCOL_UNSUPPORTED)},
        "WRONG_VERSION",
        "What went wrong.",
        "limbeck.open_preferences",
    ),
    "out of memory": (
        {"session": "READY", "error": error(ErrorCode.OUT_OF_MEMORY)},
        "FAILED",
        "What went wrong.",
        "limbeck.lower_resolution",
    ),
    "no such prior": (
        {"session": "READY", "error": error(ErrorCode.MODEL_NOT_FOUND)},
        "FAILED",
        "What went wrong.",
        "limbeck.choose_prior",
    ),
    "unknown word": (
        {"session": "READY", "error": error(ErrorCode.UNKNOWN_WORD, field="prompt")},
        "FAILED",
        "What went wrong.",
        "limbeck.edit_field",
    ),
    "a remote disk is full": (
        {"session": "READY", "error": error(ErrorCode.DISK_FULL), "is_remote": True},
        "FAILED",
        "What went wrong.",
        "limbeck.dismiss_error",
    ),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_has_its_state_sentence_and_button(name: str, panel_state: ModuleType, session_state) -> None:
    known, state, words, operator = SITUATIONS[name]
    facts = panel_state.Facts(**{**known, "session": session_state[known.get("session", "DISCONNECTED")]})
    view = panel_state.view_of(facts)
    assert view.state is panel_state.PanelState[state]
    assert words in view.sentence
    assert view.button.operator == operator


def test_every_state_is_reached(panel_state: ModuleType) -> None:
    assert {state for _, state, _, _ in SITUATIONS.values()} == set(panel_state.PanelState.__members__)


@pytest.mark.parametrize("action", RemedyAction)
@pytest.mark.parametrize("is_remote", [False, True])
def test_every_remedy_is_a_button(action: RemedyAction, is_remote: bool, panel_state: ModuleType) -> None:
    assert action in panel_state.REMEDY_BUTTONS
    button = panel_state.remedy_button(Remedy(action=action, label="Do it."), is_remote=is_remote)
    assert button.operator.startswith("limbeck.")
    assert button.label
    assert len(button.label) <= 24, "it has to fit a sidebar of 240 pixels"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_a_sentence_a_hint_and_a_button(
    code: ErrorCode, panel_state: ModuleType, session_state
) -> None:
    for session in session_state:
        for is_unfinished in (False, True):
            facts = panel_state.Facts(session=session, error=error(code), is_unfinished=is_unfinished)
            view = panel_state.view_of(facts)
            assert view.sentence == "What went wrong."
            assert view.hint.startswith(remedy_for(code).label)
            assert ("not lost" in view.hint) == is_unfinished


def test_a_newer_server_s_unknown_remedy_can_be_dismissed(panel_state: ModuleType) -> None:
    button = panel_state.remedy_button(Remedy(action="stand_on_your_head", label="Stand on your head."))
    assert button.operator == "limbeck.dismiss_error"


def test_no_button_of_an_error_is_called_edit_which_is_what_a_result_s_button_does(panel_state: ModuleType) -> None:
    labels = [button.label for button in panel_state.REMEDY_BUTTONS.values()]
    assert panel_state.REMEDY_BUTTONS[RemedyAction.EDIT_FIELD].label == "Correct..."
    assert not [label for label in labels if label.startswith("Edit")]


def test_a_named_field_is_handed_to_the_button_and_a_nameless_one_is_dismissed(panel_state: ModuleType) -> None:
    named = panel_state.remedy_button(Remedy(action=RemedyAction.EDIT_FIELD, label="Do it.", field="settings.steps"))
    assert (named.operator, named.keywords) == ("limbeck.edit_field", {"field": "settings.steps"})
    nameless = panel_state.remedy_button(Remedy(action=RemedyAction.EDIT_FIELD, label="Do it."))
    assert nameless.operator == "limbeck.dismiss_error"
