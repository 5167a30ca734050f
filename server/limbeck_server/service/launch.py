"""Starting a server that outlives its starter, and waiting until it answers."""

from __future__ import annotations

import os
import socket as sockets
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck_protocol.client import Client
from limbeck_protocol.discovery import (
    HOME_VARIABLE,
    Folders,
    ServerRecord,
    create_or_load_keys,
    find_folders,
    read_server_record,
)
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.private_files import make_private_folder

SERVE_ARGUMENTS = ("-m", "limbeck_server.cli", "serve")
LOG_NAME = "server.log"
_LOOK_EVERY_S = 0.05


def start_server(
    python: str | Path = sys.executable,
    home: Path | None = None,
    timeout_s: float = 30.0,
    arguments: Sequence[str] = SERVE_ARGUMENTS,
) -> ServerRecord:
    """Return the record of a server that answers: a new one in a session of its own, or the one that runs already.

    Args:
        python: the interpreter that has `limbeck_server`.
        home: `LIMBECK_HOME` of the server; None leaves the environment as it is.
        timeout_s: how long the server may take to answer.
        arguments: what the interpreter is told to run.

    Raises:
        LimbeckError: `NO_SERVER`: it ended or did not answer in time; the message names its log.
    """
    environment = dict(os.environ)
    if home is not None:
        environment[HOME_VARIABLE] = str(home)
    folders = find_folders(environment)
    running = _answering(folders)
    if running is not None:
        return running
    make_private_folder(folders.data)
    log_path = folders.data / LOG_NAME
    process = _spawn([str(python), *arguments], environment, log_path)
    # Its end is noticed for as long as we live ourselves, so that it does not stay behind as a zombie.
    threading.Thread(target=process.wait, name="server-reaper", daemon=True).start()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = process.poll()  # before the look: when two were started at once, the other one may have won
        record = _answering(folders)
        if record is not None:
            return record
        if ended is not None:
            raise _failure(f"The server ended with exit code {ended} before it answered", log_path)
        time.sleep(_LOOK_EVERY_S)
    process.kill()
    raise _failure(f"The server did not answer within {timeout_s:g} s", log_path)


def _spawn(command: list[str], environment: dict[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    detached: dict[str, Any] = {"start_new_session": True} if sys.platform != "win32" else {"creationflags": 0x208}
    descriptor = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  # our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=environment,
            cwd=log_path.parent,
            **detached,
        )
    except OSError as error:
        raise _failure(f"The server's program {command[0]} could not be started: {error.strerror}", log_path) from error
    finally:
        os.close(descriptor)


def _answering(folders: Folders) -> ServerRecord | None:
    """Return the recorded server if it answers; a record may outlive its server."""
    record = read_server_record(folders.runtime / "server.json")
    if record is None or not _is_open(record.endpoint):
        return None
    keys = create_or_load_keys(folders.keys / "client.json")
    with Client(record.endpoint, record.server_key, keys, name="limbeck-launch") as client:
        try:
            client.status(timeout_s=3.0)
        except LimbeckError:
            return None
    return record


def _is_open(endpoint: str) -> bool:
    """Return whether anything listens there, which tells most stale records at once."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    try:
        with sockets.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False


def _failure(what: str, log_path: Path) -> LimbeckError:
    remedy = Remedy(action=RemedyAction.SHOW_LOG, label=f"Its last lines in {log_path} say why.")
    return LimbeckError(ErrorCode.NO_SERVER, f"{what}.", remedy)
