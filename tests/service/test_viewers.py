"""Viewers' cameras: from a request to the worker, and their pictures back. Real server, real worker process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from limbeck_protocol import messages
from limbeck_protocol.client import Client
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.messages import GetPreview, Preview, ViewerCamera

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")


def camera(number: int, size: int = 48) -> ViewerCamera:
    matrix = np.eye(4, dtype=np.float32)
    matrix[2, 3] = 2.0
    return ViewerCamera(camera_to_world=matrix, lens=np.array([1.0, number, 0.0], np.float32), size=size)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, tools: Any) -> Iterator[Any]:
    running = tools.start_server_process(tmp_path_factory.mktemp("watched") / "home", entry="toy_worker:looks")
    yield running
    assert running.stop() == 0


@pytest.fixture
def job(watched: Any, tools: Any) -> Iterator[tuple[Client, str]]:
    client = watched.client()
    job_id = client.submit(tools.make_recipe(steps=2000)).job_id
    tools.wait_for_state(client, job_id, "running")
    yield client, job_id
    client.cancel(job_id)
    tools.wait_for_state(client, job_id, "cancelled")
    client.close()


def ask(client: Client, job_id: str, viewer: ViewerCamera | None, after: int = 0, wait_ms: int = 5000) -> Preview:
    message = GetPreview(job_id=job_id, after_generation=after, wait_ms=wait_ms, viewer=viewer)
    reply = client.call(message)
    assert isinstance(reply, Preview)
    return reply


def ask_until_seen(client: Client, job_id: str, viewer: ViewerCamera) -> Preview:
    """The next picture from this camera: earlier ones, and the job's own, come before it."""
    reply, deadline = ask(client, job_id, viewer), time.monotonic() + 5
    while not (reply.from_viewer and reply.view is not None and reply.view.lens[1] == viewer.lens[1]):
        assert time.monotonic() < deadline
        reply = ask(client, job_id, viewer, reply.generation)
    return reply


def test_a_viewer_gets_a_picture_from_its_own_camera(job: tuple[Client, str]) -> None:
    client, job_id = job
    for number, size in ((3, 48), (4, 20)):
        reply = ask_until_seen(client, job_id, camera(number, size))
        assert reply.image is not None
        assert reply.image.shape == (size, size, 4)
        assert (reply.image == number).all()
        assert reply.view is not None
        assert np.array_equal(reply.view.camera_to_world, camera(number).camera_to_world)


def test_a_viewer_gets_the_jobs_own_pictures_too_and_others_get_nothing_else(job: tuple[Client, str]) -> None:
    client, job_id = job
    kinds, generations, after = set(), [], 0
    for _ in range(12):
        reply = ask(client, job_id, camera(5), after)
        kinds.add(reply.from_viewer)
        after = reply.generation
        generations.append(after)
    assert kinds == {True, False}
    assert generations == sorted(set(generations))
    for _ in range(5):
        reply = ask(client, job_id, None, after)
        assert not reply.from_viewer
        after = reply.generation


def test_the_newest_camera_counts(job: tuple[Client, str]) -> None:
    client, job_id = job
    tickets = [client.request(GetPreview(job_id=job_id, viewer=camera(n)), listed=False) for n in range(20, 60)]
    deadline = time.monotonic() + 5
    while not all(ticket.done for ticket in tickets):
        assert time.monotonic() < deadline
        client.wait(0.05)
    seen, after = set(), 0
    for _ in range(20):
        reply = ask(client, job_id, camera(60), after)
        after = reply.generation
        if reply.from_viewer and reply.view is not None:
            seen.add(int(reply.view.lens[1]))
    assert 60 in seen
    assert len(seen & set(range(20, 59))) < 20, "a camera that was overtaken gets no picture"


def test_the_view_being_optimised_rides_beside_progress(job: tuple[Client, str]) -> None:
    client, job_id = job
    ask_until_seen(client, job_id, camera(7))
    events = client.events(0, job_id)
    assert events.views[job_id].lens.tolist() == [1.0, 7.0, 0.0]
    assert events.views[job_id].camera_to_world.shape == (4, 4)


def test_a_client_of_version_1_0_gets_no_arrays_that_it_could_not_read(
    job: tuple[Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, job_id = job
    ask_until_seen(client, job_id, camera(7))
    assert client.events(0, job_id).views
    monkeypatch.setattr(messages, "PROTOCOL_MINOR", 0)  # in this process: the client's alone
    assert client.events(0, job_id).views == {}
    at_once = ask(client, job_id, None)
    later = ask(client, job_id, None, after=at_once.generation)
    for reply in (at_once, later):
        assert reply.image is not None
        assert reply.view is None


def test_a_worker_that_does_not_listen_stops_neither_the_server_nor_a_cancel(
    job: tuple[Client, str], watched: Any, tools: Any
) -> None:
    client, job_id = job
    os.kill(watched.pid_of(job_id), signal.SIGSTOP)
    slowest = 0.0
    for number in range(600):  # far more than a pipe holds
        begun = time.monotonic()
        ask(client, job_id, camera(number % 900), after=10**9, wait_ms=0)
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 1.0
    client.cancel(job_id)
    assert tools.wait_for_state(client, job_id, "cancelled", timeout_s=5)


def test_a_camera_that_makes_no_sense_is_refused(job: tuple[Client, str]) -> None:
    client, job_id = job
    good = camera(1)
    cases: dict[str, Callable[[], ViewerCamera]] = {
        "viewer.lens": lambda: ViewerCamera(camera_to_world=good.camera_to_world, lens=np.zeros(3, np.float32)),
        "viewer.camera_to_world": lambda: ViewerCamera(camera_to_world=2 * good.camera_to_world, lens=good.lens),
        "viewer.size": lambda: camera(1, size=4096),
    }
    for field, make in cases.items():
        with pytest.raises(LimbeckError) as caught:
            ask(client, job_id, make())
        assert caught.value.code == "INVALID_FIELD"
        assert caught.value.remedy.field == field


def test_a_viewer_of_a_job_that_has_no_worker_is_answered_at_once(watched: Any, tools: Any) -> None:
    client = watched.client()
    job_id = client.submit(tools.make_recipe(steps=1)).job_id
    tools.wait_for_state(client, job_id, "succeeded")
    begun = time.monotonic()
    assert ask(client, job_id, camera(1), after=10**6).image is None
    assert time.monotonic() - begun < 2.0
