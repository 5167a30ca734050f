"""Why a server cannot be talked to, told apart: nobody, a stranger, a locked door, another version."""

from __future__ import annotations

import socket as sockets
import time
from typing import Any

import pytest
import zmq
from limbeck_protocol import messages
from limbeck_protocol.client import ConnectionState, Patience
from limbeck_protocol.discovery import generate_keys
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.replies import choose_major, error_reply

STATUS = messages.Status(server="tiny", seconds_up=1.0, queued=0, running=0, data_folder_free_bytes=1, device="cpu")
LONG = Patience(timeout_s=2.5, tries=3)


def test_nobody_there_is_no_server(connect: Any) -> None:
    with sockets.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = connect(f"tcp://127.0.0.1:{port}")
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.NO_SERVER
    assert "limbeck serve" in caught.value.remedy.label


def test_a_program_that_takes_connections_and_says_nothing_is_told_apart(connect: Any) -> None:
    with sockets.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        client = connect(f"tcp://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(LimbeckError) as caught:
            client.call(messages.GetStatus())
    assert caught.value.code in {ErrorCode.TIMEOUT, ErrorCode.ACCESS_DENIED}


def test_an_unknown_client_is_denied_at_once_and_told_so(serve: Any, connect: Any) -> None:
    server = serve()
    client = connect(server.endpoint, keys=generate_keys(), patience=LONG)
    begun = time.monotonic()
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.ACCESS_DENIED
    assert time.monotonic() - begun < 2.0
    assert client.state is ConnectionState.DENIED
    assert client.problem is caught.value
    assert server.seen == []


def test_a_client_that_has_been_allowed_meanwhile_gets_in(serve: Any, connect: Any) -> None:
    server, keys = serve(), generate_keys()
    client = connect(server.endpoint, keys=keys, patience=LONG)
    with pytest.raises(LimbeckError):
        client.call(messages.GetStatus())
    server.allowed.add(keys.public_key)
    assert client.call(messages.GetStatus()) == STATUS
    assert client.state is ConnectionState.CONNECTED
    assert client.problem is None


def test_a_server_with_another_key_is_not_spoken_to(serve: Any, connect: Any) -> None:
    server = serve()
    client = connect(server.endpoint, server_key=generate_keys().public_key, patience=LONG)
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.ACCESS_DENIED
    assert server.seen == []


def test_an_unencrypted_server_is_not_spoken_to(connect: Any) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as plain:
        port = plain.bind_to_random_port("tcp://127.0.0.1")
        client = connect(f"tcp://127.0.0.1:{port}", patience=LONG)
        with pytest.raises(LimbeckError) as caught:
            client.call(messages.GetStatus())
        assert caught.value.code == ErrorCode.ACCESS_DENIED
        assert not plain.poll(0)


def test_a_server_of_another_version_is_told_from_a_dead_one(serve: Any, connect: Any) -> None:
    server = serve()
    refusal = LimbeckError(ErrorCode.PROTOCOL_UNSUPPORTED, "This server speaks protocol 9.")
    server._welcome = lambda: error_reply(refusal)
    client = connect(server.endpoint)
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.PROTOCOL_UNSUPPORTED
    assert client.state is ConnectionState.DENIED


def test_errors_arrive_with_code_sentence_and_remedy(serve: Any, connect: Any) -> None:
    sent = LimbeckError(ErrorCode.JOB_NOT_FOUND, "There is no job abcdefgh.")
    client = connect(serve(lambda message: error_reply(sent)).endpoint)
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetJob(job_id="abcdefgh"))
    assert (caught.value.code, caught.value.message, caught.value.remedy) == (sent.code, sent.message, sent.remedy)


def test_error_codes_of_the_future_become_internal_and_stay_readable(serve: Any, connect: Any) -> None:
    reply = messages.ErrorReply(code="MOON_IN_THE_WRONG_PHASE", message="Wait for the moon.")
    client = connect(serve(lambda message: reply).endpoint)
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.INTERNAL
    assert "MOON_IN_THE_WRONG_PHASE" in caught.value.message


def test_an_address_that_is_none_is_a_sentence(connect: Any) -> None:
    client = connect("where the server is")
    with pytest.raises(LimbeckError, match="no address"):
        client.call(messages.GetStatus())


@pytest.mark.parametrize(("low", "high", "older"), [(2, 3, "server"), (0, 0, "client")])
def test_versions_without_overlap_name_the_older_side(low: int, high: int, older: str) -> None:
    with pytest.raises(LimbeckError, match=f"the {older} is older") as caught:
        choose_major(messages.Hello(major_min=low, major_max=high, client="x"))
    assert caught.value.code == ErrorCode.PROTOCOL_UNSUPPORTED


def test_versions_that_overlap_agree_on_ours() -> None:
    assert choose_major(messages.Hello(major_min=1, major_max=4, client="x")) == messages.PROTOCOL_MAJOR
