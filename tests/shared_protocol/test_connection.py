"""The client's non-blocking heart: resends, reconnects, refusals, and nothing left behind."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from typing import Any

import pytest
import zmq
from limbeck_protocol import messages
from limbeck_protocol.client import Client, ConnectionState, Patience
from limbeck_protocol.discovery import generate_keys
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.tickets import Ticket, new_job_id

STATUS = messages.Status(server="tiny", seconds_up=1.0, queued=0, running=0, data_folder_free_bytes=1, device="cpu")
LONG = Patience(timeout_s=2.5, tries=3)


def poll_until_done(client: Client, ticket: Ticket, timeout_s: float = 10.0) -> list[Ticket]:
    completed: list[Ticket] = []
    deadline = time.monotonic() + timeout_s
    while not ticket.done:
        assert time.monotonic() < deadline
        completed += client.poll()
        time.sleep(0.005)
    return completed + client.poll()


def expect(code: ErrorCode, ticket: Ticket) -> LimbeckError:
    with pytest.raises(LimbeckError) as caught:
        ticket.result()
    assert caught.value.code == code
    return caught.value


def test_requests_are_answered_by_polling_alone(serve: Any, connect: Any) -> None:
    client = connect(serve().endpoint)
    assert client.state is ConnectionState.CONNECTING
    ticket = client.request(messages.GetStatus())
    assert not ticket.done
    with pytest.raises(LimbeckError, match="not come yet"):
        ticket.result()
    assert poll_until_done(client, ticket) == [ticket]
    assert ticket.result() == STATUS
    assert client.state is ConnectionState.CONNECTED
    assert client.welcome is not None
    assert client.welcome.store_id == "store"
    assert client.poll() == []


def test_polling_never_waits(serve: Any, connect: Any) -> None:
    client = connect(serve(lambda message: None).endpoint)
    client.request(messages.GetStatus())
    slowest = 0.0
    for _ in range(100):
        begun = time.perf_counter()
        client.poll()
        slowest = max(slowest, time.perf_counter() - begun)
        time.sleep(0.002)
    assert slowest < 0.1


def test_many_requests_are_each_answered_once(serve: Any, connect: Any) -> None:
    server = serve(lambda message: messages.ArtifactChunk(offset=message.offset, data=b_array(message.offset)))
    client = connect(server.endpoint, patience=LONG)
    tickets = [
        client.request(messages.ReadArtifact(job_id="abcdefgh", name="m", offset=offset, length=9))
        for offset in range(200)
    ]
    completed = poll_until_done(client, tickets[-1])
    assert sorted(ticket.request_id for ticket in completed) == sorted(ticket.request_id for ticket in tickets)
    assert [ticket.result().offset for ticket in tickets] == list(range(200))


def b_array(number: int) -> Any:
    import numpy as np

    return np.array([number % 256], np.uint8)


def test_an_unanswered_request_is_repeated_under_its_id(serve: Any, connect: Any) -> None:
    silent = 2

    def answer(message: messages.Request) -> messages.Reply | None:
        nonlocal silent
        silent -= 1
        return None if silent >= 0 else STATUS

    server = serve(answer)
    client = connect(server.endpoint)
    assert client.call(messages.GetStatus()) == STATUS
    assert len(server.seen) == 3
    assert len({request_id for request_id, _ in server.seen}) == 1


def test_a_server_that_stays_silent_is_a_timeout_after_three_tries(serve: Any, connect: Any) -> None:
    server = serve(lambda message: None)
    client = connect(server.endpoint)
    ticket = client.request(messages.GetStatus())
    begun = time.monotonic()
    poll_until_done(client, ticket)
    expect(ErrorCode.TIMEOUT, ticket)
    assert 0.8 < time.monotonic() - begun < 3.0
    assert len(server.seen) == 3


def test_held_requests_are_given_the_time_they_asked_for(serve: Any, connect: Any) -> None:
    def answer(message: messages.Request) -> messages.Reply | None:
        time.sleep(0.8)
        return messages.Events(events=[], last_sequence=0)

    server = serve(answer)
    client = connect(server.endpoint)
    assert client.events(wait_ms=800).last_sequence == 0
    assert len(server.seen) == 1


def test_a_late_answer_to_a_repeated_request_is_ignored(serve: Any, connect: Any) -> None:
    def answer(message: messages.Request) -> messages.Reply | None:
        time.sleep(0.5)
        return STATUS

    server = serve(answer)
    client = connect(server.endpoint, patience=Patience(timeout_s=0.35, tries=5))
    client.call(messages.GetStatus())
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert client.poll() == []
        time.sleep(0.01)


def test_what_is_pending_survives_a_restart_of_the_server(serve: Any, connect: Any) -> None:
    first = serve(lambda message: None)
    client = connect(first.endpoint, patience=LONG)
    ticket = client.request(messages.GetEvents(wait_ms=20_000))
    while not first.seen:
        client.poll()
        time.sleep(0.01)
    first.stop()
    while client.state is not ConnectionState.LOST:
        client.poll()
        time.sleep(0.01)
    second = serve(lambda message: messages.Events(events=[], last_sequence=7), port=first.port)
    poll_until_done(client, ticket)
    assert ticket.result().last_sequence == 7  # type: ignore[attr-defined]
    assert second.seen[0][0] == first.seen[0][0] == ticket.request_id
    assert client.state is ConnectionState.CONNECTED


def test_a_server_that_comes_back_elsewhere_is_found(serve: Any, connect: Any) -> None:
    first = serve()
    where = [(first.endpoint, first.keys.public_key)]
    client = connect(first.endpoint, patience=LONG, locate=lambda: where[0])
    client.call(messages.GetStatus())
    first.stop()
    second = serve()
    where[0] = (second.endpoint, second.keys.public_key)
    assert second.port != first.port
    assert client.call(messages.GetStatus()) == STATUS


def test_a_server_that_is_gone_for_good_is_server_lost(serve: Any, connect: Any) -> None:
    server = serve()
    client = connect(server.endpoint)
    client.call(messages.GetStatus())
    server.stop()
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.SERVER_LOST


def test_a_server_that_never_greets_is_given_up(serve: Any, connect: Any) -> None:
    server = serve()
    server.greets = False
    client = connect(server.endpoint)
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus())
    assert caught.value.code == ErrorCode.TIMEOUT
    assert server.seen == []


def test_abandoned_requests_are_done_and_their_answers_ignored(serve: Any, connect: Any) -> None:
    gate = threading.Event()

    def answer(message: messages.Request) -> messages.Reply | None:
        gate.wait(5)
        return STATUS

    client = connect(serve(answer).endpoint, patience=LONG)
    ticket = client.request(messages.GetStatus())
    client.wait(0.2)
    client.abandon(ticket)
    gate.set()
    expect(ErrorCode.CANCELLED, ticket)
    assert client.call(messages.GetStatus()) == STATUS
    assert client.poll() == []


def test_a_call_that_takes_too_long_is_a_timeout(serve: Any, connect: Any) -> None:
    client = connect(serve(lambda message: None).endpoint, patience=LONG)
    with pytest.raises(LimbeckError) as caught:
        client.call(messages.GetStatus(), timeout_s=0.3)
    assert caught.value.code == ErrorCode.TIMEOUT


def test_calls_leave_other_tickets_to_poll(serve: Any, connect: Any) -> None:
    client = connect(serve().endpoint)
    ticket = client.request(messages.GetCatalog())
    client.call(messages.GetStatus())
    assert client.poll() == [ticket]


def test_an_answer_of_the_wrong_kind_is_an_error(serve: Any, connect: Any) -> None:
    client = connect(serve().endpoint)
    with pytest.raises(LimbeckError, match="Expected a Catalog"):
        client.catalog()


def test_an_answer_that_cannot_be_read_ends_the_waiting(serve: Any, connect: Any) -> None:
    unreadable = messages.Events(events=[], last_sequence="many")  # type: ignore[arg-type]
    client = connect(serve(lambda message: unreadable).endpoint, patience=LONG)
    begun = time.monotonic()
    with pytest.raises(LimbeckError) as caught:
        client.events()
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert time.monotonic() - begun < 2.0


def test_what_cannot_travel_is_refused_before_it_is_sent(serve: Any, connect: Any) -> None:
    client = connect(serve().endpoint)
    with pytest.raises(LimbeckError) as caught:
        client.request(messages.Hello(major_min=1, major_max=1, client="x" * 100_000))
    assert caught.value.code == ErrorCode.TOO_LARGE


def test_closing_ends_everything_and_may_be_repeated(serve: Any, connect: Any, client_keys: Any) -> None:
    server = serve(lambda message: None)
    with zmq.Context() as context:
        client = connect(server.endpoint, context=context)
        ticket = client.request(messages.GetStatus())
        client.wait(0.2)
        client.close()
        client.close()
        expect(ErrorCode.CANCELLED, ticket)
        assert client.poll() == [ticket]
        assert client.poll() == []
        with pytest.raises(LimbeckError, match="closed"):
            client.request(messages.GetStatus())
        assert not context.closed  # a shared context is its owner's to end
    # Leaving the block ends the context; that would hang if a socket were still open.


@pytest.mark.parametrize("outcome", ["connected", "denied", "nobody", "unused"])
def test_no_socket_is_left_behind(serve: Any, server_keys: Any, client_keys: Any, outcome: str) -> None:
    server = serve()
    keys = generate_keys() if outcome == "denied" else client_keys
    endpoint = "tcp://127.0.0.1:1" if outcome == "nobody" else server.endpoint
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with Client(endpoint, server_keys.public_key, keys, patience=Patience(0.1, 2)) as client:
            if outcome != "unused":
                ticket = client.request(messages.GetStatus())
                poll_until_done(client, ticket)
        del client
        gc.collect()


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_job_id() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(len(job_id) == 26 and job_id.isalnum() for job_id in ids)
    earlier = new_job_id()
    time.sleep(0.003)
    assert earlier < new_job_id()
