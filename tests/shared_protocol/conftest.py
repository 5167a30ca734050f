"""A tiny server that speaks the protocol through our own codec, for the client's timeouts, repeats and refusals."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
import zmq
from limbeck_protocol import messages
from limbeck_protocol.client import Client, Patience
from limbeck_protocol.codec import decode_request, encode_message
from limbeck_protocol.discovery import KeyPair, generate_keys
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.transport import ZAP_DOMAIN, configure_server_socket
from zmq.auth.thread import ThreadAuthenticator

Answer = Callable[[messages.Request], messages.Reply | None]
SHORT = Patience(timeout_s=0.3, tries=3)


class TinyServer:
    """A ROUTER in a thread; `answer` returns a reply, or None to stay silent. `seen` lists (request id, message)."""

    def __init__(self, answer: Answer, keys: KeyPair, allowed: set[str], port: int | None = None) -> None:
        self.answer, self.keys, self.allowed = answer, keys, allowed
        self.seen: list[tuple[str, messages.Request]] = []
        self.greets = True
        self.minor = messages.PROTOCOL_MINOR
        self._context = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain=ZAP_DOMAIN, credentials_provider=self)
        self._socket = self._context.socket(zmq.ROUTER)
        configure_server_socket(self._socket, keys)
        self.port = port or 0
        if port is None:
            self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        else:
            self._socket.bind(f"tcp://127.0.0.1:{port}")
        self.endpoint = f"tcp://127.0.0.1:{self.port}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def callback(self, domain: str, key: bytes) -> bool:
        return key.decode() in self.allowed

    def _serve(self) -> None:
        try:
            while not self._stop.is_set():
                if self._socket.poll(20):
                    self._answer_one(*self._socket.recv_multipart())
        finally:
            self._socket.close(linger=0)

    def _answer_one(self, route: bytes, *frames: bytes) -> None:
        envelope = decode_request(frames)
        if isinstance(envelope.message, messages.Hello):
            reply = self._welcome() if self.greets else None
        else:
            self.seen.append((envelope.request_id, envelope.message))
            reply = self.answer(envelope.message)
        if reply is not None:
            with contextlib.suppress(zmq.ZMQError):  # the client has gone meanwhile
                self._socket.send_multipart(
                    [route, *encode_message(reply, request_id="r", reply_to=envelope.request_id)]
                )

    def _welcome(self) -> messages.Welcome:
        return messages.Welcome(
            major=1, minor=self.minor, server="tiny", store_id="store", boot_id="boot", limits=LIMITS.as_dict()
        )

    def stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._authenticator.stop()
            self._context.term()


STATUS = messages.Status(server="tiny", seconds_up=1.0, queued=0, running=0, data_folder_free_bytes=1, device="cpu")


@pytest.fixture(scope="session")
def server_keys() -> KeyPair:
    return generate_keys()


@pytest.fixture(scope="session")
def client_keys() -> KeyPair:
    return generate_keys()


@pytest.fixture
def serve(server_keys: KeyPair, client_keys: KeyPair) -> Iterator[Callable[..., TinyServer]]:
    """Starts tiny servers that allow the client's key: `serve(answer, port=None)`."""
    servers: list[TinyServer] = []

    def start(answer: Answer = lambda message: STATUS, port: int | None = None) -> TinyServer:
        servers.append(TinyServer(answer, server_keys, {client_keys.public_key}, port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def connect(client_keys: KeyPair, server_keys: KeyPair) -> Iterator[Callable[..., Client]]:
    """Makes clients that are closed at the end: `connect(endpoint, **arguments)`."""
    clients: list[Client] = []

    def make(endpoint: str, **arguments: object) -> Client:
        given: dict[str, object] = {
            "server_key": server_keys.public_key,
            "keys": client_keys,
            "patience": SHORT,
            **arguments,
        }
        clients.append(Client(endpoint, **given))  # type: ignore[arg-type]
        return clients[-1]

    yield make
    for client in clients:
        client.close()
