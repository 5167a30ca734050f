"""Where things lie on this machine, and how a client finds a server: folders, key files, `server.json`.

A local user never sees a key: server and client of the same user find each other's through files that only that user
can read. For a server on another machine there is one line to paste (`connection_line`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.private_files import create_private_file, read_private_file, replace_private_file

HOME_VARIABLE = "LIMBECK_HOME"
_Z85_KEY = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")
_LINE = re.compile(r"limbeck://(?P<host>[^\s/#?@]+):(?P<port>\d{1,5})#(?P<key>[0-9a-fA-F]{64})")


# --- folders ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folders:
    """The three folders of one user; none is made by looking it up."""

    runtime: Path
    """`server.json`; may vanish when the user logs out."""
    data: Path
    """The server's store and its jobs' artifacts."""
    keys: Path
    """`client.json`, `server.json` (key pairs) and what the server keeps about allowed clients."""


def find_folders(environment: Mapping[str, str] | None = None) -> Folders:
    """Return where this user's files lie: below `$LIMBECK_HOME` if that is set, else where the platform wants them."""
    environment = os.environ if environment is None else environment
    if environment.get(HOME_VARIABLE):
        home = Path(environment[HOME_VARIABLE]).expanduser().absolute()
        return Folders(runtime=home / "run", data=home / "data", keys=home / "keys")
    user = Path.home()
    if sys.platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or user / "AppData" / "Local") / "limbeck"
        return Folders(runtime=base / "run", data=base / "data", keys=base / "keys")
    if sys.platform == "darwin":
        base = user / "Library" / "Application Support" / "limbeck"
        return Folders(runtime=base / "run", data=base / "data", keys=base / "keys")
    data = Path(environment.get("XDG_DATA_HOME") or user / ".local" / "share") / "limbeck"
    keys = Path(environment.get("XDG_CONFIG_HOME") or user / ".config") / "limbeck" / "keys"
    return Folders(runtime=_linux_runtime_folder(environment, data), data=data, keys=keys)


def _linux_runtime_folder(environment: Mapping[str, str], data: Path) -> Path:
    """Look beyond the variable: a server started by cron or ssh lacks it, and must still be found from a desktop."""
    for candidate in (environment.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"):
        if candidate and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate) / "limbeck"
    return data / "run"


def client_keys_path() -> Path:
    """Return where this user's clients keep their key pair."""
    return find_folders().keys / "client.json"


def server_keys_path() -> Path:
    """Return where this user's server keeps its key pair."""
    return find_folders().keys / "server.json"


def server_record_path() -> Path:
    """Return where a running server says how it is reached."""
    return find_folders().runtime / "server.json"


# --- keys -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, 40 characters of Z85 each. The secret half is kept out of `repr`, and so out of logs."""

    public_key: str
    secret_key: str = field(repr=False)


def generate_keys() -> KeyPair:
    """Return a new key pair."""
    import zmq

    public_key, secret_key = zmq.curve_keypair()
    return KeyPair(public_key=public_key.decode(), secret_key=secret_key.decode())


def create_or_load_keys(path: Path) -> KeyPair:
    """Return the key pair in `path`; the first call makes it (file 0600, folder 0700, never through a link).

    Raises:
        LimbeckError: the file is no key pair, or other users could reach it; the remedy has the command that helps.
    """
    content = read_private_file(path)
    if content is None:
        create_private_file(path, msgspec.json.encode(_keys_as_map(generate_keys())))
        content = read_private_file(path)
    return _parse_keys(content or b"", path)


def _keys_as_map(keys: KeyPair) -> dict[str, str]:
    return {"public_key": keys.public_key, "secret_key": keys.secret_key}


def _parse_keys(content: bytes, path: Path) -> KeyPair:
    import zmq

    try:
        found = msgspec.json.decode(content, type=dict[str, str])
        keys = KeyPair(public_key=found["public_key"], secret_key=found["secret_key"])
        if not is_key(keys.secret_key) or zmq.curve_public(keys.secret_key.encode()).decode() != keys.public_key:
            raise ValueError("the two keys do not belong together")
    except (ValueError, KeyError) as error:
        raise LimbeckError(
            ErrorCode.CANNOT_READ,
            f"{path} is expected to hold a key pair and does not.",
            Remedy(action=RemedyAction.RETRY, label=f"Remove it, and a new pair is made: rm '{path}'"),
        ) from error
    return keys


def is_key(text: str) -> bool:
    """Return whether `text` looks like a CURVE key: 40 characters of Z85."""
    return _Z85_KEY.fullmatch(text) is not None


def key_as_hex(key: str) -> str:
    """Return a key (Z85) as 64 hex digits: Z85 holds signs that a shell would take for its own."""
    import zmq.utils.z85

    return zmq.utils.z85.decode(key).hex()


def parse_key(text: str) -> str:
    """Return the key (Z85) that `text` is: 64 hex digits or 40 characters of Z85.

    Raises:
        LimbeckError: INVALID_FIELD; it is no key.
    """
    import zmq.utils.z85

    text = "".join(text.split())
    if _HEX_KEY.fullmatch(text):
        return zmq.utils.z85.encode(bytes.fromhex(text)).decode()
    if is_key(text):
        return text
    raise LimbeckError(
        ErrorCode.INVALID_FIELD,
        "Expected a public key: 64 hex digits, as the panel copies it, or 40 characters.",
        Remedy(action=RemedyAction.EDIT_FIELD, label="Copy the key again, in the panel: Server > Copy My Key."),
    )


# --- the record of a running server -----------------------------------------------------------------------------------


class ServerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a running server is reached; `server.json` in the runtime folder."""

    endpoint: str
    """Such as `tcp://127.0.0.1:41234`."""
    server_key: str
    """Its public key, 40 characters of Z85."""
    major_min: int
    major_max: int
    """Protocol versions that it speaks."""
    pid: int
    boot_id: str
    store_id: str
    version: str
    """Of the package."""
    started: float = 0.0
    """Unix seconds, for display only."""


def write_server_record(record: ServerRecord, path: Path | None = None) -> None:
    """Publish `record`: mode 0600, replaced in one step.

    Raises:
        LimbeckError: the file cannot be written, or others reach its folder.
    """
    replace_private_file(path or server_record_path(), msgspec.json.encode(record))


def read_server_record(path: Path | None = None) -> ServerRecord | None:
    """Return the record of the server last started here, or None. It may be stale: only a handshake can tell.

    Raises:
        LimbeckError: the file is damaged, or other users could have written it.
    """
    path = path or server_record_path()
    content = read_private_file(path)
    if content is None:
        return None
    try:
        record = msgspec.json.decode(content, type=ServerRecord)
        if not is_key(record.server_key) or not record.endpoint.startswith("tcp://"):
            raise ValueError("no endpoint or no key")
    except ValueError as error:
        raise LimbeckError(
            ErrorCode.CANNOT_READ,
            f"{path} is expected to describe a running server and does not.",
            Remedy(action=RemedyAction.START_SERVER, label="Start the server again: `limbeck serve`."),
        ) from error
    return record


def remove_server_record(boot_id: str, path: Path | None = None) -> bool:
    """Remove the record if it is the one of the server start `boot_id`; return whether it was."""
    path = path or server_record_path()
    record = read_server_record(path)
    if record is None or record.boot_id != boot_id:
        return False
    path.unlink(missing_ok=True)
    return True


# --- one line to paste ------------------------------------------------------------------------------------------------


def connection_line(endpoint: str, server_key: str) -> str:
    """Return endpoint and server key as one line to paste, such as `limbeck://studio:41234#<64 hex digits>`."""
    return f"limbeck://{endpoint.removeprefix('tcp://')}#{key_as_hex(server_key)}"


def parse_connection_line(line: str) -> tuple[str, str]:
    """Return the endpoint and the server key (Z85) of a pasted line.

    Raises:
        LimbeckError: INVALID_FIELD; it is no such line.
    """
    import zmq.utils.z85

    found = _LINE.fullmatch("".join(line.split()))
    if not found or not 0 < int(found["port"]) < 65536:
        raise LimbeckError(
            ErrorCode.INVALID_FIELD,
            "Expected a line like limbeck://HOST:PORT#KEY, as `limbeck serve` prints it.",
            Remedy(action=RemedyAction.EDIT_FIELD, label="Copy the whole line from the server and paste it again."),
        )
    return f"tcp://{found['host']}:{found['port']}", zmq.utils.z85.encode(bytes.fromhex(found["key"])).decode()
