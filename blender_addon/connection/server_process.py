"""Start, watch and stop a server on this computer.

Rules of this file: the server is a program of its own, in a Python of its own; no shell, no thread, nothing imported
from it. It is started detached, so it outlives Blender: closing Blender loses no job. Finding it is the client's
business (it reads the file that the server writes); here only what the client cannot know is known: whether the program
that we started is still alive, and what it said when it died.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck_protocol.discovery import find_folders, read_server_record
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.private_files import make_private_folder

from ..preference_fields import PROGRAM_FIELD

LOG_NAME = "server.log"
INSISTENCE_S = 5.0
"""How long a server may take to end before it is ended."""
EXIT_ALREADY_SERVED = 4
"""How `limbeck serve` says that another server serves the same folder."""
_LOG_TAIL_BYTES = 4096
_GONE = (OSError,) if sys.platform == "win32" else ()
"""What else `os.kill` raises for a process that is not there."""


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
        remedy = Remedy(action=RemedyAction.SHOW_LOG, label="Its log says more.")
        return LimbeckError(ErrorCode.NO_SERVER, sentence, remedy)

    def _last_line(self) -> str:
        """Return the last line that the program printed: for a Python that failed, its error."""
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as file:
            file.seek(max(self.log_begin, self.log_path.stat().st_size - _LOG_TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def stop(self, timeout_s: float = INSISTENCE_S) -> None:
        """Ask it to end, and insist after `timeout_s`; this waits, so it is for scripts."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout_s)


class Stopping:
    """A server being stopped without waiting for it: call `step()` until it says that it is done.

    Args:
        server: one that we started, or the process id of one that somebody else started on this computer.
    """

    def __init__(self, server: ServerProcess | int) -> None:
        self._server = server
        self._until = time.monotonic() + INSISTENCE_S
        self._signal(signal.SIGTERM)

    def step(self) -> bool:
        """Return whether the server has ended; insist once its time is over."""
        # Looked at first: when Blender was busy for long, the process id may be another program's by now.
        if self._has_ended():
            return True
        if time.monotonic() > self._until:
            self._until = time.monotonic() + INSISTENCE_S
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        return False

    def _has_ended(self) -> bool:
        if isinstance(self._server, ServerProcess):
            return self._server.process.poll() is not None
        # It takes its record away when it ends, before whoever started it has noticed.
        record = read_server_record()
        return record is None or record.pid != self._server or not _is_alive(self._server)

    def _signal(self, number: int) -> None:
        if isinstance(self._server, ServerProcess):
            self._server.process.send_signal(number)  # does nothing once it has ended
            return
        # One that ended by itself is what is wanted; Windows says so in words of its own.
        with contextlib.suppress(ProcessLookupError, *_GONE):
            os.kill(self._server, number)


def _is_alive(process_id: int) -> bool:
    if sys.platform == "win32":
        # There os.kill(pid, 0) would end the process; and SIGTERM has ended it at once.
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def limbeck_command(command: Sequence[str]) -> tuple[str, ...]:
    """Return the command `limbeck`: the one that `command` names, or its module in the Python that `command` names."""
    if Path(command[-1]).stem.lower() == "limbeck":
        return tuple(command)
    return (*command, "-m", "limbeck_server.cli")


def clean_environment() -> dict[str, str]:
    """Return our environment without what Blender set for its own Python, which must not reach another one."""
    return {key: value for key, value in os.environ.items() if key not in {"PYTHONHOME", "PYTHONPATH"}}


def start_server(command: Sequence[str]) -> ServerProcess:
    """Start a server detached from Blender and return at once; it is ready when the client finds it.

    Args:
        command: program and arguments of the Python that holds `limbeck_server`, or of the command `limbeck`.

    Raises:
        LimbeckError: the program does not exist or may not be run, or its log cannot be written.
    """
    log_path = find_folders().data / LOG_NAME
    make_private_folder(log_path.parent)
    try:
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise LimbeckError(ErrorCode.CANNOT_WRITE, f"{log_path} cannot be written: {error.strerror}.") from error
    log_begin = os.fstat(log).st_size
    try:
        process = subprocess.Popen(  # noqa: S603  (the user's own command, as a list, without a shell)
            [*limbeck_command(command), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=clean_environment(),
            cwd=log_path.parent,
            start_new_session=sys.platform != "win32",
            creationflags=_windows_flags(),
        )
    except OSError as error:
        raise _wrong_python(f"The program '{command[0]}' cannot be run: {error.strerror}.") from error
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
    label = "Let it be found, or name the Python that holds limbeck-server in the add-on's preferences."
    remedy = Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=PROGRAM_FIELD)
    return LimbeckError(ErrorCode.NO_SERVER, sentence, remedy)
