"""The command `limbeck`. Each command imports what it needs inside itself, so that `--help` answers at once."""

from __future__ import annotations

import sys

import typer

from limbeck_server import __version__
from limbeck_server.cli import doctor, edit, generate, image, jobs, keys, presets, prior, serve, study

app = typer.Typer(
    name="limbeck",
    help="Distils 2-D diffusion models into 3-D objects: from a prompt to a mesh.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("generate")(generate.generate)
app.command("image")(image.image)
app.command("edit")(edit.edit)
app.command("serve")(serve.serve)
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(prior.app, name="prior")
app.command("presets")(presets.presets)
app.command("study")(study.study)
app.command("doctor")(doctor.doctor)
app.command("status")(jobs.status)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        print(f"limbeck {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line: errors that a person can act upon become a sentence and an exit code, never a traceback."""
    from limbeck_protocol.errors import ErrorCode, LimbeckError

    try:
        app()
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        sys.exit(130 if error.code == ErrorCode.CANCELLED else 1)
    except BrokenPipeError:
        sys.exit(1)
