"""What is found out about the server's program by running it: where it is, and what `limbeck doctor` says of it.

Plain Python: somebody calls `step()` now and then; the panel reads the attributes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .server_finder import ServerFinder
from .server_process import limbeck_command
from .tool_run import ToolResult, ToolRun

DOCTOR_TIMEOUT_S = 120.0
"""It imports torch, which takes long from a slow disk."""
INTERVAL_S = 0.1


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer."""

    name: str
    is_ok: bool
    is_needed: bool
    text: str
    remedy: str


class ServerTools:
    """At most one search and one examination at a time.

    Args:
        on_found: given the command that a search has found, as program and arguments.
    """

    def __init__(self, on_found: Callable[[tuple[str, ...]], None]) -> None:
        self.findings: tuple[Finding, ...] = ()
        """The doctor's answer; empty before it was asked."""
        self.notice = ""
        """What came of the last search or examination, as a sentence."""
        self.changes = 0
        self._on_found = on_found
        self._finder: ServerFinder | None = None
        self._doctor: ToolRun | None = None

    @property
    def is_searching(self) -> bool:
        """Whether the program is being looked for."""
        return self._finder is not None

    @property
    def is_examining(self) -> bool:
        """Whether the doctor is at work."""
        return self._doctor is not None

    def find(self, commands: Sequence[Sequence[str]]) -> None:
        """Begin to look for the server's program among `commands`."""
        if self._finder is None:
            self._finder = ServerFinder(commands)
            self._tell("Looking for Limbeck's server...")

    def examine(self, command: Sequence[str]) -> None:
        """Begin to run `limbeck doctor` with the program that starts the server."""
        if self._doctor is not None:
            return
        self.findings = ()
        try:
            self._doctor = ToolRun([*limbeck_command(command), "doctor", "--json"], DOCTOR_TIMEOUT_S)
        except OSError as error:
            self._tell(f"The program '{command[0]}' cannot be run: {error.strerror}. Find or name another.")
        else:
            self._tell("Examining the server's program...")

    def step(self) -> float | None:
        """Look at what runs; return when to look again, None when nothing does."""
        if self._finder is not None:
            self._finder.step()
            if self._finder.done:
                finder, self._finder = self._finder, None
                self._take_search(finder)
        if self._doctor is not None:
            result = self._doctor.step()
            if result is not None:
                self._doctor = None
                self._take_answer(result)
        return INTERVAL_S if self._finder is not None or self._doctor is not None else None

    def stop(self) -> None:
        """End what runs."""
        if self._finder is not None:
            self._finder.stop()
        if self._doctor is not None:
            self._doctor.stop()
        self._finder = self._doctor = None

    def _take_search(self, finder: ServerFinder) -> None:
        if finder.found is None:
            self._tell(
                f"No Limbeck server was found at {len(finder.tried)} places; install it, or name its folder in the "
                "preferences."
            )
            return
        self._on_found(finder.found)
        self._tell(f"Found Limbeck {finder.version}: {' '.join(finder.found)}")

    def _take_answer(self, result: ToolResult) -> None:
        findings = parse_findings(result.output)
        if findings is None:
            last = (result.errors.strip().splitlines() or ["it printed nothing"])[-1]
            self._tell(f"The doctor could not be asked: {last.rstrip('.')}.")
            return
        self.findings = findings
        missing = [finding.name for finding in findings if finding.is_needed and not finding.is_ok]
        self._tell(f"Missing: {', '.join(missing)}." if missing else "Everything that the server needs is there.")

    def _tell(self, sentence: str) -> None:
        self.notice = sentence
        self.changes += 1


def parse_findings(output: str) -> tuple[Finding, ...] | None:
    """Return what `limbeck doctor --json` printed; None if that is not what it is."""
    try:
        answer = json.loads(output)
        return tuple(_finding(entry) for entry in answer["findings"])
    except (ValueError, KeyError, TypeError):
        return None


def _finding(entry: dict[str, Any]) -> Finding:
    return Finding(
        name=str(entry["name"]),
        is_ok=bool(entry["ok"]),
        is_needed=bool(entry["needed"]),
        text=str(entry["found"]),
        remedy=str(entry["remedy"]),
    )
