"""`limbeck serve`: the server, in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def serve(
    bind: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback needs --wide.")
    ] = "tcp://127.0.0.1:*",
    wide: Annotated[bool, typer.Option("--wide", help="Allow an address that other machines can reach.")] = False,
    data: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where jobs are kept; the user's data folder by default.")
    ] = None,
    idle_exit_minutes: Annotated[
        float | None, typer.Option(help="Stop after so many minutes with nothing to do; never by default.")
    ] = None,
    allow_download: Annotated[
        bool, typer.Option("--allow-download", help="Let jobs fetch missing models from the hub.")
    ] = False,
) -> None:
    """Serve jobs until stopped (Ctrl-C). Exit code 3: the address was refused; 4: another server is there."""
    from limbeck_protocol.errors import ErrorCode, LimbeckError

    from limbeck_server.cli.announcement import announce
    from limbeck_server.cli.output import say
    from limbeck_server.recipes import catalog, complete
    from limbeck_server.service.server import EXIT_BIND_REFUSED, ServeSettings, serve

    os.environ["LIMBECK_ALLOW_DOWNLOAD"] = "1" if allow_download else "0"
    settings = ServeSettings(bind=bind, wide=wide, data_folder=data, idle_exit_minutes=idle_exit_minutes)
    try:
        code = serve(
            settings,
            complete_recipe=complete,
            catalog=catalog,
            ready=lambda record: say("\n".join(announce(record, bind))),
        )
    except LimbeckError as error:
        if error.code != ErrorCode.ACCESS_DENIED:
            raise
        say(f"limbeck: {error}")
        code = EXIT_BIND_REFUSED
    sys.exit(code)
