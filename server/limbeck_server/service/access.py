"""Who may talk to the server: CURVE keys, checked at the handshake and again at every message.

The local user's own key is always allowed; others are listed in `allowed.json`, name to public key, mode 0600. There is
no setting that lets any client in. The handshake's question (ZAP) is answered in the server's own loop: no thread, and
one list for both checks.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket as sockets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq
from limbeck_protocol.discovery import generate_keys, is_key
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.private_files import read_private_file, replace_private_file
from limbeck_protocol.transport import ZAP_DOMAIN, configure_client_socket
from zmq.utils.monitor import recv_monitor_message
from zmq.utils.z85 import encode as z85_encode

ZAP_ADDRESS = "inproc://zeromq.zap.01"
SELF_TEST_S = 5.0
_NAME = re.compile(r"\A[\w.@ -]{1,64}\Z")
_ENDPOINT = re.compile(r"\Atcp://(?P<host>\[[^\]]+\]|[^:/]+):(?P<port>\*|\d{1,5})\Z")
_log = logging.getLogger(__name__)


# --- the list ---------------------------------------------------------------------------------------------------------


def load_allowed(path: Path) -> dict[str, str]:
    """Return the allowed clients of `path`, name to public key (Z85); none when there is no such file.

    Raises:
        LimbeckError: the file is damaged, or other users could have written it.
    """
    content = read_private_file(path)
    if content is None:
        return {}
    try:
        allowed = msgspec.json.decode(content, type=dict[str, str])
        if not all(is_key(key) for key in allowed.values()):
            raise ValueError("one of the keys is none")
    except ValueError as error:
        raise LimbeckError(
            ErrorCode.CANNOT_READ,
            f"{path} is expected to map names to public keys of 40 characters, and does not: {error}.",
            Remedy(action=RemedyAction.COPY_KEY, label="Correct the file, or remove it and allow the keys again."),
        ) from error
    return allowed


def allow_client(path: Path, name: str, public_key: str) -> None:
    """Add a client to the list, or give a known name another key. A running server notices at once.

    Raises:
        LimbeckError: `INVALID_FIELD` for a key or name that is none; the file cannot be used.
    """
    if not is_key(public_key):
        raise LimbeckError(ErrorCode.INVALID_FIELD, "Expected a public key of 40 characters, as the panel shows it.")
    if not _NAME.match(name):
        raise LimbeckError(
            ErrorCode.INVALID_FIELD,
            "Expected a name of up to 64 letters, digits, spaces or any of . @ - _ for the key.",
        )
    replace_private_file(path, msgspec.json.encode({**load_allowed(path), name: public_key}))


def revoke_client(path: Path, name: str) -> None:
    """Take a client off the list; a running server refuses its next message.

    Raises:
        LimbeckError: `INVALID_FIELD` when nobody of that name is on it.
    """
    allowed = load_allowed(path)
    if name not in allowed:
        known = ", ".join(sorted(allowed)) or "nobody"
        raise LimbeckError(ErrorCode.INVALID_FIELD, f"No client named {name!r} is allowed; the list holds {known}.")
    del allowed[name]
    replace_private_file(path, msgspec.json.encode(allowed))


class AllowList:
    """The keys that may talk to the server; the file is read again whenever it changes.

    Args:
        path: `allowed.json`.
        own_key: the local user's own public key, always allowed.

    Raises:
        LimbeckError: the file is damaged, or other users could have written it.
    """

    def __init__(self, path: Path, own_key: str) -> None:
        self.path = path
        self._own_key = own_key
        self._stamp = self._look()
        self._keys = frozenset(load_allowed(path).values())

    def __contains__(self, public_key: str) -> bool:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._keys = frozenset(load_allowed(self.path).values())
            except LimbeckError as error:
                self._keys = frozenset()
                _log.error("only the local user's key is allowed now: %s", error)
        return public_key == self._own_key or public_key in self._keys

    def others(self) -> int:
        """Return how many keys besides the local user's are allowed."""
        return len(self._keys - {self._own_key})

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.lstat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


# --- the handshake ----------------------------------------------------------------------------------------------------


class ZapHandler:
    """Answers libzmq's question whether a key may connect. Make it before any server socket is bound.

    Args:
        context: the server socket's context.
        allowed: asked for each key.
    """

    def __init__(self, context: zmq.Context[Any], allowed: AllowList) -> None:
        self._allowed = allowed
        self.refused = 0
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ZAP_ADDRESS)

    def answer_waiting(self) -> None:
        """Answer every question that waits."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.socket.send_multipart(self._answer(frames))

    def close(self) -> None:
        self.socket.close()

    def _answer(self, frames: list[bytes]) -> list[bytes]:
        """Version 1.0 of ZeroMQ's RFC 27."""
        version, sequence, domain, _address, _identity, mechanism, *credentials = frames
        if version == b"1.0" and domain == ZAP_DOMAIN.encode() and mechanism == b"CURVE" and len(credentials) == 1:
            key = z85_encode(credentials[0]).decode()
            if key in self._allowed:
                return [b"1.0", sequence, b"200", b"OK", key.encode(), b""]
        self.refused += 1
        return [b"1.0", sequence, b"400", b"This key is not allowed here", b"", b""]


def check_refusal(context: zmq.Context[Any], endpoint: str, server_key: str, pump: Callable[[], None]) -> None:
    """Connect to our own endpoint with a throw-away key and see it refused, before anybody is told where it is.

    Args:
        context: the server's own.
        endpoint: where the server's socket is bound.
        server_key: its public key.
        pump: lets the server answer what waits.

    Raises:
        LimbeckError: `INTERNAL`: the stranger was let in, or nothing was decided in time.
    """
    stranger = context.socket(zmq.DEALER)
    configure_client_socket(stranger, generate_keys(), server_key, ipv6="[" in endpoint)
    monitor = stranger.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    try:
        stranger.connect(endpoint)
        deadline = time.monotonic() + SELF_TEST_S
        while time.monotonic() < deadline:
            pump()
            if monitor.poll(10):
                if recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    return
                raise LimbeckError(
                    ErrorCode.INTERNAL, "The server let an unknown key in, so it will not serve; please report this."
                )
        raise LimbeckError(
            ErrorCode.INTERNAL, f"The server could not see an unknown key refused within {SELF_TEST_S:g} s."
        )
    finally:
        stranger.disable_monitor()
        monitor.close(linger=0)
        stranger.close(linger=0)


# --- where to listen --------------------------------------------------------------------------------------------------


def is_wide(endpoint: str) -> bool:
    """Return whether others than this machine could reach `endpoint`; in doubt, yes.

    Raises:
        LimbeckError: `INVALID_FIELD` for anything but `tcp://HOST:PORT`.
    """
    found = _ENDPOINT.match(endpoint)
    if not found:
        raise LimbeckError(
            ErrorCode.INVALID_FIELD,
            f"Expected an endpoint like tcp://127.0.0.1:* or tcp://HOST:PORT, not {endpoint!r}.",
        )
    host = found["host"].strip("[]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass  # a name: every address that it stands for counts
    try:
        addresses = {str(entry[4][0]).partition("%")[0] for entry in sockets.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return True  # a wildcard or an interface's name
    return not all(ipaddress.ip_address(address).is_loopback for address in addresses)


def check_bind(endpoint: str, wide: bool, allowed: AllowList) -> None:
    """Raise unless the server may listen at `endpoint`.

    Raises:
        LimbeckError: `ACCESS_DENIED`: a wide bind without the explicit flag, or without a single allowed key;
            `INVALID_FIELD`: no endpoint at all.
    """
    if not is_wide(endpoint):
        return
    if not wide:
        raise LimbeckError(
            ErrorCode.ACCESS_DENIED,
            f"{endpoint} can be reached from other machines, and that was not asked for explicitly.",
            Remedy(action=RemedyAction.COPY_KEY, label="Add --wide if they should, or listen at tcp://127.0.0.1:*."),
        )
    if allowed.others() == 0:
        raise LimbeckError(
            ErrorCode.ACCESS_DENIED,
            f"{endpoint} can be reached from other machines, but no client's key is allowed yet.",
            Remedy(
                action=RemedyAction.COPY_KEY,
                label=f"Allow one first: limbeck keys allow NAME KEY (kept in {allowed.path}).",
            ),
        )
