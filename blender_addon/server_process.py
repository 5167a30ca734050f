"""Start, watch and stop a server on this computer.

Rules of this file: the server is a program of its own, in a Python of its own; no shell, no thread, nothing imported
from it. It is started detached, so it outlives Blender: closing Blender loses no job. Finding it is the client's
business (it reads the file that the server writes); here only what the client cannot know is known: whether the program
that we started is still alive, and what it said when it died.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck_protocol.discovery import find_folders
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.private_files import make_private_folder

SERVE_ARGUMENTS = ("-m", "limbeck_server.cli", "serve")
LOG_NAME = "server.log"
PREFERENCES_FIELD = "preferences.python_command"
EXIT_ALREADY_SERVED = 4
"""How `limbeck serve` says that another server serves the same folder."""
_LOG_TAIL_BYTES = 4096


@dataclass(frozen=True)
class ServerProcess:
    """A server that this Blender started."""

    process: subprocess.Popen[bytes]
    log_path: Path
    """What it prints, errors included; servers started earlier have written there too."""
    log_begin: int
    """Where its own words begin, in bytes."""

    def failure(self) -> LimbeckError | None:
        """Return why it ended, or None while it runs (or gave way to a server that was there first)."""
        code = self.process.poll()
        if code in (None, 0, EXIT_ALREADY_SERVED):
            return None
        said = self._last_line()
        sentence = f"The server's program ended with code {code}{': ' + said.rstrip('.') if said else ''}."
        if "No module named" in said:
            return _wrong_python(sentence)
        remedy = Remedy(action=RemedyAction.SHOW_LOG, label=f"Its log says more: {self.log_path}.")
        return LimbeckError(ErrorCode.NO_SERVER, sentence, remedy)

    def _last_line(self) -> str:
        """Return the last line that the program printed: for a Python that failed, its error."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(max(self.log_begin, self.log_path.stat().st_size - _LOG_TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ask it to end, and insist after `timeout_s`."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout_s)


def start_server(command: Sequence[str]) -> ServerProcess:
    """Start a server detached from Blender and return at once; it is ready when the client finds it.

    Args:
        command: program and arguments of the Python that holds `limbeck_server`.

    Raises:
        LimbeckError: the program does not exist or may not be run, or its log cannot be written.
    """
    log_path = find_folders().data / LOG_NAME
    make_private_folder(log_path.parent)
    try:
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise LimbeckError(ErrorCode.CANNOT_WRITE, f"{log_path} cannot be written: {error.strerror}.") from error
    # What Blender set for its own Python must not reach another one.
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONHOME", "PYTHONPATH"}}
    log_begin = os.fstat(log).st_size
    try:
        process = subprocess.Popen(  # noqa: S603  (the user's own command, as a list, without a shell)
            [*command, *SERVE_ARGUMENTS],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=log_path.parent,
            start_new_session=sys.platform != "win32",
            creationflags=_windows_flags(),
        )
    except OSError as error:
        raise _wrong_python(f"The Python '{command[0]}' cannot be run: {error.strerror}.") from error
    finally:
        os.close(log)
    server = ServerProcess(process, log_path, log_begin)
    _started[:] = [other for other in _started if other.process.poll() is None] + [server]
    return server


def stop() -> None:
    """End every server that this process has started and that still runs; for scripts that leave nothing behind."""
    while _started:
        _started.pop().stop()


# Kept so that `stop` knows them, and so that a server which ends while Blender lives is reaped.
_started: list[ServerProcess] = []


def _windows_flags() -> int:
    if sys.platform != "win32":
        return 0
    return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW


def _wrong_python(sentence: str) -> LimbeckError:
    label = "Name the Python that holds limbeck-server in the add-on's preferences."
    remedy = Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=PREFERENCES_FIELD)
    return LimbeckError(ErrorCode.NO_SERVER, sentence, remedy)
