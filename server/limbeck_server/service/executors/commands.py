"""What a server says to one worker: from a thread of its own, so that a worker that does not listen stops nobody.

Only the newest viewer's request is kept: those between are gone. A cancel overtakes it.
"""

from __future__ import annotations

import contextlib
import threading
from typing import BinaryIO

from limbeck_server.service.executors.pipes import CANCEL, write_blob


class CommandPipe:
    """The pipe to a worker. `cancel`, `look` and `close` return at once, whatever the other end does.

    Args:
        pipe: the worker's standard input; closed by this object.
        name: of the thread.
    """

    def __init__(self, pipe: BinaryIO, name: str) -> None:
        self._pipe = pipe
        self._news = threading.Condition()
        self._cancel = self._closed = False
        self._viewer: bytes | None = None
        self._thread = threading.Thread(target=self._write, name=name, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask the worker to end."""
        with self._news:
            self._cancel = True
            self._news.notify()

    def look(self, request: bytes) -> None:
        """Hand on a viewer's request, a packed `GetPreview`, in place of one that was not handed on yet."""
        with self._news:
            self._viewer = request
            self._news.notify()

    def close(self) -> None:
        """Say nothing more. Call it when the worker is gone, which also ends a write that got stuck."""
        with self._news:
            self._closed = True
            self._news.notify()

    def _write(self) -> None:
        """In the thread: hand on what there is to say, until the worker is gone."""
        with contextlib.suppress(OSError), self._pipe:  # it is gone; the executor says so
            while (blob := self._next()) is not None:
                write_blob(self._pipe, blob)

    def _next(self) -> bytes | None:
        with self._news:
            self._news.wait_for(lambda: self._closed or self._cancel or self._viewer is not None)
            if self._closed:
                return None
            if self._cancel:
                self._cancel = False
                return CANCEL
            blob, self._viewer = self._viewer, None
            return blob
