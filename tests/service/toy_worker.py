"""A small but genuine worker: fits a picture by gradient descent, in numpy, with steps of about 50 ms.

The prompt says how it behaves; everything it does goes through the executor's real process and pipe.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.messages import (
    AnyWorkerEvent,
    ArtifactWritten,
    Finished,
    Notice,
    PhaseStarted,
    PreviewReady,
    Progress,
    View,
    ViewerCamera,
    WorkerProgress,
)
from limbeck_protocol.recipe import FIELD_FILE, Recipe

STEP_S = 0.05
STEPS = 12


class CudaOutOfMemoryError(RuntimeError):
    """Named like the errors of deep learning libraries."""


def run(recipe: Recipe, folder: Path) -> Iterator[AnyWorkerEvent]:
    (folder / "pid").write_text(str(os.getpid()))
    steps = recipe.settings.steps if isinstance(recipe.settings.steps, int) else STEPS
    yield PhaseStarted(name="optimise", title="Fitting")
    misbehave(recipe.prompt, folder)
    rng = np.random.default_rng(recipe.seed)
    target = rng.random((32, 32, 3))
    picture = np.full_like(target, 0.5)
    error = 1.0
    for step in range(1, steps + 1):
        begun = time.monotonic()
        gradient = picture - target
        error = float(np.sqrt(np.mean(gradient**2)))
        picture -= 0.3 * gradient
        if recipe.prompt == "busy step":
            while True:  # one endless step: it cannot hear a cancel
                np.sin(target)
        time.sleep(max(0.0, STEP_S - (time.monotonic() - begun)))
        yield WorkerProgress(progress=Progress(phase="optimise", step=step, steps=steps, loss=error))
        yield PreviewReady(step=step, image=(picture * 255).astype(np.uint8))
    yield PhaseStarted(name="mesh", title="Writing")
    if recipe.prompt == "promise a file":
        yield ArtifactWritten(name="missing.bin", media_type="application/octet-stream")
    # Large enough for several chunks, and the same for the same recipe.
    content = np.concatenate([picture.ravel(), rng.random(300_000)]).tobytes()
    (folder / "artifacts" / "picture.bin").write_bytes(content)
    yield ArtifactWritten(name="picture.bin", media_type="application/octet-stream")
    if "field" in recipe.prompt:
        (folder / "artifacts" / FIELD_FILE).write_bytes(content[:100])
        yield ArtifactWritten(name=FIELD_FILE, media_type="application/octet-stream")
    yield Notice(text="fitted")
    yield Finished(metrics={"error": error, "steps": steps})


def misbehave(prompt: str, folder: Path) -> None:
    if prompt == "raise":
        raise ZeroDivisionError("secret details of /some/path")
    if prompt == "limbeck error":
        raise LimbeckError(ErrorCode.NO_SURFACE, "There is nothing to see.")
    if prompt == "memory":
        raise MemoryError
    if prompt == "device memory":
        raise CudaOutOfMemoryError("2 GiB missing")
    if prompt == "exit":
        os._exit(7)
    if prompt == "print":
        print("words on standard output")
        print("words on standard error", file=sys.stderr)
        sys.stdout.flush()
        os.write(1, b"words on descriptor one\n")
        (folder / "environment").write_text("\n".join(sorted(os.environ)))
        (folder / "priority").write_text(str(os.nice(0)))
    if prompt == "with child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child").write_text(str(child.pid))
    if prompt == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(0.2)
    if prompt == "die with child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (folder / "child").write_text(str(child.pid))
        os.kill(os.getpid(), signal.SIGSEGV)


def not_a_number(recipe: Recipe, folder: Path) -> Iterator[AnyWorkerEvent]:
    yield WorkerProgress(progress=Progress(phase="optimise", step=1, steps=2, loss=float("nan")))


def talks(recipe: Recipe, folder: Path) -> Iterator[AnyWorkerEvent]:
    """Says more than a small disk can hold."""
    yield PhaseStarted(name="optimise", title="Talking")
    for number in range(10):
        yield Notice(text=f"{number} " + "blah " * 1500)
    yield PhaseStarted(name="mesh", title="Still talking")
    yield Finished(metrics={"notices": 10})


def looks(recipe: Recipe, folder: Path) -> Generator[AnyWorkerEvent, ViewerCamera | None, None]:
    """Makes a picture of its own at each step, and one for each camera that it is told: all pixels its shift."""
    (folder / "pid").write_text(str(os.getpid()))
    assert isinstance(recipe.settings.steps, int)
    answered = None
    for step in range(1, recipe.settings.steps + 1):
        time.sleep(STEP_S)
        viewer = yield PreviewReady(step=step, image=np.zeros((8, 8, 3), np.uint8))
        if viewer is not None and viewer is not answered:
            answered = viewer
            image = np.full((viewer.size, viewer.size, 4), int(viewer.lens[1]), np.uint8)
            view = View(camera_to_world=viewer.camera_to_world, lens=viewer.lens)
            # First the progress: who has the picture can ask for the view.
            yield WorkerProgress(progress=Progress(phase="optimise", step=step, steps=1000), view=view)
            yield PreviewReady(step=step, image=image, from_viewer=True, view=view)
    yield Finished(metrics={})


def nonsense(recipe: Recipe, folder: Path) -> Iterator[AnyWorkerEvent]:
    """Writes into the pipe behind the protocol's back."""
    yield Notice(text="first")
    for descriptor in range(3, 32):
        try:
            is_pipe = str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("pipe:")
        except OSError:
            continue
        if is_pipe:
            try:
                os.write(descriptor, b"\x08\x00\x00\x00nonsense")
            except OSError:
                continue
    time.sleep(60)
    yield Notice(text="never")


def stays(recipe: Recipe, folder: Path) -> Iterator[AnyWorkerEvent]:
    """Says that it has finished, and does not go."""
    yield Finished(metrics={})
    time.sleep(600)
