"""Workers in real processes: what they say arrives in order, and they are gone when they should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from limbeck_protocol.messages import (
    ArtifactWritten,
    Finished,
    Notice,
    PhaseStarted,
    PreviewReady,
    WorkerFailed,
    WorkerProgress,
)
from limbeck_protocol.recipe import Recipe, recipe_to_json
from limbeck_server.service.executors.executor import Executor, WorkerEnded
from limbeck_server.service.executors.local import LocalExecutor, worker_environment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")
JOB = "job-0001"
MakeExecutor = Callable[..., LocalExecutor]


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeExecutor]:
    """Makes executors of the toy worker: `executor(entry="toy_worker:run")`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    made: list[LocalExecutor] = []

    def make(entry: str = "toy_worker:run") -> LocalExecutor:
        made.append(LocalExecutor(entry))
        return made[-1]

    yield make
    for one in made:
        one.close()


def start(executor: Executor, tmp_path: Path, recipe: Recipe) -> Path:
    folder = tmp_path / JOB
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe_to_json(recipe))
    executor.start(JOB, folder)
    return folder


def reports_until_end(executor: Executor, timeout_s: float = 10.0) -> list[Any]:
    deadline = time.monotonic() + timeout_s
    reports: list[Any] = []
    while time.monotonic() < deadline:
        reports += [report.what for report in executor.poll()]
        if reports and isinstance(reports[-1], WorkerEnded):
            return reports
        time.sleep(0.01)
    raise AssertionError(f"the worker did not end within {timeout_s:g} s; it said {reports}")


def test_a_worker_is_heard_in_order_and_ends(executor: MakeExecutor, tmp_path: Path, tools: Any) -> None:
    one = executor()
    folder = start(one, tmp_path, tools.make_recipe(steps=3))
    assert one.running() == 1
    reports = reports_until_end(one)
    step = [WorkerProgress, PreviewReady]
    end = [PhaseStarted, ArtifactWritten, Notice, Finished, WorkerEnded]
    assert [type(what) for what in reports] == [PhaseStarted, *step, *step, *step, *end]
    assert [what.step for what in reports if isinstance(what, PreviewReady)] == [1, 2, 3]
    assert reports[-1].how == "exit code 0"
    assert one.running() == 0
    assert (folder / "artifacts" / "picture.bin").exists()


@pytest.mark.parametrize(
    ("prompt", "code", "words"),
    [
        ("raise", "INTERNAL", "worker.log of job job-0001"),
        ("limbeck error", "NO_SURFACE", "There is nothing to see."),
        ("memory", "OUT_OF_MEMORY", "needs more memory"),
        ("device memory", "OUT_OF_MEMORY", "needs more memory"),
    ],
)
def test_an_exception_becomes_code_sentence_and_remedy(
    executor: MakeExecutor, tmp_path: Path, tools: Any, prompt: str, code: str, words: str
) -> None:
    one = executor()
    folder = start(one, tmp_path, tools.make_recipe(prompt))
    *_, failure, end = reports_until_end(one)
    assert isinstance(failure, WorkerFailed)
    assert failure.code == code
    assert words in failure.message
    assert "/some/path" not in failure.message
    assert failure.remedy.label
    assert end.how == "exit code 1"
    assert "Traceback" in (folder / "worker.log").read_text()


@pytest.mark.parametrize("entry", ["toy_worker:missing", "no_such_module:run", "toy_worker:not_a_number"])
def test_an_entry_that_cannot_be_used_is_a_failure(
    executor: MakeExecutor, tmp_path: Path, tools: Any, entry: str
) -> None:
    one = executor(entry)
    start(one, tmp_path, tools.make_recipe())
    *_, failure, _end = reports_until_end(one)
    assert failure.code == "INTERNAL"


def test_a_missing_folder_is_a_lost_worker_not_an_exception(executor: MakeExecutor, tmp_path: Path) -> None:
    one = executor()
    one.start(JOB, tmp_path / "nowhere")
    assert one.running() == 1
    (end,) = reports_until_end(one)
    assert "could not be started" in end.how
    assert one.running() == 0


@pytest.mark.parametrize(
    ("prompt", "how"), [("fit", "exit code 0"), ("busy step", "signal SIGTERM"), ("deaf", "signal SIGKILL")]
)
def test_a_cancelled_worker_is_gone_within_two_seconds(
    executor: MakeExecutor, tmp_path: Path, tools: Any, prompt: str, how: str
) -> None:
    one = executor()
    folder = start(one, tmp_path, tools.make_recipe(prompt, steps=10_000))
    pid = int(tools.wait_for(lambda: tools.read_if_there(folder / "pid")))
    time.sleep(0.2)
    begun = time.monotonic()
    one.cancel(JOB)
    one.cancel(JOB)
    reports = reports_until_end(one)
    assert time.monotonic() - begun <= 2.0
    assert not tools.is_alive(pid)
    assert reports[-1].how == how
    assert not any(isinstance(what, (Finished, WorkerFailed)) for what in reports)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_worker_is_reported_with_its_signal(
    executor: MakeExecutor, tmp_path: Path, tools: Any, number: signal.Signals
) -> None:
    one = executor()
    folder = start(one, tmp_path, tools.make_recipe(steps=1000))
    os.kill(int(tools.wait_for(lambda: tools.read_if_there(folder / "pid"))), number)
    assert reports_until_end(one)[-1].how == f"signal {number.name}"


def test_a_worker_that_leaves_without_a_word_is_reported_with_its_exit_code(
    executor: MakeExecutor, tmp_path: Path, tools: Any
) -> None:
    one = executor()
    start(one, tmp_path, tools.make_recipe("exit"))
    assert reports_until_end(one)[-1].how == "exit code 7"


@pytest.mark.parametrize("prompt", ["with child", "die with child"])
def test_nothing_that_a_worker_started_outlives_it(
    executor: MakeExecutor, tmp_path: Path, tools: Any, prompt: str
) -> None:
    one = executor()
    folder = start(one, tmp_path, tools.make_recipe(prompt, steps=2))
    reports_until_end(one)
    child = int((folder / "child").read_text())
    tools.wait_for(lambda: not tools.is_alive(child), 1.0)


def test_output_goes_to_the_log_and_secrets_stay_behind(
    executor: MakeExecutor, tmp_path: Path, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMBECK_SECRET_KEY", "hush")
    monkeypatch.setenv("LIMBECK_CACHE", "/somewhere")
    one = executor()
    folder = start(one, tmp_path, tools.make_recipe("print", steps=1))
    assert isinstance(reports_until_end(one)[-2], Finished)
    log = (folder / "worker.log").read_text()
    assert all(f"words on {what}" in log for what in ("standard output", "standard error", "descriptor one"))
    names = (folder / "environment").read_text().split()
    assert "LIMBECK_SECRET_KEY" not in names
    assert "LIMBECK_CACHE" in names
    assert int((folder / "priority").read_text()) >= 5


def test_only_limbecks_own_secrets_are_taken_from_the_environment() -> None:
    given = {"LIMBECK_TOKEN": "1", "LIMBECK_HOME": "2", "AWS_KEY": "3", "PATH": "4", "LIMBECK_SERVER_KEY": "5"}
    assert worker_environment(given) == {"LIMBECK_HOME": "2", "AWS_KEY": "3", "PATH": "4"}


def test_nonsense_on_the_pipe_ends_the_worker(executor: MakeExecutor, tmp_path: Path, tools: Any) -> None:
    one = executor("toy_worker:nonsense")
    start(one, tmp_path, tools.make_recipe())
    first, end = reports_until_end(one)
    assert first == Notice(text="first")
    assert "could not be understood" in end.how


def test_a_worker_that_finished_and_stays_is_ended(
    executor: MakeExecutor, tmp_path: Path, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck_server.service.executors.local.LINGER_S", 0.3)
    one = executor("toy_worker:stays")
    start(one, tmp_path, tools.make_recipe())
    finished, end = reports_until_end(one)
    assert isinstance(finished, Finished)
    assert end.how == "signal SIGTERM"


SUPERVISOR = """
import sys, time
from pathlib import Path
from limbeck_server.service.executors.local import LocalExecutor
executor = LocalExecutor("toy_worker:run")
executor.start("job-0001", Path(sys.argv[1]))
while True:
    executor.poll()
    time.sleep(0.02)
"""


@pytest.mark.parametrize("prompt", ["fit", "busy step", "with child"])
def test_a_worker_does_not_outlive_its_server(
    tmp_path: Path, tools: Any, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    folder = tmp_path / JOB
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe_to_json(tools.make_recipe(prompt, steps=10_000)))
    server = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder)])
    pids = [int(tools.wait_for(lambda: tools.read_if_there(folder / "pid")))]
    if prompt == "with child":
        pids.append(int(tools.wait_for(lambda: tools.read_if_there(folder / "child"))))
    time.sleep(0.2)
    server.kill()
    server.wait()
    tools.wait_for(lambda: not any(tools.is_alive(pid) for pid in pids), 2.0)
