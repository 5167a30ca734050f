"""Who may talk to the server, and where it may listen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq
from limbeck_protocol.discovery import create_or_load_keys, generate_keys
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.transport import configure_server_socket
from limbeck_server.service.access import (
    AllowList,
    ZapHandler,
    allow_client,
    check_bind,
    check_refusal,
    is_wide,
    load_allowed,
    revoke_client,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir(mode=0o700)
    return tmp_path / "keys" / "allowed.json"


def test_the_own_key_is_always_allowed_and_others_come_and_go(path: Path) -> None:
    own, friend, stranger = (generate_keys().public_key for _ in range(3))
    allowed = AllowList(path, own)
    assert own in allowed
    assert friend not in allowed
    allow_client(path, "friend", friend)
    assert friend in allowed
    assert allowed.others() == 1
    assert stranger not in allowed
    revoke_client(path, "friend")
    assert friend not in allowed
    assert own in allowed


def test_the_list_is_readable_by_its_owner_only(path: Path) -> None:
    allow_client(path, "friend", generate_keys().public_key)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="mode bits")
def test_a_list_that_others_could_write_is_refused(path: Path) -> None:
    allow_client(path, "friend", generate_keys().public_key)
    path.chmod(0o644)
    with pytest.raises(LimbeckError, match="chmod 600"):
        AllowList(path, generate_keys().public_key)


def test_a_list_damaged_at_run_time_closes_the_door_to_all_but_the_owner(path: Path) -> None:
    own, friend = generate_keys().public_key, generate_keys().public_key
    allow_client(path, "friend", friend)
    allowed = AllowList(path, own)
    assert friend in allowed
    path.write_text("{")
    assert friend not in allowed
    assert own in allowed


@pytest.mark.parametrize(("name", "key"), [("x", "short"), ("x", "\n" * 40), ("", None), ("a/b\n", None)])
def test_keys_and_names_that_are_none_are_refused(path: Path, name: str, key: str | None) -> None:
    with pytest.raises(LimbeckError) as caught:
        allow_client(path, name, key or generate_keys().public_key)
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert load_allowed(path) == {}


def test_revoking_a_stranger_names_who_is_known(path: Path) -> None:
    allow_client(path, "friend", generate_keys().public_key)
    with pytest.raises(LimbeckError, match="holds friend"):
        revoke_client(path, "fiend")


@pytest.mark.parametrize(
    ("endpoint", "wide"),
    [
        ("tcp://127.0.0.1:*", False),
        ("tcp://127.8.9.10:5555", False),
        ("tcp://[::1]:5555", False),
        ("tcp://localhost:5555", False),
        ("tcp://0.0.0.0:5555", True),
        ("tcp://*:5555", True),
        ("tcp://[::]:5555", True),
        ("tcp://eth0:5555", True),
        ("tcp://lo:5555", True),
        ("tcp://192.168.1.2:5555", True),
        ("tcp://[::ffff:0.0.0.0]:5555", True),
        ("tcp://0:5555", True),
        ("tcp://no-such-host.invalid:5555", True),
    ],
)
def test_every_spelling_of_a_wide_bind_is_known(endpoint: str, wide: bool) -> None:
    assert is_wide(endpoint) is wide


@pytest.mark.parametrize("endpoint", ["ipc://socket", "tcp://127.0.0.1", "127.0.0.1:5555", ""])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(LimbeckError) as caught:
        is_wide(endpoint)
    assert caught.value.code == ErrorCode.INVALID_FIELD


def test_a_wide_bind_needs_the_flag_and_a_key(path: Path) -> None:
    own = generate_keys().public_key
    allowed = AllowList(path, own)
    check_bind("tcp://127.0.0.1:*", False, allowed)
    with pytest.raises(LimbeckError, match="--wide"):
        check_bind("tcp://0.0.0.0:*", False, allowed)
    with pytest.raises(LimbeckError, match=r"allowed\.json"):
        check_bind("tcp://0.0.0.0:*", True, allowed)
    allow_client(path, "myself", own)
    with pytest.raises(LimbeckError, match=r"allowed\.json"):
        check_bind("tcp://0.0.0.0:*", True, AllowList(path, own))
    allow_client(path, "friend", generate_keys().public_key)
    check_bind("tcp://0.0.0.0:*", True, AllowList(path, own))


class LetsAnybodyIn(AllowList):
    def __contains__(self, public_key: str) -> bool:
        return True


@pytest.mark.parametrize("kind", [AllowList, LetsAnybodyIn])
def test_the_self_test_tells_a_closed_door_from_an_open_one(path: Path, kind: type[AllowList]) -> None:
    keys = create_or_load_keys(path.parent / "server.json")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    zap = ZapHandler(context, kind(path, generate_keys().public_key))
    router = context.socket(zmq.ROUTER)
    configure_server_socket(router, keys)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    try:
        if kind is AllowList:
            check_refusal(context, f"tcp://127.0.0.1:{port}", keys.public_key, zap.answer_waiting)
            assert zap.refused == 1
        else:
            with pytest.raises(LimbeckError, match="let an unknown key in"):
                check_refusal(context, f"tcp://127.0.0.1:{port}", keys.public_key, zap.answer_waiting)
    finally:
        router.close(linger=0)
        zap.close()
        context.term()
