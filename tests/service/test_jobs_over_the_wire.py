"""A job's life as a client sees it: idempotent submits, cancel, dead workers, clients that come and go, artifacts."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limbeck_protocol.client import Client, new_job_id
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.messages import Event, Preview, Progress

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")


def test_a_job_runs_to_its_end_and_its_artifact_arrives_whole(client: Client, tools: Any) -> None:
    job = client.submit(tools.make_recipe(steps=10, seed=3))
    assert job.state == "queued"
    assert job.recipe.versions == {"toy": "1"}, "the stored recipe is the completed one"
    events: list[Event] = []
    progress: list[Progress] = []
    pictures: list[Preview] = []
    ended = client.follow(job.job_id, events.append, progress.append, pictures.append, timeout_s=20)
    assert (ended.state, ended.attempt, ended.progress) == ("succeeded", 1, None)
    assert ended.metrics["error"] < 0.02
    states = [event.data["state"] for event in events if event.kind == "state"]
    assert states == ["queued", "starting", "running", "exporting", "succeeded"]
    sequences = [event.sequence for event in events]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert [event.kind for event in events if event.kind != "state"] == [
        "phase",
        "phase",
        "artifact",
        "notice",
        "metrics",
    ]
    assert [one.step for one in progress] == sorted({one.step for one in progress})
    generations = [picture.generation for picture in pictures]
    assert generations == sorted(set(generations))
    assert pictures[-1].step == 10
    assert pictures[-1].image is not None
    assert pictures[-1].image.shape == (32, 32, 3)
    (artifact,) = ended.artifacts
    content = client.fetch_artifact(job.job_id, "picture.bin")
    assert len(content) == artifact.size_bytes > 2 << 20
    assert hashlib.blake2b(content, digest_size=32).hexdigest() == artifact.digest


def test_a_repeated_submit_is_the_same_job_and_another_recipe_is_a_conflict(client: Client, tools: Any) -> None:
    job_id = new_job_id()
    first = client.submit(tools.make_recipe(steps=2), job_id)
    again = client.submit(tools.make_recipe(steps=2), job_id)
    assert (again.job_id, again.created, again.recipe) == (first.job_id, first.created, first.recipe)
    with pytest.raises(LimbeckError) as caught:
        client.submit(tools.make_recipe(steps=3), job_id)
    assert caught.value.code == "JOB_ID_CONFLICT"
    ended = client.follow(job_id, timeout_s=20)
    assert client.submit(tools.make_recipe(steps=2), job_id).state == ended.state == "succeeded"
    assert sum(job.job_id == job_id for job in client.jobs().jobs) == 1


FOLLOWER = """
import sys
from limbeck_protocol.client import Client
with Client.discover(name="doomed") as client:
    client.follow(sys.argv[1], on_event=lambda event: print(event.sequence, flush=True))
"""


def test_a_killed_client_costs_nothing_and_the_next_one_misses_nothing(server: Any, client: Client, tools: Any) -> None:
    job_id = client.submit(tools.make_recipe(steps=30)).job_id
    doomed = subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, job_id],
        env=tools.environment_of(server.home),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert doomed.stdout is not None
    seen = [int(doomed.stdout.readline()) for _ in range(4)]  # queued, starting, running, the first phase
    doomed.kill()
    doomed.wait()
    doomed.stdout.close()
    assert client.job(job_id).state == "running"

    newcomer = server.client()
    rest: list[Event] = []
    ended = newcomer.follow(job_id, rest.append, after=seen[-1], timeout_s=20)
    assert ended.state == "succeeded"
    told = seen + [event.sequence for event in rest]
    assert told == [event.sequence for event in newcomer.events(0, job_id).events]
    assert all(later > earlier for earlier, later in itertools.pairwise(told))
    content = newcomer.fetch_artifact(job_id, "picture.bin")
    assert hashlib.blake2b(content, digest_size=32).hexdigest() == ended.artifacts[0].digest


@pytest.mark.parametrize("prompt", ["fit", "busy step", "deaf"])
def test_a_cancelled_job_has_no_worker_after_two_seconds(server: Any, client: Client, tools: Any, prompt: str) -> None:
    job_id = client.submit(tools.make_recipe(prompt, steps=10_000)).job_id
    pid = server.pid_of(job_id)
    tools.wait_for_state(client, job_id, "running")
    begun = time.monotonic()
    assert client.cancel(job_id).state == "cancelling"
    tools.wait_for(lambda: not tools.is_alive(pid), 3.0)
    assert time.monotonic() - begun <= 2.0
    ended = tools.wait_for_state(client, job_id, "cancelled")
    assert ended.error is None
    assert client.cancel(job_id).state == "cancelled", "a second cancel changes nothing"


def test_a_queued_job_is_cancelled_at_once_and_never_starts(client: Client, tools: Any) -> None:
    running = client.submit(tools.make_recipe(steps=10_000)).job_id
    waiting = client.submit(tools.make_recipe(steps=1)).job_id
    tools.wait_for_state(client, running, "running")
    status = client.status()
    assert (status.queued, status.running) == (1, 1)
    assert client.cancel(waiting).state == "cancelled"
    client.cancel(running)
    tools.wait_for_state(client, running, "cancelled")
    assert client.job(waiting).attempt == 0


def test_a_worker_killed_by_hand_fails_its_job_and_the_next_one_runs(server: Any, client: Client, tools: Any) -> None:
    doomed = client.submit(tools.make_recipe(steps=10_000)).job_id
    following = client.submit(tools.make_recipe(steps=2)).job_id
    pid = server.pid_of(doomed)
    tools.wait_for_state(client, doomed, "running")
    os.kill(pid, signal.SIGKILL)
    begun = time.monotonic()
    ended = tools.wait_for_state(client, doomed, "failed")
    assert time.monotonic() - begun < 2.0
    assert ended.error.code == "WORKER_LOST"
    assert "SIGKILL" in ended.error.message
    assert client.follow(following, timeout_s=20).state == "succeeded"


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("raise", "INTERNAL"),
        ("limbeck error", "NO_SURFACE"),
        ("device memory", "OUT_OF_MEMORY"),
        ("exit", "WORKER_LOST"),
        ("promise a file", "ARTIFACT_NOT_FOUND"),
    ],
)
def test_a_failing_worker_fails_its_job_with_a_code_and_the_server_lives(
    server: Any, client: Client, tools: Any, prompt: str, code: str
) -> None:
    job_id = client.submit(tools.make_recipe(prompt, steps=1)).job_id
    ended = client.follow(job_id, timeout_s=20)
    assert ended.state == "failed"
    assert ended.error is not None
    assert ended.error.code == code
    assert str(server.home) not in ended.error.message
    assert "Traceback" not in ended.error.message
    assert ended.error.remedy is not None
    last = client.events(0, job_id).events[-1]
    assert (last.data["state"], last.data["code"]) == ("failed", code)
    assert client.status().running in (0, 1)


def test_previews_are_the_newest_only(client: Client, tools: Any) -> None:
    job_id = client.submit(tools.make_recipe(steps=30)).job_id
    first = client.preview(job_id, wait_ms=5000)
    assert first.generation >= 1
    time.sleep(0.5)  # several pictures pass by unseen
    second = client.preview(job_id, first.generation, wait_ms=5000)
    assert second.generation > first.generation + 1
    assert second.generation == second.step, "the toy counts its steps as it counts its pictures"
    assert not np.array_equal(first.image, second.image)
    assert client.preview(job_id, second.generation + 100).image is None
    client.follow(job_id, timeout_s=20)
    begun = time.monotonic()
    assert client.preview(job_id, 30, wait_ms=5000).image is None
    assert time.monotonic() - begun < 2.0, "an ended job makes no other picture, so nobody waits for one"


def test_artifacts_are_read_by_name_only_where_they_are_on_record(server: Any, client: Client, tools: Any) -> None:
    job_id = client.submit(tools.make_recipe(steps=1)).job_id
    client.follow(job_id, timeout_s=20)
    artifacts: Path = server.folder(job_id) / "artifacts"
    (artifacts / "unrecorded.txt").write_text("secret")
    for name in ("unrecorded.txt", "missing.glb"):
        with pytest.raises(LimbeckError) as caught:
            client.fetch_artifact(job_id, name)
        assert caught.value.code == "ARTIFACT_NOT_FOUND"
    (artifacts / "picture.bin").unlink()
    with pytest.raises(LimbeckError) as caught:
        client.fetch_artifact(job_id, "picture.bin")
    assert caught.value.code == "ARTIFACT_NOT_FOUND"
