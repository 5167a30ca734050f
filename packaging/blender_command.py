"""Which Blender the build and the tests use, and how it is run in a home of its own.

`BLENDER=/path/to/blender` names one; otherwise `packaging/real-blender` does, which installs Debian's Blender into the
user's cache folder at first use (as root, on Debian). `python packaging/blender_command.py` says which one it is.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REAL_BLENDER = Path(__file__).resolve().parent / "real-blender"
NEEDED_PROGRAMS = ("apt-get", "dpkg", "unshare", "chroot", "flock")
INSTALL_TIMEOUT_S = 1800.0


class NoBlenderError(RuntimeError):
    """There is no Blender to be had here; the sentence says how to name one."""


def blender_command() -> list[str]:
    """Return the program, and its first arguments, that run Blender without a window.

    Raises:
        NoBlenderError: BLENDER names no program, or none is named and `real-blender` cannot work here.
    """
    named = os.environ.get("BLENDER", "").strip()
    if named:
        command = [named] if Path(named).is_file() else shlex.split(named)
        if shutil.which(command[0]) is None:
            raise NoBlenderError(f"BLENDER={named} names no program that can be run. Give the path of Blender's.")
        # The script itself may be named too.
        return [*command, "run", "--"] if Path(command[0]).name == REAL_BLENDER.name else command
    missing = [program for program in NEEDED_PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        reason = f"there is no {missing[0]} here" if missing else "you are not root"
        raise NoBlenderError(
            f"packaging/real-blender installs Blender as root on Debian only, and {reason}. "
            "Name a Blender 4.5 or later that is installed: BLENDER=/path/to/blender make test-blender"
        )
    return [str(REAL_BLENDER), "run", "--"]


def install_blender() -> str:
    """Return the first line of `blender --version`, after installing Blender where that is ours to do.

    Raises:
        NoBlenderError: it cannot be installed or does not start.
    """
    command = blender_command()
    if Path(command[0]).name == REAL_BLENDER.name:
        done = subprocess.run([command[0], "install"], timeout=INSTALL_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise NoBlenderError(
                "Blender could not be installed; the lines above say why. Is the Debian mirror within reach? "
                "Another Blender is named by BLENDER=/path/to/blender."
            )
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=120, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("Blender ")]
    if done.returncode != 0 or not lines:
        raise NoBlenderError(f"{shlex.join(command)} does not start:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    return lines[0]


def run_blender(
    arguments: Sequence[str | Path],
    home: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 300.0,
) -> subprocess.CompletedProcess[str]:
    """Return what Blender printed and its exit code; its preferences and extensions live in `home` alone.

    Args:
        arguments: Blender's own, such as `--background`.
        home: an existing folder; the same one again finds what was installed.
        environment: variables beside the caller's own.
        timeout_s: when it is over, Blender is ended.

    Raises:
        NoBlenderError: there is none.
        subprocess.TimeoutExpired: it did not end in time.
    """
    command = [*blender_command(), *map(str, arguments)]
    return subprocess.run(
        command,
        env={**os.environ, **blender_home(home), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def blender_home(home: Path) -> dict[str, str]:
    """Return the variables that keep Blender's files in `home`; both kinds of Blender understand one of them."""
    return {"RB_HOME": str(home), "BLENDER_USER_RESOURCES": str(home / "blender")}


def main() -> int:
    """Install Blender if need be, say its version, and return the exit code."""
    try:
        print(f"{install_blender()}: {shlex.join(blender_command())}")
    except NoBlenderError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
