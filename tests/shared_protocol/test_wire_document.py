"""WIRE.md says what the code does: every message, field, code and limit stands in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from limbeck_protocol import messages
from limbeck_protocol.errors import ErrorCode, LimbeckError, RemedyAction, remedy_for
from limbeck_protocol.job_states import JobState
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.replies import error_from_reply, error_reply

TEXT = (Path(__file__).parents[2] / "shared_protocol" / "WIRE.md").read_text(encoding="utf-8")
ROWS = {found[1]: found[0] for found in re.finditer(r"^\| `([^`]+)` \|.*$", TEXT, re.MULTILINE)}
KINDS = [
    *get_args(messages.AnyRequest),
    *get_args(messages.AnyReply),
    *get_args(messages.AnyWorkerEvent),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_has_its_row_with_all_fields(kind: type) -> None:
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    rows = [row for row in re.findall(rf"^\| `{re.escape(tag)}` \|.*$", TEXT, re.MULTILINE)]
    fields = set(kind.__struct_fields__)  # type: ignore[attr-defined]
    assert any(fields <= set(re.findall(r"`(\w+)`", row)) for row in rows), (tag, rows)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_has_its_row_a_sentence_and_a_remedy(code: ErrorCode) -> None:
    meaning, remedy = [cell.strip() for cell in ROWS[code].split("|")[2:4]]
    assert meaning
    assert remedy
    assert remedy_for(code).label.endswith((".", "`."))
    error = LimbeckError(code, "It went wrong.")
    again = error_from_reply(error_reply(error))
    assert (again.code, again.message, again.remedy) == (code, error.message, error.remedy)


def test_every_limit_has_its_row_with_its_value() -> None:
    for name, value in LIMITS.as_dict().items():
        assert ROWS[name].split("|")[2].strip() == str(value), name


def test_every_state_action_and_version_is_named() -> None:
    for word in (*JobState, *RemedyAction):
        assert f"`{word}`" in TEXT
    assert f"# The wire, version {messages.PROTOCOL_MAJOR}.{messages.PROTOCOL_MINOR}" in TEXT
