"""A short program run beside Blender: started, looked at now and then, ended when it takes too long. Never waits."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .server_process import clean_environment

OUTPUT_LIMIT_BYTES = 256 * 1024


@dataclass(frozen=True)
class ToolResult:
    """What came of it."""

    exit_code: int
    output: str
    """What it printed on standard output: its first 256 KiB."""
    errors: str
    """What it printed on standard error: its first 256 KiB."""


class ToolRun:
    """Call `step()` until it returns a result.

    Args:
        command: program and arguments, run without a shell.
        timeout_s: when to end it.

    Raises:
        OSError: the program does not exist or may not be run.
    """

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        self.command = tuple(command)
        self._until = time.monotonic() + timeout_s
        # Files, not pipes: a pipe that nobody reads would stop the program.
        self._output, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(  # noqa: S603  (a list, without a shell)
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._errors,
                env=clean_environment(),
                creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
            )
        except OSError:
            self._close_files()
            raise

    def step(self) -> ToolResult | None:
        """Return the result once the program has ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            if time.monotonic() > self._until:
                self._process.kill()
            return None
        texts = []
        for file in (self._output, self._errors):
            file.seek(0)
            texts.append(file.read(OUTPUT_LIMIT_BYTES).decode(errors="replace"))
        self._close_files()
        return ToolResult(code, *texts)

    def stop(self) -> None:
        """End the program, if it runs still; its result is lost."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()  # a killed process is gone in milliseconds; nothing of it may stay behind
        self._close_files()

    def _close_files(self) -> None:
        self._output.close()
        self._errors.close()
