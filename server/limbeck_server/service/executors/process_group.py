"""Ending a process together with everything it started, and saying how it ended.

On POSIX, a worker leads a process group. It is looked at without being reaped, so that its group id cannot pass to a
stranger before the group has been ended. On Windows, psutil walks the children.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


def has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the process has ended, without reaping it where the platform knows reaping."""
    if process.returncode is not None:
        return True
    if sys.platform == "win32":
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def signal_group(process: subprocess.Popen[bytes], *, kill: bool) -> None:
    """Terminate or kill the process and its group; a group that is gone is fine. Call before `exit_status`."""
    if process.returncode is not None:
        return
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM for a group of zombies
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        return
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        leader = psutil.Process(process.pid)
        for member in [*leader.children(recursive=True), leader]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


def exit_status(process: subprocess.Popen[bytes]) -> str:
    """Reap an ended process and return how it ended: `exit code 1`, `signal SIGKILL`."""
    code = process.wait()
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
