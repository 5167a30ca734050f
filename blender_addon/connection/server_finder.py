"""Find a `limbeck` command, or a Python that has Limbeck's server, at the places where people put such things.

Nothing is believed before it was run: every candidate is asked for its version, one after the other, beside Blender.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .server_process import limbeck_command
from .tool_run import ToolRun

ASK_TIMEOUT_S = 20.0
_NAMES = ("limbeck", "python", "python3")
_ENVIRONMENTS = (".", ".venv", "venv", "env", "server/.venv")
_TOOLS = ("limbeck-server", "limbeck")


def candidates(
    *,
    chosen: Sequence[str] = (),
    own_python: Sequence[str] = (sys.executable,),
    folder: str = "",
    home: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[tuple[str, ...]]:
    """Return the commands to try, the likeliest first, each once; files that do not exist are left out.

    Args:
        chosen: what the preferences name already.
        own_python: the Python that runs Blender, with the arguments that it wants.
        folder: a virtual environment, or a project with one, that the user named.
        home: the user's home.
        environment: environment variables; PATH, PIPX_HOME, VIRTUAL_ENV and CONDA_PREFIX count.
    """
    environment = os.environ if environment is None else environment
    home = home or Path.home()
    places: list[Path] = []
    if folder:
        places += [Path(folder).expanduser() / name for name in _ENVIRONMENTS]
    places += [Path(environment[name]) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if environment.get(name)]
    places += [venvs / tool for venvs in _tool_folders(home, environment) for tool in _TOOLS]
    found: list[tuple[str, ...]] = [tuple(chosen)] if chosen else []
    found += [(str(program),) for place in places for program in _programs(place)]
    beside = Path(own_python[0]).parent
    found += [(str(program),) for program in (beside / _executable("limbeck"), home / ".local" / "bin" / "limbeck")]
    path = environment.get("PATH")
    found += [(program,) for name in ("limbeck", "python3", "python") if (program := shutil.which(name, path=path))]
    found.append(tuple(own_python))
    return [command for command in dict.fromkeys(found) if Path(command[0]).is_file() or command == tuple(chosen)]


def _tool_folders(home: Path, environment: Mapping[str, str]) -> list[Path]:
    """Where pipx and uv keep the environments of the programs that they install."""
    folders = [Path(environment["PIPX_HOME"]) / "venvs"] if environment.get("PIPX_HOME") else []
    return [
        *folders,
        home / ".local" / "share" / "pipx" / "venvs",
        home / ".local" / "pipx" / "venvs",
        home / "pipx" / "venvs",
        home / ".local" / "share" / "uv" / "tools",
        home / "AppData" / "Roaming" / "uv" / "tools",
    ]


def _programs(place: Path) -> list[Path]:
    """What could be run in a virtual environment: the command first; of several Pythons the first is enough."""
    for folder in (place / "bin", place / "Scripts"):
        there = [folder / _executable(name) for name in _NAMES if (folder / _executable(name)).is_file()]
        if there:
            return there[:1]
    return []


def _executable(name: str) -> str:
    return f"{name}.exe" if sys.platform == "win32" else name


class ServerFinder:
    """Call `step()` until `done`.

    Args:
        commands: what to try, in this order.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self.done = False
        self.found: tuple[str, ...] | None = None
        """The command that answered, once `done`; None: none did."""
        self.version = ""
        self.tried: list[tuple[str, ...]] = []
        self._left = [tuple(command) for command in commands]
        self._run: ToolRun | None = None

    def step(self) -> None:
        """Start the next candidate or look at the one that runs."""
        if self.done:
            return
        if self._run is not None:
            result = self._run.step()
            if result is None:
                return
            self._run = None
            words = result.output.split()
            if result.exit_code == 0 and words[:1] == ["limbeck"]:
                self.found, self.version, self.done = self.tried[-1], " ".join(words[1:2]), True
                return
        if not self._left:
            self.done = True
            return
        self.tried.append(self._left.pop(0))
        try:
            self._run = ToolRun([*limbeck_command(self.tried[-1]), "--version"], ASK_TIMEOUT_S)
        except OSError:
            self._run = None  # it cannot be run, so it is not the one; the next comes with the next step

    def stop(self) -> None:
        """Give up."""
        if self._run is not None:
            self._run.stop()
            self._run = None
        self.done = True
