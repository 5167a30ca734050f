"""`limbeck keys`, and the line that `limbeck serve` prints where other machines reach it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from limbeck_protocol.discovery import generate_keys, key_as_hex, parse_connection_line, read_server_record


def allowed(limbeck) -> dict[str, str]:
    answer = limbeck("keys", "list", "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)["allowed"]


def test_a_key_is_allowed_listed_and_revoked(limbeck, home: Path) -> None:
    key = generate_keys().public_key
    assert "Only your own key" in limbeck("keys", "list").stderr
    answer = limbeck("keys", "allow", "artist", key_as_hex(key))
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == "artist may talk to this server now.\n"
    assert allowed(limbeck) == {"artist": key_as_hex(key)}
    assert f"{key_as_hex(key)}  artist" in limbeck("keys", "list").stdout
    path = home / "keys" / "allowed.json"
    assert path.stat().st_mode & 0o077 == 0
    assert json.loads(path.read_text()) == {"artist": key}
    answer = limbeck("keys", "revoke", "artist", "--json")
    assert json.loads(answer.stdout) == {"allowed": {}}
    assert limbeck("keys", "revoke", "artist").returncode == 1


def test_both_ways_of_writing_a_key_are_the_same(limbeck) -> None:
    key = generate_keys().public_key
    for written in (key_as_hex(key), key_as_hex(key).upper(), key):
        answer = limbeck("keys", "allow", "--json", "studio", "--", written)
        assert json.loads(answer.stdout)["allowed"]["studio"] == key_as_hex(key), answer.stderr
    limbeck("keys", "revoke", "studio")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("artist", "123"), "64 hex digits"),
        (("artist", "g" * 64), "64 hex digits"),
        (("no/such/name", "0" * 64), "a name of up to 64"),
    ],
)
def test_what_is_no_key_or_no_name_is_refused_with_a_sentence(limbeck, words: tuple[str, str], sentence: str) -> None:
    answer = limbeck("keys", "allow", *words)
    assert answer.returncode == 1
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr
    assert allowed(limbeck) == {}


def own_address() -> str:
    from limbeck_server.cli.announcement import outward_address

    address = outward_address(socket.AF_INET)
    if address is None:
        pytest.skip("this machine has no address besides loopback")
    return address


@pytest.mark.parametrize("host", ["own", "0.0.0.0"])
def test_a_server_bound_wide_prints_the_line_to_paste(tmp_path: Path, host: str, limbeck) -> None:
    address = own_address()
    environment = {**os.environ, "LIMBECK_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "limbeck_server.cli"]
    key = key_as_hex(generate_keys().public_key)
    subprocess.run([*command, "keys", "allow", "somebody", key], env=environment, check=True, capture_output=True)
    bind = f"tcp://{address if host == 'own' else host}:*"
    said = tmp_path / "said.txt"
    with said.open("wb") as output:
        server = subprocess.Popen([*command, "serve", "--bind", bind, "--wide"], env=environment, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while "keys allow" not in said.read_text():
                assert server.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.1)
            line = next(line for line in said.read_text().splitlines() if line.startswith("limbeck://"))
            record = read_server_record(tmp_path / "run" / "server.json")
            assert record is not None
            port = record.endpoint.rpartition(":")[2]
            assert parse_connection_line(line) == (f"tcp://{address}:{port}", record.server_key)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)


def test_a_server_on_loopback_prints_none() -> None:
    from limbeck_protocol.discovery import ServerRecord
    from limbeck_server.cli.announcement import announce

    record = ServerRecord(
        endpoint="tcp://127.0.0.1:41234",
        server_key=generate_keys().public_key,
        major_min=1,
        major_max=1,
        pid=1,
        boot_id="",
        store_id="",
        version="",
    )
    assert announce(record, "tcp://127.0.0.1:*") == ["Limbeck listens on tcp://127.0.0.1:41234. Ctrl-C stops it."]
    assert len(announce(record, "tcp://localhost:*")) == 1
    assert len(announce(record, "tcp://lo:*")) == 1
    wide = announce(record, "tcp://[fd00::7]:*")
    assert any(line.startswith("limbeck://[fd00::7]:41234#") for line in wide)


def test_the_line_of_a_server_bound_to_an_interface_names_its_address() -> None:
    from limbeck_protocol.discovery import ServerRecord
    from limbeck_server.cli.announcement import announce

    record = ServerRecord(
        endpoint="tcp://192.0.2.7:41234",
        server_key=generate_keys().public_key,
        major_min=1,
        major_max=1,
        pid=1,
        boot_id="",
        store_id="",
        version="",
    )
    assert announce(record, "tcp://eth0:*")[2].startswith("limbeck://192.0.2.7:41234#")
