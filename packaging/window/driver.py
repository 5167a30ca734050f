"""A genuine Blender with its window, driven from outside: mouse, keyboard, screenshots, and code that runs inside it.

Blender comes from `packaging/real-blender` (Xvfb and Mesa's software OpenGL: no screen and no graphics card needed), or
is the program that `BLENDER=` names, on the display that is there. What a person does is done with the X server's own
mouse and keyboard events (xdotool); what only a program can see is asked inside (`run`). Nothing outside a scratch
folder is written: it holds Blender's home, the installed extension and all that Blender prints.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from PIL import Image, ImageGrab

ROOT = Path(__file__).parents[2]
INSIDE = Path(__file__).with_name("inside.py")
REAL_BLENDER = ROOT / "packaging" / "real-blender"
START_TIMEOUT_S = 180.0
ANSWER_TIMEOUT_S = 60.0
HOVER_S = 0.35
"""Between moving the mouse and pressing: Blender must have seen the move, or it presses what was under it before."""


@dataclass(frozen=True)
class Program:
    """How Blender and the X tools are called."""

    path: str
    """`packaging/real-blender`, or a Blender."""
    is_script: bool
    """Whether it is the script, which brings its own X server."""
    size: tuple[int, int] = (1600, 1000)

    def blender(self, *arguments: str) -> list[str]:
        """Return the command line of a Blender without a window."""
        return [self.path, "run", "--", *arguments] if self.is_script else [self.path, *arguments]

    def window(self, *arguments: str) -> list[str]:
        """Return the command line of a Blender whose window fills the screen."""
        if self.is_script:
            return [self.path, "ui", "--", *arguments]
        width, height = self.size
        return [self.path, "--window-geometry", "0", "0", str(width), str(height), *arguments]

    def xdotool(self, *arguments: str) -> list[str]:
        """Return the command line that sends mouse and keyboard events."""
        return [*([self.path, "exec", "--"] if self.is_script else []), "xdotool", *arguments]


def find_program(environment: Mapping[str, str] = os.environ) -> Program:
    """Return the Blender that `BLENDER=` names, else the script's.

    Raises:
        FileNotFoundError: that program, or the display or xdotool that a Blender of one's own needs, is not there.
    """
    named = environment.get("BLENDER", "").strip()
    path = named if Path(named).is_file() else next(iter(shlex.split(named)), str(REAL_BLENDER))
    found = shutil.which(path)
    if found is None:
        raise FileNotFoundError(f"Expected a Blender or packaging/real-blender at {path}; name one with BLENDER=.")
    if Path(found).name == "real-blender":
        return Program(found, is_script=True)
    if not environment.get("DISPLAY") or not shutil.which("xdotool"):
        raise FileNotFoundError("A Blender of your own needs a display ($DISPLAY) and the program xdotool.")
    return Program(found, is_script=False)


class BlenderFailed(RuntimeError):
    """Code inside Blender raised, or Blender went away."""


@dataclass
class BlenderWindow:
    """One Blender at a time in one scratch home; a context manager whose end kills what still runs.

    Attributes:
        scratch: folder for everything: Blender's home, the conversation, its output.
        environment: more variables for Blender, such as LIMBECK_HOME.
    """

    scratch: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Program = field(default_factory=find_program)

    def __post_init__(self) -> None:
        self.scratch = self.scratch.resolve()
        self.home, self._talk = self.scratch / "home", self.scratch / "talk"
        for folder in (self.home, self._talk):
            folder.mkdir(parents=True, exist_ok=True)
        self.log_path = self.scratch / "blender.log"
        """All that Blender printed, of every start."""
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._asked = 0
        self.display = ""

    def __enter__(self) -> BlenderWindow:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    # --- start and end ---

    def install(self, extension: Path) -> None:
        """Install and switch on an extension's zip in the scratch home.

        Raises:
            BlenderFailed: Blender refused it.
        """
        arguments = ("--command", "extension", "install-file", "-r", "user_default", "-e", str(extension.resolve()))
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                self.program.blender(*arguments),
                cwd=ROOT,
                env=self._environment(extension.resolve().parent),
                stdout=log,
                stderr=log,
                timeout=START_TIMEOUT_S,
            )
        if done.returncode:
            raise BlenderFailed(
                f"{extension.name} was not installed (code {done.returncode}).\n{self.printed()[-3000:]}"
            )

    def start(self, *arguments: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start Blender with its window and return when it answers.

        Raises:
            BlenderFailed: it ended, or did not answer in time.
        """
        (self._talk / "ready").unlink(missing_ok=True)
        self._begin_of_output = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._log = self.log_path.open("ab")
        command = self.program.window(*arguments, "--python", str(INSIDE), "--", str(self._talk))
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment(INSIDE.parent),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout_s
        while not (self._talk / "ready").exists():
            self._check_alive("starting")
            if time.monotonic() > deadline:
                raise BlenderFailed(f"Blender did not start within {timeout_s:g} s.\n{self.printed()[-3000:]}")
            time.sleep(0.1)
        said = re.findall(r"display (:\d+)", self.printed()[-4000:])
        self.display = said[-1] if self.program.is_script and said else os.environ.get("DISPLAY", "")
        # A turn or two of its loop: areas have their sizes only after the first drawing.
        self.run("def steps():\n    yield 0.5\n    yield 0.5", timeout_s=timeout_s)

    def quit(self, timeout_s: float = 60.0) -> int:
        """Quit as File > Quit does, without the question about unsaved changes; return Blender's exit code."""
        process = self._alive()
        self._write("def steps():\n    bpy.ops.wm.quit_blender()\n    yield 60.0")
        try:
            return process.wait(timeout_s)
        finally:
            self.end()

    def end(self) -> None:
        """End Blender and its X server if they still run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()  # the script passes it on, and takes its X server along
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None

    def printed(self) -> str:
        """Return all that Blender printed, of every start."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- code inside ---

    def run(self, code: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """Run code inside Blender and return what it left in `result` (or what its generator `steps()` returned).

        Raises:
            BlenderFailed: the code raised, gave no answer in time, or Blender ended.
        """
        path = self._write(code)
        answer = path.with_suffix(".json")
        deadline = time.monotonic() + timeout_s
        while not answer.exists():
            self._check_alive("running code")
            if time.monotonic() > deadline:
                raise BlenderFailed(f"No answer from Blender within {timeout_s:g} s to:\n{code}")
            time.sleep(0.02)
        said = json.loads(answer.read_text())
        answer.unlink()
        if said["printed"]:
            sys.stdout.write(said["printed"])
        if said["failed"]:
            raise BlenderFailed(f"{said['failed']}\nin\n{code}")
        return said["result"]

    def ask(self, expression: str) -> Any:
        """Return the value of an expression inside Blender; it must fit into JSON."""
        return self.run(f"result = ({expression})")

    def wait_for(self, expression: str, timeout_s: float = 30.0, interval_s: float = 0.3) -> Any:
        """Return the expression's first true value.

        Raises:
            TimeoutError: it stayed false.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := self.ask(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"Not within {timeout_s:g} s: {expression}")
            time.sleep(interval_s)
        return value

    def _write(self, code: str) -> Path:
        self._alive()
        self._asked += 1
        path = self._talk / f"{self._asked:06}.py"
        half = path.with_suffix(".half")
        half.write_text(code)
        half.rename(path)
        return path

    # --- eyes and hands ---

    def screenshot(self, path: Path | None = None) -> Image.Image:
        """Return the whole screen as it is now; write it to `path` (PNG) if one is given."""
        picture = ImageGrab.grab(xdisplay=self.display).convert("RGB")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
        return picture

    def settled(self, timeout_s: float = 12.0, box: tuple[int, int, int, int] | None = None) -> Image.Image:
        """Return a screenshot once two in a row agree (inside `box`), or the last one: pictures lag behind events."""
        deadline = time.monotonic() + timeout_s
        last = self.screenshot()
        while True:
            time.sleep(0.7)
            now = self.screenshot()
            if now.crop(box).tobytes() == last.crop(box).tobytes() or time.monotonic() > deadline:
                return now
            last = now

    def move(self, x: float, y: float) -> None:
        """Move the mouse; pixels from the screen's upper left corner."""
        self._xdotool("mousemove", str(round(x)), str(round(y)))

    def click(self, x: float, y: float, button: int = 1) -> None:
        """Move the mouse there, wait until Blender has seen it, press and release."""
        pause = ("sleep", str(HOVER_S))
        self._xdotool("mousemove", str(round(x)), str(round(y)), *pause, "click", str(button), *pause)

    def drag(self, x: float, y: float, to_x: float, to_y: float, button: int = 1) -> None:
        """Press at one place and release at another, with a stop half way."""
        pause = ("sleep", str(HOVER_S))
        half = (str(round((x + to_x) / 2)), str(round((y + to_y) / 2)))
        to = (str(round(to_x)), str(round(to_y)))
        press, release = ("mousedown", str(button)), ("mouseup", str(button))
        begin = ("mousemove", str(round(x)), str(round(y)), *pause)
        self._xdotool(*begin, *press, *pause, "mousemove", *half, *pause, "mousemove", *to, *pause, *release, *pause)

    def type(self, text: str) -> None:
        """Type a text on the keyboard."""
        self._xdotool("type", "--delay", "60", text)

    def key(self, *names: str) -> None:
        """Press keys one after another, such as `Return` or `ctrl+z`."""
        self._xdotool("key", "--delay", "120", *names)

    def _xdotool(self, *arguments: str) -> None:
        self._alive()
        command = self.program.xdotool(*arguments)
        environment = self._environment(None) | {"DISPLAY": self.display}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise BlenderFailed(f"xdotool {' '.join(arguments)}: {done.stderr.strip()}")

    # --- bookkeeping ---

    def _environment(self, shown: Path | None) -> dict[str, str]:
        """Return the environment of a call; the scratch folder and `shown` are visible inside the script's root."""
        binds = [str(path) for path in (self.scratch, shown) if path is not None]
        for named in (os.environ, self.environment):
            binds += [path for path in named.get("RB_BIND", "").split(":") if path]
        width, height = self.program.size
        mine = {"RB_HOME": str(self.home), "RB_BIND": ":".join(binds), "RB_SIZE": f"{width}x{height}"}
        if not self.program.is_script:
            mine = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config")}
            mine |= {"BLENDER_USER_RESOURCES": str(self.home / "blender")}
        return {**os.environ, **self.environment, **mine}

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BlenderFailed("Blender is not running; call start() first.")
        return self._process

    def _check_alive(self, doing: str) -> None:
        code = self._alive().poll()
        if code is not None:
            raise BlenderFailed(f"Blender ended with code {code} while {doing}.\n{self.printed()[-3000:]}")


def find_extension(folder: Path = ROOT / "dist", environment: Mapping[str, str] = os.environ) -> Path:
    """Return the extension's zip for Linux: the one that LIMBECK_EXTENSION names, else the newest in `dist/`.

    Raises:
        FileNotFoundError: there is none.
    """
    if environment.get("LIMBECK_EXTENSION"):
        return Path(environment["LIMBECK_EXTENSION"])
    zips = [*folder.glob("limbeck-*linux*x64*.zip"), *folder.glob("limbeck-*linux*x86_64*.zip")]
    if not zips:
        raise FileNotFoundError(f"Expected the extension's zip for Linux in {folder}; make it with `make extension`.")
    return max(zips, key=lambda path: path.stat().st_mtime)


def tracebacks(printed: str) -> Sequence[str]:
    """Return the tracebacks in what a program printed, each with the lines that follow it."""
    return [
        match.group(0) for match in re.finditer(r"^Traceback \(most recent call last\):(?:\n.*){0,25}", printed, re.M)
    ]
