"""The conveniences that wait: submitting, following to the end, finding the server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limbeck_protocol import messages as m
from limbeck_protocol.client import Client, Patience
from limbeck_protocol.codec import encode_message
from limbeck_protocol.discovery import (
    ServerRecord,
    client_keys_path,
    create_or_load_keys,
    read_server_record,
    write_server_record,
)
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.job_states import JobState
from limbeck_protocol.recipe import Image, Recipe, Settings, Start
from limbeck_protocol.replies import error_reply, shorten_to_fit

LONG = Patience(timeout_s=2.5, tries=3)
JOB = "abcdefgh"
RECIPE = Recipe(prompt="a yellow duck")


class Story:
    """A job that goes on by one event each time somebody asks for events, and ends with the last."""

    def __init__(self, states: list[JobState]) -> None:
        self.events = [
            m.Event(sequence=10 * number, job_id=JOB, time=0.0, kind="state", data={"state": str(state)})
            for number, state in enumerate(states, start=1)
        ]
        self.told = 0
        self.generation = 0
        self.drop = 0

    def answer(self, message: m.Request) -> m.Reply | None:
        if self.drop > 0:
            self.drop -= 1
            return None
        match message:
            case m.GetEvents():
                known = sum(event.sequence <= message.after_sequence for event in self.events)
                self.told = max(self.told, known) + 1
                new = [e for e in self.events[: self.told] if e.sequence > message.after_sequence]
                step = min(self.told, len(self.events))
                progress = m.Progress(phase="optimise", step=step, steps=len(self.events))
                return m.Events(events=new, last_sequence=self.events[-1].sequence, progress={JOB: progress})
            case m.GetPreview():
                self.generation += 1
                image = np.full((2, 2, 3), self.generation, np.uint8)
                return m.Preview(job_id=JOB, generation=self.generation, step=self.generation, image=image)
            case m.GetJob() | m.CancelJob() | m.Submit():
                state = self.events[min(self.told, len(self.events)) - 1].data["state"] if self.told else "queued"
                return m.JobInfo(job_id=message.job_id, state=JobState(state), recipe=RECIPE, created=0.0)
        raise AssertionError(f"unexpected {message}")


STATES = [JobState.QUEUED, JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.SUCCEEDED]


def test_a_job_is_followed_to_its_end_without_gap_or_repeat(serve: Any, connect: Any) -> None:
    client = connect(serve(Story(STATES).answer).endpoint, patience=LONG)
    events: list[m.Event] = []
    steps: list[int] = []
    previews: list[int] = []
    job = client.follow(
        JOB,
        on_event=events.append,
        on_progress=lambda progress: steps.append(progress.step),
        on_preview=lambda preview: previews.append(preview.generation),
        timeout_s=20,
    )
    assert job.state is JobState.SUCCEEDED
    assert [event.sequence for event in events] == [10, 20, 30, 40, 50]
    assert client.poll() == []  # nothing piles up for somebody who never polls
    assert steps == sorted(set(steps))
    assert previews == sorted(set(previews))
    assert previews


def test_following_goes_on_after_the_last_event_known(serve: Any, connect: Any) -> None:
    client = connect(serve(Story(STATES).answer).endpoint, patience=LONG)
    events: list[m.Event] = []
    client.follow(JOB, on_event=events.append, timeout_s=20, after=30)
    assert [event.sequence for event in events] == [40, 50]


def test_a_job_that_ended_before_is_followed_at_once(serve: Any, connect: Any) -> None:
    story = Story(STATES)
    story.told = len(STATES)
    client = connect(serve(story.answer).endpoint, patience=LONG)
    assert client.follow(JOB, timeout_s=20, after=50).state is JobState.SUCCEEDED


def test_following_gives_up_when_asked_to_and_says_that_the_job_goes_on(serve: Any, connect: Any) -> None:
    story = Story(STATES)

    def answer(message: m.Request) -> m.Reply | None:
        time.sleep(0.05)
        return m.Events(events=[], last_sequence=0) if isinstance(message, m.GetEvents) else story.answer(message)

    client = connect(serve(answer).endpoint, patience=LONG)
    with pytest.raises(LimbeckError, match="goes on") as caught:
        client.follow(JOB, timeout_s=0.4)
    assert caught.value.code == ErrorCode.TIMEOUT


def test_an_unknown_job_cannot_be_followed(serve: Any, connect: Any) -> None:
    missing = error_reply(LimbeckError(ErrorCode.JOB_NOT_FOUND, "There is no such job."))
    client = connect(serve(lambda message: missing).endpoint, patience=LONG)
    with pytest.raises(LimbeckError) as caught:
        client.follow(JOB, timeout_s=5)
    assert caught.value.code == ErrorCode.JOB_NOT_FOUND


def test_following_survives_an_outage_longer_than_three_tries(serve: Any, connect: Any) -> None:
    story = Story(STATES)
    client = connect(serve(story.answer).endpoint, patience=Patience(timeout_s=0.1, tries=2))
    events: list[m.Event] = []

    def on_event(event: m.Event) -> None:
        events.append(event)
        if event.sequence == 20:
            story.drop = 3

    job = client.follow(JOB, on_event, on_progress=lambda progress: None, timeout_s=60, outage_s=50)
    assert job.state is JobState.SUCCEEDED
    assert [event.sequence for event in events] == [10, 20, 30, 40, 50]


def test_following_ends_when_the_outage_lasts(serve: Any, connect: Any) -> None:
    server = serve(Story([JobState.QUEUED] * 10_000).answer)
    client = connect(server.endpoint, patience=Patience(timeout_s=0.1, tries=2))

    def stop(event: m.Event) -> None:
        if event.sequence == 30:
            server.stop()

    with pytest.raises(LimbeckError) as caught:
        client.follow(JOB, on_event=stop, timeout_s=30, outage_s=0.5)
    assert caught.value.code == ErrorCode.SERVER_LOST


def test_an_error_in_a_callback_stops_the_following(serve: Any, connect: Any) -> None:
    client = connect(serve(Story(STATES).answer).endpoint, patience=LONG)

    def on_event(event: m.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.follow(JOB, on_event=on_event, timeout_s=5)


def test_recipes_are_checked_before_they_leave(serve: Any, connect: Any) -> None:
    server = serve(Story(STATES).answer)
    client = connect(server.endpoint)
    with pytest.raises(LimbeckError) as caught:
        client.submit(Recipe(prompt="  "))
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert server.seen == []


def test_a_submit_that_is_repeated_keeps_its_job_id(serve: Any, connect: Any) -> None:
    story = Story(STATES)
    story.drop = 2
    server = serve(story.answer)
    job = connect(server.endpoint).submit(RECIPE)
    sent = [message for _, message in server.seen]
    assert [message.job_id for message in sent] == [job.job_id] * 3
    assert len(job.job_id) == 26


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMBECK_HOME", str(tmp_path))
    return tmp_path


def publish(server: Any, **changes: Any) -> None:
    values = {
        "endpoint": server.endpoint,
        "server_key": server.keys.public_key,
        "major_min": 1,
        "major_max": 1,
        "pid": 1,
        "boot_id": "b",
        "store_id": "s",
        "version": "0.1.0",
        **changes,
    }
    write_server_record(ServerRecord(**values))


def test_a_running_server_is_found_without_being_told(serve: Any, home: Path) -> None:
    server = serve(Story(STATES).answer)
    server.allowed.add(create_or_load_keys(client_keys_path()).public_key)
    publish(server)
    with Client.discover(name="test") as client:
        assert client.job(JOB).job_id == JOB


def test_no_record_is_no_server(home: Path) -> None:
    with pytest.raises(LimbeckError) as caught:
        Client.discover()
    assert caught.value.code == ErrorCode.NO_SERVER
    assert "limbeck serve" in caught.value.remedy.label


def test_a_record_left_by_a_dead_server_is_no_server_at_once(serve: Any, home: Path) -> None:
    server = serve()
    publish(server)
    server.stop()
    begun = time.monotonic()
    with pytest.raises(LimbeckError) as caught:
        Client.discover()
    assert caught.value.code == ErrorCode.NO_SERVER
    assert time.monotonic() - begun < 1.5
    assert read_server_record() is not None  # it is the server's to remove


def test_a_server_of_another_protocol_is_named_before_connecting(serve: Any, home: Path) -> None:
    publish(serve(), major_min=8, major_max=9, version="9.9")
    with pytest.raises(LimbeckError, match=r"9\.9") as caught:
        Client.discover()
    assert caught.value.code == ErrorCode.PROTOCOL_UNSUPPORTED


def test_discovered_clients_follow_the_server_to_its_next_port(serve: Any, home: Path) -> None:
    first = serve(Story(STATES).answer)
    key = create_or_load_keys(client_keys_path()).public_key
    first.allowed.add(key)
    publish(first)
    with Client.discover() as client:
        client.job(JOB)
        first.stop()
        second = serve(Story(STATES).answer)
        second.allowed.add(key)
        publish(second)
        assert client.job(JOB).job_id == JOB


NEWER: dict[str, dict[str, Any]] = {
    "image": {"image": Image(generator="mlp")},
    "start": {"start": Start(job_id=JOB, prompt="a red mug")},
    "settings.gradient_clamp": {"settings": Settings(gradient_clamp=None)},
    "settings.loss_parameters.sampler": {"settings": Settings(loss_parameters={"sampler": "product", "bandwidth": 1})},
}


@pytest.mark.parametrize("what", NEWER)
def test_an_older_server_is_not_sent_what_it_cannot_run(what: str, serve: Any, connect: Any) -> None:
    server = serve(Story(STATES).answer)
    server.minor = 1
    client = connect(server.endpoint, patience=LONG)
    with pytest.raises(LimbeckError) as caught:
        client.submit(Recipe(prompt="a yellow duck", **NEWER[what]))
    assert "This server (tiny, protocol 1.1) is older than the recipe" in caught.value.message
    assert what in caught.value.message
    assert caught.value.remedy.action == "update"
    assert "start it again" in caught.value.remedy.label
    assert not server.seen
    older = Recipe(prompt="a yellow duck", settings=Settings(steps=3, loss_parameters={"bandwidth": 1.0}))
    assert client.submit(older, JOB).job_id == JOB


def test_a_server_of_1_2_is_sent_all_but_images(serve: Any, connect: Any) -> None:
    server = serve(Story(STATES).answer)
    server.minor = 2
    client = connect(server.endpoint, patience=LONG)
    for what, newer in NEWER.items():
        recipe = Recipe(prompt="a yellow duck", **newer)
        if what == "image":
            with pytest.raises(LimbeckError, match=r"protocol 1\.2\) is older than the recipe: it does not know image"):
                client.submit(recipe, JOB)
            assert not server.seen
        else:
            assert client.submit(recipe, JOB).job_id == JOB


def test_a_server_of_today_is_sent_all_of_it(serve: Any, connect: Any) -> None:
    client = connect(serve(Story(STATES).answer).endpoint, patience=LONG)
    for newer in NEWER.values():
        assert client.submit(Recipe(prompt="a yellow duck", **newer), JOB).job_id == JOB


def jobs_of(count: int, text: int) -> m.JobList:
    job = m.JobInfo(job_id=JOB, state=JobState.QUEUED, recipe=Recipe(prompt="x" * text), created=0.0)
    return m.JobList(jobs=[job] * count)


def test_lists_that_fit_are_not_shortened() -> None:
    assert shorten_to_fit(jobs_of(20, 100)) == jobs_of(20, 100)
    status = m.GetStatus()
    assert shorten_to_fit(status) is status  # type: ignore[arg-type]


def test_lists_that_are_too_long_keep_their_beginning() -> None:
    shortened = shorten_to_fit(jobs_of(4000, 1900))
    assert isinstance(shortened, m.JobList)
    assert 100 < len(shortened.jobs) < 4000
    encode_message(shortened, request_id="r")
    many = [m.Event(sequence=n, job_id=JOB, time=0.0, kind="notice", data={"text": "x" * 2000}) for n in range(1, 1001)]
    events = shorten_to_fit(m.Events(events=many, last_sequence=1000))
    assert isinstance(events, m.Events)
    assert events.events[0].sequence == 1
    assert events.last_sequence == 1000
    assert 100 < len(events.events) < 1000
