"""Folders, key files and `server.json`: found without asking, closed to others."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from limbeck_protocol import discovery
from limbeck_protocol.discovery import (
    KeyPair,
    ServerRecord,
    connection_line,
    create_or_load_keys,
    find_folders,
    generate_keys,
    key_as_hex,
    parse_connection_line,
    parse_key,
    read_server_record,
    remove_server_record,
    write_server_record,
)
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.private_files import make_private_folder, read_private_file, replace_private_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="mode bits say nothing on Windows")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMBECK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def record(boot_id: str = "boot", **changes: object) -> ServerRecord:
    values: dict[str, object] = {
        "endpoint": "tcp://127.0.0.1:40123",
        "server_key": generate_keys().public_key,
        "major_min": 1,
        "major_max": 1,
        "pid": 12,
        "boot_id": boot_id,
        "store_id": "store",
        "version": "0.1.0",
        **changes,
    }
    return ServerRecord(**values)  # type: ignore[arg-type]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_one_variable_moves_all_folders(home: Path) -> None:
    folders = find_folders()
    assert (folders.runtime, folders.data, folders.keys) == (home / "run", home / "data", home / "keys")
    assert not home.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the conventions of Linux")
def test_linux_folders_follow_the_xdg_variables(tmp_path: Path) -> None:
    found = find_folders(
        {"XDG_RUNTIME_DIR": str(tmp_path), "XDG_DATA_HOME": "/somewhere/data", "XDG_CONFIG_HOME": "/somewhere/config"}
    )
    assert found.runtime == tmp_path / "limbeck"
    assert found.data == Path("/somewhere/data/limbeck")
    assert found.keys == Path("/somewhere/config/limbeck/keys")


@pytest.mark.skipif(sys.platform != "linux", reason="the conventions of Linux")
def test_without_a_runtime_folder_the_record_lies_with_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    found = find_folders({"XDG_RUNTIME_DIR": "/nowhere/at/all", "XDG_DATA_HOME": "/somewhere/data"})
    assert found.runtime == Path("/somewhere/data/limbeck/run")


def test_keys_are_made_once_and_closed_to_others(home: Path) -> None:
    path = discovery.client_keys_path()
    previous = os.umask(0)  # even where everything is open by default
    try:
        keys = create_or_load_keys(path)
    finally:
        os.umask(previous)
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    assert create_or_load_keys(path) == keys
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_secret_key_stays_out_of_logs() -> None:
    keys = generate_keys()
    assert keys.secret_key not in repr(keys)
    assert keys.secret_key not in f"{keys}"


def test_two_processes_that_make_keys_at_once_agree(home: Path) -> None:
    found: list[KeyPair] = []
    gate = threading.Barrier(8)

    def make() -> None:
        gate.wait()
        found.append(create_or_load_keys(discovery.client_keys_path()))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({keys.public_key for keys in found}) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_key_files_that_others_reach_are_refused_with_the_fix(home: Path, mode: int) -> None:
    path = discovery.client_keys_path()
    create_or_load_keys(path)
    path.chmod(mode)
    with pytest.raises(LimbeckError) as caught:
        create_or_load_keys(path)
    assert str(path) in caught.value.message
    assert f"chmod 600 '{path}'" in caught.value.remedy.label


def test_a_key_folder_that_others_reach_is_refused_with_the_fix(home: Path) -> None:
    folder = find_folders().keys
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(LimbeckError) as caught:
        create_or_load_keys(folder / "client.json")
    assert f"chmod 700 '{folder}'" in caught.value.remedy.label
    assert list(folder.iterdir()) == []


def test_key_files_of_somebody_else_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = discovery.client_keys_path()
    create_or_load_keys(path)
    monkeypatch.setattr(os, "geteuid", lambda: 987_654)
    with pytest.raises(LimbeckError, match="belongs to another user"):
        create_or_load_keys(path)


def test_links_are_not_followed(home: Path, tmp_path: Path) -> None:
    path = discovery.client_keys_path()
    create_or_load_keys(path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LimbeckError, match="link"):
        create_or_load_keys(path)


def test_dangling_links_create_nothing_elsewhere(home: Path, tmp_path: Path) -> None:
    path = discovery.client_keys_path()
    make_private_folder(path.parent)
    path.symlink_to(tmp_path / "planted")
    with pytest.raises(LimbeckError):
        create_or_load_keys(path)
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b"\xff", b'{"public_key": "x", "secret_key": "y"}', b'{"public_key": 3, "secret_key": 4}'],
)
def test_damaged_key_files_are_refused_with_the_fix(home: Path, content: bytes) -> None:
    path = discovery.client_keys_path()
    replace_private_file(path, content)
    with pytest.raises(LimbeckError) as caught:
        create_or_load_keys(path)
    assert f"rm '{path}'" in caught.value.remedy.label


def test_halves_of_different_pairs_are_refused(home: Path) -> None:
    one, other = generate_keys(), generate_keys()
    mixed = {"public_key": one.public_key, "secret_key": other.secret_key}
    replace_private_file(discovery.client_keys_path(), msgspec.json.encode(mixed))
    with pytest.raises(LimbeckError):
        create_or_load_keys(discovery.client_keys_path())


def test_named_pipes_and_folders_in_the_place_of_keys_do_not_hang(home: Path) -> None:
    path = discovery.client_keys_path()
    make_private_folder(path.parent)
    os.mkfifo(path, 0o600)
    with pytest.raises(LimbeckError, match="no plain file"):
        create_or_load_keys(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(LimbeckError, match="no plain file"):
        create_or_load_keys(path)


def test_a_key_folder_that_cannot_be_made_is_a_sentence(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file where the folder should be")
    with pytest.raises(LimbeckError) as caught:
        create_or_load_keys(discovery.client_keys_path())
    assert caught.value.code in {ErrorCode.CANNOT_WRITE, ErrorCode.CANNOT_READ}


def test_the_servers_record_comes_back_and_is_closed_to_others(home: Path) -> None:
    assert read_server_record() is None
    written = record()
    write_server_record(written)
    assert read_server_record() == written
    assert mode_of(discovery.server_record_path()) == 0o600
    newer = record("boot2")
    write_server_record(newer)
    assert read_server_record() == newer
    assert len(list(discovery.server_record_path().parent.iterdir())) == 1


def test_a_server_removes_its_own_record_only(home: Path) -> None:
    write_server_record(record("newer"))
    assert not remove_server_record("older")
    assert read_server_record() is not None
    assert remove_server_record("newer")
    assert not remove_server_record("newer")
    assert read_server_record() is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"no json", msgspec.json.encode(record(endpoint="ipc:///x")), b"x" * 100_000]
)
def test_damaged_records_are_refused_with_a_sentence(home: Path, content: bytes) -> None:
    replace_private_file(discovery.server_record_path(), content)
    with pytest.raises(LimbeckError) as caught:
        read_server_record()
    assert caught.value.code == ErrorCode.CANNOT_READ


def test_a_record_that_others_could_have_written_is_refused(home: Path) -> None:
    write_server_record(record())
    discovery.server_record_path().chmod(0o622)
    with pytest.raises(LimbeckError, match="other users"):
        read_server_record()


def test_records_of_newer_releases_are_read(home: Path) -> None:
    written = record()
    replace_private_file(
        discovery.server_record_path(), msgspec.json.encode({**msgspec.to_builtins(written), "new": 1})
    )
    assert read_server_record() == written


def test_missing_files_read_as_none(home: Path) -> None:
    assert read_private_file(home / "nothing") is None


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:40123", "tcp://studio.example:1", "tcp://[::1]:65535"])
def test_connection_lines_come_back_even_wrapped(endpoint: str) -> None:
    for _ in range(50):  # keys hold characters that terminals and chats mangle; the line must not
        key = generate_keys().public_key
        line = connection_line(endpoint, key)
        assert " " not in line
        assert not set(line) & set("<>&'\"\\$`")
        assert parse_connection_line(f"  {line[:30]}\n  {line[30:]} ") == (endpoint, key)


@pytest.mark.parametrize(
    "line", ["", "studio:41234", "limbeck://studio", "limbeck://studio:99999#" + "0" * 64, "limbeck://studio:1#00"]
)
def test_other_lines_are_refused_with_the_fix(line: str) -> None:
    with pytest.raises(LimbeckError) as caught:
        parse_connection_line(line)
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.remedy.label


def test_a_key_is_the_same_in_hex_digits_and_as_it_is() -> None:
    for _ in range(50):
        key = generate_keys().public_key
        digits = key_as_hex(key)
        assert digits.isalnum()
        assert parse_key(key) == parse_key(f" {digits[:20]}\n{digits[20:]} ") == parse_key(digits.upper()) == key


@pytest.mark.parametrize("text", ["", "0" * 63, "g" * 64, "~" * 40])
def test_what_is_no_key_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(LimbeckError) as caught:
        parse_key(text)
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.remedy.label
