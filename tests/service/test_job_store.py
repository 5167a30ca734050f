"""The store: nothing acknowledged is lost, no illegal move, events numbered without a gap."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.job_states import FINAL_STATES, LEGAL_MOVES, IllegalMoveError, JobState
from limbeck_protocol.messages import Artifact, ErrorReply
from limbeck_protocol.recipe import Cameras, Recipe, Rig, Settings
from limbeck_server.service.job_queue import QueueLimits, check_room, next_job
from limbeck_server.service.job_store import JobStore, recipe_digest

RED_CUBE = Recipe(prompt="a red cube")
ERROR = ErrorReply(code=ErrorCode.INTERNAL, message="It broke.", remedy=remedy_for(ErrorCode.INTERNAL))
TO_SUCCESS = (JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.SUCCEEDED)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    opened = JobStore(tmp_path / "jobs.sqlite3")
    yield opened
    opened.close()


def put(store: JobStore, job_id: str, recipe: Recipe = RED_CUBE) -> None:
    store.submit(job_id, recipe_digest(recipe), recipe)


def test_a_submitted_job_is_queued_with_its_event(store: JobStore) -> None:
    put(store, "job-0001")
    job = store.job("job-0001")
    assert (job.state, job.attempt, job.ended, job.error) == (JobState.QUEUED, 0, None, None)
    assert job.recipe == RED_CUBE
    (event,) = store.events(0, None, 10)
    assert (event.sequence, event.job_id, event.kind, event.data) == (1, "job-0001", "state", {"state": "queued"})


def test_the_same_submit_is_known_and_another_recipe_is_a_conflict(store: JobStore) -> None:
    assert store.find_submitted("job-0001", recipe_digest(RED_CUBE)) is None
    put(store, "job-0001")
    known = store.find_submitted("job-0001", recipe_digest(RED_CUBE))
    assert known is not None
    assert known.job_id == "job-0001"
    with pytest.raises(LimbeckError) as caught:
        store.find_submitted("job-0001", recipe_digest(Recipe(prompt="a blue cube")))
    assert caught.value.code == ErrorCode.JOB_ID_CONFLICT


def test_camera_matrices_and_unset_settings_survive_storage(store: JobStore) -> None:
    matrices = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    cameras = Cameras(
        camera_to_world=matrices,
        lens=np.ones((3, 3), np.float32),
        weight=np.ones(3, np.float32),
        prompt_suffix=["", "", ""],
    )
    recipe = Recipe(prompt="a duck", rig=Rig(cameras=cameras), settings=Settings(steps=7))
    put(store, "job-0001", recipe)
    stored = store.job("job-0001").recipe
    assert stored.rig.cameras is not None
    assert np.array_equal(stored.rig.cameras.camera_to_world, matrices)
    assert recipe_digest(stored) == recipe_digest(recipe)


def test_a_whole_life_is_told_in_numbered_events(store: JobStore) -> None:
    put(store, "job-0001")
    store.move("job-0001", *TO_SUCCESS[:2])
    store.add_event("job-0001", "phase", {"name": "optimise", "title": "Distilling"})
    store.add_artifact("job-0001", Artifact(name="a.glb", size_bytes=3, digest="00", media_type="model/gltf-binary"))
    store.finish("job-0001", {"iou": 0.8}, *TO_SUCCESS[2:])
    job = store.job("job-0001")
    assert (job.state, job.attempt, job.metrics) == (JobState.SUCCEEDED, 1, {"iou": 0.8})
    assert job.ended is not None
    assert [artifact.name for artifact in job.artifacts] == ["a.glb"]
    events = store.events(0, "job-0001", 100)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.data.get("state", event.kind) for event in events] == [
        "queued",
        "starting",
        "running",
        "phase",
        "artifact",
        "metrics",
        "exporting",
        "succeeded",
    ]
    assert store.last_sequence() == len(events)


def test_a_failure_keeps_code_sentence_and_remedy(store: JobStore) -> None:
    put(store, "job-0001")
    store.move("job-0001", JobState.STARTING)
    store.move("job-0001", JobState.FAILED, error=ERROR)
    assert store.job("job-0001").error == ERROR
    assert store.events(2, None, 10)[0].data == {
        "state": "failed",
        "code": "INTERNAL",
        "message": "It broke.",
        "remedy": {"action": "show_log", "label": ERROR.remedy.label if ERROR.remedy else "", "field": None},
    }


@pytest.mark.parametrize("before", list(JobState))
@pytest.mark.parametrize("after", list(JobState))
def test_only_moves_of_the_table_are_possible(store: JobStore, before: JobState, after: JobState) -> None:
    roads: dict[JobState, tuple[JobState, ...]] = {
        JobState.QUEUED: (),
        JobState.STARTING: TO_SUCCESS[:1],
        JobState.RUNNING: TO_SUCCESS[:2],
        JobState.EXPORTING: TO_SUCCESS[:3],
        JobState.SUCCEEDED: TO_SUCCESS,
        JobState.CANCELLING: (JobState.STARTING, JobState.CANCELLING),
        JobState.CANCELLED: (JobState.CANCELLED,),
        JobState.FAILED: (JobState.FAILED,),
    }
    put(store, "job-0001")
    store.move("job-0001", *roads[before], error=ERROR)
    told = store.last_sequence()
    if after in LEGAL_MOVES[before]:
        store.move("job-0001", after, error=ERROR)
        assert store.state("job-0001") == after
        assert (store.job("job-0001").ended is not None) == (after in FINAL_STATES)
    else:
        with pytest.raises(IllegalMoveError):
            store.move("job-0001", after, error=ERROR)
        assert store.state("job-0001") == before
        assert store.last_sequence() == told


def test_moves_that_end_illegally_change_nothing_at_all(store: JobStore) -> None:
    put(store, "job-0001")
    with pytest.raises(IllegalMoveError):
        store.finish("job-0001", {"iou": 1.0}, JobState.STARTING, JobState.SUCCEEDED)
    job = store.job("job-0001")
    assert (job.state, job.attempt, job.metrics) == (JobState.QUEUED, 0, {})
    put(store, "job-0002")
    assert store.last_sequence() == 2, "a rolled-back event leaves no gap"


def test_jobs_that_a_dead_server_left_are_ended(store: JobStore) -> None:
    for number, road in enumerate([(), TO_SUCCESS[:1], TO_SUCCESS[:2], TO_SUCCESS[:3], TO_SUCCESS], start=1):
        put(store, f"job-000{number}")
        store.move(f"job-000{number}", *road)
    put(store, "job-0006")
    store.move("job-0006", JobState.STARTING, JobState.CANCELLING)
    assert store.recover() == ["job-0002", "job-0003", "job-0004", "job-0006"]
    states = {job.job_id: job.state.value for job in store.jobs(10)}
    assert states == {
        "job-0001": "queued",
        "job-0002": "failed",
        "job-0003": "failed",
        "job-0004": "failed",
        "job-0005": "succeeded",
        "job-0006": "cancelled",
    }
    error = store.job("job-0003").error
    assert error is not None
    assert error.code == ErrorCode.WORKER_LOST
    assert store.recover() == []


def test_jobs_are_listed_newest_first_and_queued_oldest_first(store: JobStore) -> None:
    for number in range(1, 5):
        put(store, f"job-000{number}")
    assert [job.job_id for job in store.jobs(2)] == ["job-0004", "job-0003"]
    assert store.oldest_queued() == "job-0001"
    store.move("job-0001", JobState.CANCELLED)
    assert next_job(store, 0, QueueLimits()) == "job-0002"
    assert next_job(store, 1, QueueLimits()) is None
    assert next_job(store, 1, QueueLimits(running=2)) == "job-0002"


def test_a_full_queue_refuses(store: JobStore) -> None:
    put(store, "job-0001")
    check_room(store, QueueLimits(queued=2))
    put(store, "job-0002")
    with pytest.raises(LimbeckError, match="2 jobs wait already") as caught:
        check_room(store, QueueLimits(queued=2))
    assert caught.value.code == ErrorCode.QUOTA_EXCEEDED


def test_events_are_filtered_limited_and_resumed(store: JobStore) -> None:
    for number in range(1, 4):
        put(store, f"job-000{number}")
        store.add_event(f"job-000{number}", "notice", {"text": "hello"})
    assert [event.sequence for event in store.events(2, None, 3)] == [3, 4, 5]
    assert [event.sequence for event in store.events(0, "job-0002", 10)] == [3, 4]


@pytest.mark.parametrize("look", ["state", "job"])
def test_an_unknown_job_is_an_error(store: JobStore, look: str) -> None:
    with pytest.raises(LimbeckError) as caught:
        getattr(store, look)("job-none")
    assert caught.value.code == ErrorCode.JOB_NOT_FOUND


def test_unknown_artifacts_and_their_jobs_are_told_apart(store: JobStore) -> None:
    put(store, "job-0001")
    with pytest.raises(LimbeckError, match="has no artifact") as caught:
        store.artifact("job-0001", "a.glb")
    assert caught.value.code == ErrorCode.ARTIFACT_NOT_FOUND
    with pytest.raises(LimbeckError) as caught:
        store.artifact("job-0002", "a.glb")
    assert caught.value.code == ErrorCode.JOB_NOT_FOUND


def test_a_store_opened_again_is_the_same_store(tmp_path: Path) -> None:
    first = JobStore(tmp_path / "jobs.sqlite3")
    put(first, "job-0001")
    identity = first.store_id
    first.close()
    second = JobStore(tmp_path / "jobs.sqlite3")
    assert (second.store_id, second.last_sequence(), second.job("job-0001").recipe) == (identity, 1, RED_CUBE)
    second.close()
    if os.name == "posix":
        assert (tmp_path / "jobs.sqlite3").stat().st_mode & 0o077 == 0


def test_the_store_writes_ahead_and_syncs_fully(store: JobStore) -> None:
    assert store._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    JobStore(tmp_path / "jobs.sqlite3").close()
    connection = sqlite3.connect(tmp_path / "jobs.sqlite3")
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(LimbeckError, match="version 99"):
        JobStore(tmp_path / "jobs.sqlite3")


@pytest.mark.parametrize("older", [1, 2])
def test_a_store_of_an_earlier_version_is_read_and_closed_to_the_release_that_wrote_it(
    tmp_path: Path, older: int
) -> None:
    def version() -> int:
        connection = sqlite3.connect(tmp_path / "jobs.sqlite3")
        try:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()

    first = JobStore(tmp_path / "jobs.sqlite3")
    put(first, "job-0001")
    first.close()
    assert version() == 3  # so is a store that was made new
    connection = sqlite3.connect(tmp_path / "jobs.sqlite3")
    connection.execute(f"PRAGMA user_version={older}")
    connection.close()
    second = JobStore(tmp_path / "jobs.sqlite3")
    assert second.job("job-0001").recipe == RED_CUBE
    second.close()
    assert version() == 3


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite3"
    text.write_bytes(b"this is no database" * 100)
    with pytest.raises(LimbeckError, match="could not be opened"):
        JobStore(text)
    assert text.read_bytes() == b"this is no database" * 100
    other = sqlite3.connect(tmp_path / "other.sqlite3")
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    with pytest.raises(LimbeckError, match=r"not one of Limbeck's"):
        JobStore(tmp_path / "other.sqlite3")


WRITER = """
import sys
from pathlib import Path
from limbeck_protocol.recipe import Recipe
from limbeck_server.service.job_store import JobStore
store = JobStore(Path(sys.argv[1]))
for number in range(100000):
    store.submit(f"job-{number:06d}", "digest", Recipe(prompt="a duck"))
    print(f"job-{number:06d}", flush=True)
"""


def test_no_acknowledged_job_is_lost_to_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite3"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    process.wait()
    process.stdout.close()
    store = JobStore(path)
    known = {job.job_id for job in store.jobs(100_000)}
    assert set(acknowledged) <= known
    assert [event.sequence for event in store.events(0, None, 100_000)] == list(range(1, len(known) + 1))
    store.close()
