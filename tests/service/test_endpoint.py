"""Strangers and nonsense are refused, and the next good request is served each time. Raw sockets where it matters."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgpack
import pytest
import zmq
from limbeck_protocol import messages
from limbeck_protocol.client import Client, Patience
from limbeck_protocol.codec import decode_reply, encode_message
from limbeck_protocol.discovery import KeyPair, create_or_load_keys, generate_keys
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.transport import configure_client_socket
from limbeck_server.service.access import allow_client, revoke_client

Frames = list[bytes]
STATUS = encode_message(messages.GetStatus(), request_id="good")


class Wire:
    """A bare DEALER, so that anything at all can be sent."""

    def __init__(self, context: zmq.Context[Any], server: Any, keys: KeyPair | None, server_key: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        if keys is None:
            self.socket.setsockopt(zmq.LINGER, 0)
        else:
            configure_client_socket(self.socket, keys, server_key)
        self.socket.connect(server.record.endpoint)

    def send(self, frames: Frames) -> None:
        self.socket.send_multipart(frames)

    def receive(self, timeout_s: float = 3.0) -> messages.Reply | None:
        if not self.socket.poll(timeout_s * 1000):
            return None
        return decode_reply(self.socket.recv_multipart()).message

    def ask(self, message: messages.Request, request_id: str = "ask") -> messages.Reply | None:
        self.send(encode_message(message, request_id=request_id))
        return self.receive()


@pytest.fixture
def wire(server: Any) -> Iterator[Callable[..., Wire]]:
    """Connects bare sockets: with the allowed key unless `keys` says otherwise."""
    context: zmq.Context[Any] = zmq.Context()
    own = create_or_load_keys(server.home / "keys" / "client.json")
    made: list[Wire] = []

    def connect(keys: KeyPair | None = own, server_key: str = server.record.server_key) -> Wire:
        made.append(Wire(context, server, keys, server_key))
        return made[-1]

    yield connect
    for one in made:
        one.socket.close(linger=0)
    context.term()


@pytest.fixture(autouse=True)
def still_serves(server: Any, wire: Callable[..., Wire]) -> Iterator[None]:
    """After whatever a test did, a good request is served at once."""
    yield
    begun = time.monotonic()
    assert isinstance(wire().ask(messages.GetStatus()), messages.Status)
    assert time.monotonic() - begun < 3.0
    assert server.process.poll() is None


def packed(**header: Any) -> bytes:
    return msgpack.packb({"p": [1, 0], "id": "q", "re": None, "b": {"t": "status"}, "f": [], **header})


@pytest.mark.parametrize("who", ["unknown key", "no key", "wrong server key"])
def test_strangers_are_not_heard(wire: Callable[..., Wire], who: str) -> None:
    own = generate_keys()
    stranger = {
        "unknown key": lambda: wire(keys=own),
        "no key": lambda: wire(keys=None),
        "wrong server key": lambda: wire(server_key=own.public_key),
    }[who]()
    if who == "no key":
        # The message waits in the pipe, unless the server has already refused the handshake and the pipe is gone.
        with suppress(zmq.Again):
            stranger.socket.send_multipart(STATUS, zmq.NOBLOCK)
    else:
        with pytest.raises(zmq.Again):  # there is no connection to send on
            stranger.socket.send_multipart(STATUS, zmq.NOBLOCK)
    assert stranger.receive(0.5) is None


def test_an_unknown_key_is_told_so(server: Any) -> None:
    patience = Patience(timeout_s=1.0)
    with (
        Client(server.record.endpoint, server.record.server_key, generate_keys(), patience=patience) as stranger,
        pytest.raises(LimbeckError) as caught,
    ):
        stranger.status()
    assert caught.value.code == "ACCESS_DENIED"


def test_a_key_that_is_revoked_is_refused_at_its_next_message(server: Any, wire: Callable[..., Wire]) -> None:
    friend = generate_keys()
    path = server.home / "keys" / "allowed.json"
    allow_client(path, "friend", friend.public_key)
    connected = wire(keys=friend)
    assert isinstance(connected.ask(messages.GetStatus()), messages.Status)
    revoke_client(path, "friend")
    reply = connected.ask(messages.GetStatus())
    assert isinstance(reply, messages.ErrorReply)
    assert reply.code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\x00" * 100],
        [os.urandom(200)],
        [msgpack.packb([1, 2, 3])],
        [b"\x81" * 2000],
        [b""] * 2000,
        [msgpack.packb({"p": [1, 0], "id": "a b\n", "b": {"t": "status"}})],
        [b"\xc1"],
        [b"\xdd\xff\xff\xff\xff"],
    ],
    ids=["empty", "zeros", "noise", "list", "depth", "many frames", "bad id", "reserved", "huge array"],
)
def test_garbage_is_dropped(wire: Callable[..., Wire], frames: Frames) -> None:
    connected = wire()
    connected.send(frames)
    assert isinstance(connected.ask(messages.GetStatus()), messages.Status), "the same connection goes on"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([packed(b={"t": "job.dance"})], "UNKNOWN_TYPE"),
        ([packed(p=[9, 0])], "PROTOCOL_UNSUPPORTED"),
        ([packed(b={"t": "hello", "major_min": 7, "major_max": 9, "client": "x"})], "PROTOCOL_UNSUPPORTED"),
        ([packed(p=[9, 0], b={"t": "hello", "major_min": 9, "major_max": 9, "client": "x"})], "PROTOCOL_UNSUPPORTED"),
        ([packed(b={"t": "status", "extra": 1})], "INVALID_FIELD"),
        ([packed(b={"t": "get", "job_id": "../../etc"})], "INVALID_FIELD"),
        ([packed(b={"t": "get", "job_id": "job-0001\n"})], "INVALID_FIELD"),
        ([packed(b={"t": "get", "job_id": 7})], "INVALID_FIELD"),
        ([packed(b={"t": "get", "job_id": "job-nowhere"})], "JOB_NOT_FOUND"),
        ([packed(b={"t": "events", "job_id": "job-nowhere"})], "JOB_NOT_FOUND"),
        ([packed(b={"t": "preview", "job_id": "job-nowhere"})], "JOB_NOT_FOUND"),
        ([packed(b={"t": "cancel", "job_id": "job-nowhere"})], "JOB_NOT_FOUND"),
        ([packed(b={"t": "artifact.stat", "job_id": "job-nowhere", "name": "a.glb"})], "JOB_NOT_FOUND"),
        (
            [packed(b={"t": "artifact.read", "job_id": "job-0001", "name": "../x", "offset": 0, "length": 1})],
            "INVALID_FIELD",
        ),
        ([packed(), b"an array nobody spoke of"], "BAD_FRAME"),
        ([packed(f=[{"dtype": "f4", "shape": [1 << 40], "nbytes": 4}]), b"1234"], "BAD_FRAME"),
        ([packed(b={"t": "submit", "job_id": "job-0001", "recipe": {"prompt": ""}})], "INVALID_FIELD"),
        ([packed(b={"t": "submit", "job_id": "job-0001", "recipe": {"prompt": "a gryphon"}})], "UNKNOWN_WORD"),
    ],
)
def test_requests_that_make_no_sense_are_answered_with_a_code(
    wire: Callable[..., Wire], frames: Frames, code: str
) -> None:
    connected = wire()
    connected.send(frames)
    reply = connected.receive()
    assert isinstance(reply, messages.ErrorReply)
    assert reply.code == code
    assert reply.remedy is not None
    assert isinstance(connected.ask(messages.GetStatus()), messages.Status)


def test_a_refused_recipe_leaves_nothing_behind(client: Client, tools: Any) -> None:
    before = len(client.jobs().jobs)
    with pytest.raises(LimbeckError) as caught:
        client.submit(tools.make_recipe("a gryphon"))
    assert caught.value.remedy.field == "prompt"
    assert len(client.jobs().jobs) == before


def test_a_frame_over_the_limit_ends_that_connection_only(server: Any, wire: Callable[..., Wire]) -> None:
    other = wire()
    assert isinstance(other.ask(messages.GetStatus()), messages.Status)
    rude = wire()
    rude.send([b"x" * (300 * 1024)])
    assert rude.receive(0.3) is None
    assert isinstance(other.ask(messages.GetStatus()), messages.Status), "its neighbour has noticed nothing"


def test_bytes_that_are_not_even_zeromq_are_dropped(server: Any) -> None:
    host, port = server.record.endpoint.removeprefix("tcp://").split(":")
    for noise in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4096), b"\xff" + bytes(8) + b"\x7f" + bytes(53)):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(noise)


def test_hello_is_answered_with_version_ids_and_limits(server: Any, wire: Callable[..., Wire]) -> None:
    reply = wire().ask(messages.Hello(major_min=0, major_max=3, client="test"))
    assert isinstance(reply, messages.Welcome)
    assert (reply.major, reply.store_id, reply.boot_id) == (1, server.record.store_id, server.record.boot_id)
    assert reply.limits["request_frame_bytes"] == 256 * 1024


def test_a_wait_ends_in_time_and_a_newer_one_supersedes_it(wire: Callable[..., Wire]) -> None:
    connected = wire()
    latest = connected.ask(messages.GetEvents())
    assert isinstance(latest, messages.Events)
    begun = time.monotonic()
    waiting = messages.GetEvents(after_sequence=latest.last_sequence, wait_ms=20_000)
    connected.send(encode_message(waiting, request_id="old"))
    connected.send(
        encode_message(messages.GetEvents(after_sequence=latest.last_sequence, wait_ms=300), request_id="new")
    )
    answers = []
    for _ in range(2):
        assert connected.socket.poll(2000)
        answers.append((decode_reply(connected.socket.recv_multipart()).reply_to, time.monotonic() - begun))
    assert [name for name, _ in answers] == ["old", "new"]
    assert answers[0][1] < 2.0
    assert 0.28 <= answers[1][1] < 3.0


def test_a_repeated_wait_is_answered_once(wire: Callable[..., Wire]) -> None:
    connected = wire()
    latest = connected.ask(messages.GetEvents())
    assert isinstance(latest, messages.Events)
    waiting = encode_message(messages.GetEvents(after_sequence=latest.last_sequence, wait_ms=200), request_id="same")
    connected.send(waiting)
    connected.send(waiting)
    assert isinstance(connected.receive(1.0), messages.Events)
    assert connected.receive(0.3) is None


def test_waiting_clients_hear_of_an_event_at_once(wire: Callable[..., Wire], client: Client, tools: Any) -> None:
    patient = wire()
    latest = patient.ask(messages.GetEvents())
    assert isinstance(latest, messages.Events)
    patient.send(
        encode_message(messages.GetEvents(after_sequence=latest.last_sequence, wait_ms=20_000), request_id="w")
    )
    job = client.submit(tools.make_recipe(steps=1))
    begun = time.monotonic()
    news = patient.receive(2.0)
    assert isinstance(news, messages.Events)
    assert news.events[0].job_id == job.job_id
    assert time.monotonic() - begun < 1.0
    client.follow(job.job_id, timeout_s=10)


def test_the_catalog_is_the_one_given(client: Client) -> None:
    assert client.catalog() == messages.Catalog(losses=[], priors=[], presets=[])
