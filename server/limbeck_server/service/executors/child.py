"""What runs in a worker's process: `python -m limbeck_server.service.executors.child MODULE:FUNCTION FOLDER`.

Standard input and output are the pipes from and to the server; they are put aside at once, so that whatever a library
prints goes to the job's log (standard error, which the server has opened on it). The entry is imported here, and torch
with it: never in the server.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

from limbeck_protocol.codec import decode_request, encode_message, pack_frames, unpack_frames
from limbeck_protocol.errors import CodecError, ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.messages import AnyWorkerEvent, GetPreview, ViewerCamera, WorkerFailed
from limbeck_protocol.recipe import Recipe, recipe_from_json

from limbeck_server.service.artifacts import FOLDER_NAME
from limbeck_server.service.executors.pipes import CANCEL, read_blob, write_blob

Steps = Generator[AnyWorkerEvent, ViewerCamera | None, None]
Entry = Callable[[Recipe, Path], Steps]
NICENESS = 5
"""The artist's own programs come first."""


class Orders:
    """What the server wants of this worker, kept by the thread that listens to it; reading it never waits."""

    def __init__(self) -> None:
        self.cancelled = False
        self.viewer: ViewerCamera | None = None
        """Where somebody looked from when last asking for a picture; a new object for each time of asking."""


def main(entry: str, folder: Path) -> int:
    """Run the job in `folder` and return the exit status: 1 when it failed, 0 when it ended or was cancelled."""
    commands, events = _take_pipes()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    orders = Orders()
    threading.Thread(target=_watch_server, args=(commands, orders), name="server-watch", daemon=True).start()
    try:
        recipe = recipe_from_json((folder / "recipe.json").read_text(encoding="utf-8"))
        (folder / FOLDER_NAME).mkdir(exist_ok=True)
        _forward(_find_entry(entry)(recipe, folder), events, orders)
    except BrokenPipeError:
        _end_group()
    except BaseException as error:  # whatever it is, the server is told what a person can do about it
        traceback.print_exc()
        with contextlib.suppress(BrokenPipeError):
            _send(events, _failure(error, folder.name))
        return 1
    return 0


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes from and to the server, and leave an empty input and the log in their place."""
    commands = os.fdopen(os.dup(0), "rb")
    events = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return commands, events


def _watch_server(commands: BinaryIO, orders: Orders) -> None:
    """Note what the server says; end the process at once, in the middle of a step too, when the server is gone."""
    while (blob := read_blob(commands)) is not None:
        if blob == CANCEL:
            orders.cancelled = True
            continue
        request = decode_request(unpack_frames(blob)).message
        if isinstance(request, GetPreview):
            orders.viewer = request.viewer
    _end_group()


def _end_group() -> None:
    """End this process and whatever it started. It leads its own group, so nobody else is in it."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _find_entry(entry: str) -> Entry:
    module, _, function = entry.partition(":")
    found: Entry = getattr(importlib.import_module(module), function)
    return found


def _forward(steps: Steps, events: BinaryIO, orders: Orders) -> None:
    """Send what the job yields; hand it the newest viewer's camera each time, and close it when it is cancelled."""
    with contextlib.closing(steps), contextlib.suppress(StopIteration):
        event = next(steps)
        while True:
            _send(events, event)
            if orders.cancelled:
                return
            event = steps.send(orders.viewer)


def _send(events: BinaryIO, event: AnyWorkerEvent) -> None:
    write_blob(events, pack_frames(encode_message(event, request_id="worker")))


def _failure(error: BaseException, job_id: str) -> WorkerFailed:
    if isinstance(error, LimbeckError) and not isinstance(error, CodecError):
        return WorkerFailed(code=error.code, message=error.message[:2000], remedy=error.remedy)
    name = type(error).__name__
    if isinstance(error, MemoryError) or "OutOfMemory" in name:
        code = ErrorCode.OUT_OF_MEMORY
        message = "The job needs more memory than this machine has free."
    else:
        code = ErrorCode.INTERNAL
        message = f"The worker stopped on an unexpected {name}; the details are in worker.log of job {job_id}."
    return WorkerFailed(code=code, message=message, remedy=remedy_for(code))


if __name__ == "__main__":
    status = main(sys.argv[1], Path(sys.argv[2]))
    # Threads that a closed generator left computing must not hold the process up.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
