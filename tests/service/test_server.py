"""Start, stop and start again: what survives, what is refused, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from limbeck_protocol.discovery import generate_keys, read_server_record
from limbeck_protocol.errors import LimbeckError
from limbeck_server.service.access import allow_client
from limbeck_server.service.launch import start_server

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and process groups")
HERE = Path(__file__).parent
Servers = Callable[..., Any]


def run_server(tools: Any, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself."""
    home.mkdir(mode=0o700, exist_ok=True)
    return subprocess.run(
        [sys.executable, str(HERE / "serve_toy.py"), json.dumps(options)],
        env=tools.environment_of(home),
        capture_output=True,
        text=True,
        timeout=15,
    )


def test_a_restart_keeps_jobs_events_and_artifacts(servers: Servers, tools: Any) -> None:
    first = servers()
    client = first.client()
    job_id = client.submit(tools.make_recipe(steps=2)).job_id
    before = client.follow(job_id, timeout_s=20)
    events = client.events(0).events
    assert first.stop() == 0
    second = servers()
    client = second.client()
    assert client.job(job_id) == before
    assert client.events(0).events == events
    assert len(client.fetch_artifact(job_id, "picture.bin")) == before.artifacts[0].size_bytes
    assert second.record.store_id == first.record.store_id
    assert second.record.boot_id != first.record.boot_id
    assert second.record.server_key == first.record.server_key


def test_a_stop_ends_the_worker_and_says_so_and_the_queue_goes_on_later(servers: Servers, tools: Any) -> None:
    first = servers()
    client = first.client()
    running = client.submit(tools.make_recipe(steps=10_000)).job_id
    waiting = client.submit(tools.make_recipe(steps=1)).job_id
    pid = first.pid_of(running)
    tools.wait_for_state(client, running, "running")
    begun = time.monotonic()
    assert first.stop(signal.SIGINT) == 0
    assert time.monotonic() - begun < 3.0
    assert not tools.is_alive(pid)
    assert read_server_record(first.home / "run" / "server.json") is None
    client = servers().client()
    ended = client.job(running)
    assert (ended.state, ended.error.code) == ("failed", "WORKER_LOST")
    assert "was stopped" in ended.error.message
    assert client.follow(waiting, timeout_s=20).state == "succeeded"


def test_a_killed_server_takes_its_worker_along_and_its_jobs_are_accounted_for(servers: Servers, tools: Any) -> None:
    first = servers()
    client = first.client()
    running = client.submit(tools.make_recipe(steps=10_000)).job_id
    waiting = client.submit(tools.make_recipe(steps=1)).job_id
    pid = first.pid_of(running)
    tools.wait_for_state(client, running, "running")
    first.stop(signal.SIGKILL)
    tools.wait_for(lambda: not tools.is_alive(pid), 2.0)
    second = servers()  # the stale record and the lock are no obstacle
    client = second.client()
    lost = client.job(running)
    assert (lost.state, lost.error.code) == ("failed", "WORKER_LOST")
    assert client.follow(waiting, timeout_s=20).state == "succeeded"
    sequences = [event.sequence for event in client.events(0).events]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_second_server_on_the_same_folder_names_the_first(servers: Servers, tools: Any, tmp_path: Path) -> None:
    first = servers()
    second = run_server(tools, tmp_path / "home")
    assert second.returncode == 4
    assert first.record.endpoint in second.stderr
    assert str(first.process.pid) in second.stderr
    assert "Traceback" not in second.stderr
    assert read_server_record(first.home / "run" / "server.json") == first.record
    assert first.client().status().running == 0


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"bind": "tcp://0.0.0.0:*"}, "--wide"),
        ({"bind": "tcp://0.0.0.0:*", "wide": True}, "allowed.json"),
        ({"bind": "tcp://*:*", "wide": True}, "allowed.json"),
    ],
)
def test_a_wide_bind_that_was_not_prepared_is_refused(tools: Any, tmp_path: Path, options: Any, fix: str) -> None:
    begun = time.monotonic()
    refused = run_server(tools, tmp_path / "home", **options)
    assert refused.returncode == 3
    assert fix in refused.stderr
    assert time.monotonic() - begun < 5.0
    assert not (tmp_path / "home" / "run" / "server.json").exists()


def test_a_prepared_wide_bind_serves(servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    allow_client(tmp_path / "home" / "keys" / "allowed.json", "studio", generate_keys().public_key)
    server = servers(bind="tcp://0.0.0.0:*", wide=True)
    assert server.record.endpoint.startswith("tcp://127.0.0.1:"), "where clients of this machine connect"
    assert server.client().status().queued == 0


def test_an_address_that_is_taken_is_a_sentence(servers: Servers, tools: Any, tmp_path: Path) -> None:
    first = servers()
    refused = run_server(tools, tmp_path / "other", bind=first.record.endpoint)
    assert refused.returncode == 1
    assert "cannot listen" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_keys_that_others_can_read_are_refused(servers: Servers, tools: Any) -> None:
    first = servers()
    first.stop()
    (first.home / "keys" / "server.json").chmod(0o644)
    refused = run_server(tools, first.home)
    assert refused.returncode == 1
    assert "chmod 600" in refused.stderr


def test_a_full_queue_refuses_with_a_code(servers: Servers, tools: Any) -> None:
    client = servers(queued=1).client()
    running = client.submit(tools.make_recipe(steps=10_000)).job_id
    tools.wait_for_state(client, running, "running")
    client.submit(tools.make_recipe(steps=1))
    with pytest.raises(LimbeckError) as caught:
        client.submit(tools.make_recipe(steps=1))
    assert caught.value.code == "QUOTA_EXCEEDED"


def test_an_idle_server_goes_by_itself(servers: Servers, tools: Any) -> None:
    server = servers(idle_exit_minutes=1.0 / 60)
    client = server.client()
    job_id = client.submit(tools.make_recipe(steps=10)).job_id
    assert client.follow(job_id, timeout_s=20).state == "succeeded"
    client.close()
    assert server.process.wait(10) == 0
    assert not (server.home / "run" / "server.json").exists()


def test_an_idle_server_costs_next_to_nothing(servers: Servers) -> None:
    server = servers()
    server.client().status()
    process = psutil.Process(server.process.pid)
    assert process.memory_info().rss < 80 * 2**20
    before, begun = process.cpu_times(), time.monotonic()
    time.sleep(1.5)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    assert used / (time.monotonic() - begun) <= 0.03


@pytest.fixture
def toy_arguments(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    return (str(HERE / "serve_toy.py"),)


def test_a_launched_server_answers_outlives_its_starter_and_is_found_again(
    tmp_path: Path, tools: Any, toy_arguments: tuple[str, ...]
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    record = start_server(home=home, arguments=toy_arguments)
    try:
        assert os.getsid(record.pid) == record.pid, "a session of its own: closing the starter's terminal does no harm"
        begun = time.monotonic()
        assert start_server(home=home, arguments=toy_arguments) == record
        assert time.monotonic() - begun < 3.0
    finally:
        os.kill(record.pid, signal.SIGKILL)
        tools.wait_for(lambda: not psutil.pid_exists(record.pid))  # it is reaped, too
    again = start_server(home=home, arguments=toy_arguments)
    try:
        assert again.pid != record.pid, "a stale record deceives nobody"
    finally:
        os.kill(again.pid, signal.SIGTERM)
        tools.wait_for(lambda: not psutil.pid_exists(again.pid))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-c", "raise SystemExit(5)"), "exit code 5"),
        (("-c", "import time; time.sleep(60)"), "did not answer within 1 s"),
    ],
)
def test_a_server_that_does_not_come_up_is_an_error_that_names_its_log(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    with pytest.raises(LimbeckError, match=words) as caught:
        start_server(home=tmp_path / "home", arguments=arguments, timeout_s=1.0)
    assert caught.value.code == "NO_SERVER"
    assert str(tmp_path / "home" / "data" / "server.log") in str(caught.value)


IMPORT_ALL = """
import importlib, pkgutil, sys
import limbeck_server.service
for found in pkgutil.walk_packages(limbeck_server.service.__path__, "limbeck_server.service."):
    importlib.import_module(found.name)
heavy = {"torch", "diffusers", "transformers", "nerfacc", "scipy", "PIL"} & set(sys.modules)
ours = [name for name in sys.modules if name.startswith("limbeck_server.") and ".service" not in name]
print(sorted(heavy), ours)
"""


def test_the_service_is_free_of_torch() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
