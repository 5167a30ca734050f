"""From worker's words to stored states, also while the disk is full. Real store, real worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from limbeck_protocol.discovery import generate_keys
from limbeck_protocol.messages import Catalog, ErrorReply, GetJob, JobInfo, Submit
from limbeck_server.service.access import AllowList
from limbeck_server.service.endpoint import Endpoint, WakeUp
from limbeck_server.service.executors.local import LocalExecutor
from limbeck_server.service.handlers import Service
from limbeck_server.service.job_queue import QueueLimits
from limbeck_server.service.job_runner import JobRunner
from limbeck_server.service.job_store import JobStore, recipe_digest
from limbeck_server.service.preview_mailbox import PreviewMailbox

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")
JOB = "job-0001"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    opened = JobStore(tmp_path / "jobs.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def runner_of(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., JobRunner]]:
    """Makes the runner of a worker entry: `runner_of("toy_worker:talks")`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made: list[JobRunner] = []

    def make(entry: str) -> JobRunner:
        executor = LocalExecutor(entry)
        made.append(JobRunner(store, executor, PreviewMailbox(), tmp_path / "jobs", QueueLimits()))
        return made[-1]

    yield make
    for runner in made:
        runner.stop()


def advance_until(runner: JobRunner, store: JobStore, *states: str) -> None:
    deadline = time.monotonic() + 15
    while store.state(JOB) not in states:
        assert time.monotonic() < deadline, f"the job is still {store.state(JOB)}"
        runner.advance()
        time.sleep(0.01)


def fill_disk(store: JobStore, pages_left: int = 0) -> None:
    """Let SQLite itself refuse to grow the file, as it does when the disk is full."""
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages + pages_left}")


def free_disk(store: JobStore) -> None:
    store._connection.execute("PRAGMA max_page_count=1000000")


def test_a_full_disk_delays_a_job_and_loses_nothing(
    store: JobStore, runner_of: Callable[..., JobRunner], tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck_server.service.job_runner.RETRY_S", 0.1)
    runner = runner_of("toy_worker:talks")
    recipe = tools.make_recipe()
    store.submit(JOB, recipe_digest(recipe), recipe)
    advance_until(runner, store, "starting")
    fill_disk(store, pages_left=8)
    for _ in range(150):
        runner.advance()
        time.sleep(0.01)
    stuck = len(store.events(0, JOB, 1000))
    assert store.state(JOB) == "running", "it cannot be told how the job went on"
    free_disk(store)
    advance_until(runner, store, "succeeded")
    events = store.events(0, JOB, 1000)
    assert len(events) > stuck
    assert [event.data["text"].split()[0] for event in events if event.kind == "notice"] == [str(n) for n in range(10)]
    assert [event.data["state"] for event in events if event.kind == "state"] == [
        "queued",
        "starting",
        "running",
        "exporting",
        "succeeded",
    ]
    assert store.job(JOB).metrics == {"notices": 10}


def test_a_job_whose_folder_cannot_be_made_fails_before_it_starts(
    store: JobStore, runner_of: Callable[..., JobRunner], tools: Any, tmp_path: Path
) -> None:
    runner = runner_of("toy_worker:run")
    (tmp_path / "jobs").write_text("a file where the folder should be")
    recipe = tools.make_recipe()
    store.submit(JOB, recipe_digest(recipe), recipe)
    runner.advance()
    job = store.job(JOB)
    assert (job.state, job.attempt) == ("failed", 0)
    assert job.error is not None
    assert job.error.code == "CANNOT_WRITE"
    assert "could not be written" in job.error.message


@pytest.fixture
def endpoint(store: JobStore, runner_of: Callable[..., JobRunner], tmp_path: Path) -> Iterator[Endpoint]:
    """An endpoint that is bound nowhere: its answers without its socket."""
    service = Service(
        store=store,
        runner=runner_of("toy_worker:run"),
        previews=PreviewMailbox(),
        limits=QueueLimits(),
        jobs_folder=tmp_path / "jobs",
        complete_recipe=lambda recipe: recipe,
        catalog=lambda: Catalog(losses=[], priors=[], presets=[]),
        version="test",
        store_id=store.store_id,
        boot_id="boot",
        started=time.monotonic(),
    )
    context: zmq.Context[Any] = zmq.Context()
    wake = WakeUp()
    keys = generate_keys()
    made = Endpoint(context, keys, AllowList(tmp_path / "keys" / "allowed.json", keys.public_key), service, wake)
    yield made
    made.close()
    wake.close()
    context.term()


def test_a_submit_on_a_full_disk_is_refused_with_its_code_and_accepted_later(
    endpoint: Endpoint, store: JobStore, tools: Any
) -> None:
    message = Submit(job_id=JOB, recipe=tools.make_recipe("a " + "very " * 300 + "long prompt"))
    for number in range(10, 40):  # until the first page that is not there
        fill_disk(store)
        reply = endpoint._answer(Submit(job_id=f"job-00{number}", recipe=message.recipe))
        if isinstance(reply, ErrorReply):
            break
    assert isinstance(reply, ErrorReply)
    assert reply.code == "DISK_FULL"
    refused = f"job-00{number}"
    missing = endpoint._answer(GetJob(job_id=refused))
    assert isinstance(missing, ErrorReply)
    assert missing.code == "JOB_NOT_FOUND"
    free_disk(store)
    assert isinstance(endpoint._answer(Submit(job_id=refused, recipe=message.recipe)), JobInfo)


def test_a_fault_of_ours_is_answered_without_its_details(
    endpoint: Endpoint, store: JobStore, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job_id: str, digest: str) -> None:
        raise KeyError("/a/path/nobody/should/see")

    monkeypatch.setattr(store, "find_submitted", broken)
    reply = endpoint._answer(Submit(job_id=JOB, recipe=tools.make_recipe()))
    assert isinstance(reply, ErrorReply)
    assert reply.code == "INTERNAL"
    assert "path" not in reply.message
