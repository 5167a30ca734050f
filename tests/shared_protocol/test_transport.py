"""The options of every socket, read back from libzmq."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from limbeck_protocol.discovery import KeyPair
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.transport import configure_client_socket, configure_server_socket


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    with zmq.Context() as context:
        yield context


COMMON = {
    zmq.LINGER: 0,
    zmq.SNDHWM: 64,
    zmq.RCVHWM: 64,
    zmq.HANDSHAKE_IVL: 2000,
    zmq.HEARTBEAT_IVL: 2000,
    zmq.HEARTBEAT_TIMEOUT: 6000,
    zmq.HEARTBEAT_TTL: 8000,
    zmq.IPV6: 0,
    zmq.MECHANISM: zmq.CURVE,
}


def test_server_sockets_are_bounded_encrypted_and_closed(context: zmq.Context[Any], server_keys: KeyPair) -> None:
    with context.socket(zmq.ROUTER) as socket:
        configure_server_socket(socket, server_keys)
        expected = {
            **COMMON,
            zmq.MAXMSGSIZE: LIMITS.request_frame_bytes,
            zmq.CURVE_SERVER: 1,
            zmq.ZAP_ENFORCE_DOMAIN: 1,
        }
        assert {option: socket.getsockopt(option) for option in expected} == expected
        assert socket.getsockopt(zmq.ZAP_DOMAIN).rstrip(b"\0") == b"limbeck"


def test_server_sockets_say_when_a_client_is_gone(context: zmq.Context[Any], server_keys: KeyPair) -> None:
    with context.socket(zmq.ROUTER) as socket:
        configure_server_socket(socket, server_keys)
        with pytest.raises(zmq.ZMQError) as caught:
            socket.send_multipart([b"nobody", b"x"], zmq.NOBLOCK)
        assert caught.value.errno == zmq.EHOSTUNREACH


def test_client_sockets_are_encrypted_and_queue_nothing(
    context: zmq.Context[Any], client_keys: KeyPair, server_keys: KeyPair
) -> None:
    with context.socket(zmq.DEALER) as socket:
        configure_client_socket(socket, client_keys, server_keys.public_key)
        expected = {
            **COMMON,
            zmq.MAXMSGSIZE: LIMITS.reply_frame_bytes,
            zmq.IMMEDIATE: 1,
            zmq.RECONNECT_IVL: 200,
            zmq.RECONNECT_IVL_MAX: 5000,
            zmq.CURVE_SERVER: 0,
        }
        assert {option: socket.getsockopt(option) for option in expected} == expected


def test_ipv6_is_off_unless_asked_for(context: zmq.Context[Any], server_keys: KeyPair) -> None:
    with context.socket(zmq.ROUTER) as socket:
        configure_server_socket(socket, server_keys, ipv6=True)
        assert socket.getsockopt(zmq.IPV6) == 1


def test_a_library_without_curve_is_refused(
    context: zmq.Context[Any], server_keys: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq, "has", lambda capability: False)
    with context.socket(zmq.ROUTER) as socket, pytest.raises(LimbeckError, match="CURVE"):
        configure_server_socket(socket, server_keys)


def test_previews_of_the_largest_size_fit_into_a_frame() -> None:
    assert LIMITS.reply_frame_bytes >= 1024 * 1024 * 3
    assert LIMITS.chunk_bytes <= LIMITS.reply_frame_bytes
    assert LIMITS.cameras * 16 * 4 <= LIMITS.request_frame_bytes
