"""`limbeck keys`: who may talk to this server from another computer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Who may talk to this server: allow, list and revoke keys.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call that person or computer.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command("allow")
def allow(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Their public key, as their panel copies it.")],
    as_json: AsJson = False,
) -> None:
    """Let a key in, or give a known name another key. A running server notices at once."""
    from limbeck_protocol.discovery import parse_key

    from limbeck_server.service.access import allow_client

    allow_client(_path(), name, parse_key(key))
    _tell(f"{name} may talk to this server now.", as_json)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys that are allowed besides your own, which always is."""
    from limbeck_protocol.discovery import key_as_hex

    from limbeck_server.cli.output import say

    allowed = _allowed()
    if as_json:
        _tell("", as_json)
    elif not allowed:
        say("Only your own key is allowed. Let others in: limbeck keys allow NAME KEY")
    else:
        for name, key in sorted(allowed.items()):
            print(f"{key_as_hex(key)}  {name}")


@app.command("revoke")
def revoke(name: Name, as_json: AsJson = False) -> None:
    """Take a name off the list. A running server refuses its next message; its jobs stay."""
    from limbeck_server.service.access import revoke_client

    revoke_client(_path(), name)
    _tell(f"{name} may not talk to this server any more.", as_json)


def _path() -> Path:
    from limbeck_server.service.server import ServeSettings

    return ServeSettings().allowed_path


def _allowed() -> dict[str, str]:
    from limbeck_server.service.access import load_allowed

    return load_allowed(_path())


def _tell(sentence: str, as_json: bool) -> None:
    """Print the sentence for people, or the list as it stands now for programs."""
    from limbeck_protocol.discovery import key_as_hex

    from limbeck_server.cli.output import print_json, say

    if as_json:
        print_json({"allowed": {name: key_as_hex(key) for name, key in _allowed().items()}})
    else:
        say(sentence)
