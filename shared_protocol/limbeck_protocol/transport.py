"""Socket options, in the one place that sets any.

Why each: `docs` of libzmq explain what they do; here stands why this protocol wants them.
"""

from __future__ import annotations

from typing import Any

import zmq

from limbeck_protocol.discovery import KeyPair
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.limits import LIMITS, Limits

ZAP_DOMAIN = "limbeck"
"""The authenticator must name it: a callback registered for `*` does not match a domain that is set."""

HIGH_WATER_MARK = 64
_HANDSHAKE_MS = 2_000
_HEARTBEAT_MS = 2_000
_HEARTBEAT_TIMEOUT_MS = 6_000
_HEARTBEAT_TTL_MS = 8_000
_RECONNECT_MS = 200
_RECONNECT_MAX_MS = 5_000

AnySocket = Any  # zmq.Socket and zmq.asyncio.Socket alike; their type parameters differ


def configure_server_socket(socket: AnySocket, keys: KeyPair, *, ipv6: bool = False, limits: Limits = LIMITS) -> None:
    """Prepare a ROUTER before it is bound: bounded, encrypted, and closed to whom no authenticator has let in.

    Raises:
        LimbeckError: this libzmq was built without CURVE.
    """
    _check_curve()
    _set_common(socket, keys, ipv6=ipv6)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.request_frame_bytes)
    # Tells "peer gone" (EHOSTUNREACH) and "peer full" (EAGAIN) apart, instead of dropping replies in silence.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    # A second connection may not take over the replies of the first.
    socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    # Without this flag, a server whose authenticator has died lets everybody in.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def configure_client_socket(
    socket: AnySocket, keys: KeyPair, server_key: str, *, ipv6: bool = False, limits: Limits = LIMITS
) -> None:
    """Prepare a DEALER before it is connected. `server_key` is the server's public key, 40 characters of Z85.

    Raises:
        LimbeckError: this libzmq was built without CURVE.
    """
    _check_curve()
    _set_common(socket, keys, ipv6=ipv6)
    socket.setsockopt(zmq.MAXMSGSIZE, limits.reply_frame_bytes)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key.encode())
    # Nothing is queued for a connection that does not exist: the client keeps and repeats its requests itself.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)


def _set_common(socket: AnySocket, keys: KeyPair, *, ipv6: bool) -> None:
    # Closing never waits for undelivered messages: whatever matters is asked for again.
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    # Mute connections hold a file descriptor each; they are let go soon.
    socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, _HEARTBEAT_TTL_MS)
    socket.setsockopt(zmq.IPV6, int(ipv6))
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public_key.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret_key.encode())


def _check_curve() -> None:
    if not zmq.has("curve"):
        raise LimbeckError(
            ErrorCode.INTERNAL, "The installed pyzmq lacks CURVE encryption; install the wheel from PyPI instead."
        )
