"""`limbeck edit`: a finished job's object, or a picture, turned into what a new prompt says; the rest is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limbeck_server.cli.generate import Parameter, Setting

if TYPE_CHECKING:
    from limbeck_protocol.client import Client
    from limbeck_protocol.messages import JobInfo

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
SHOWN = 80
"""Characters of a wrong name that a sentence repeats."""


def edit(
    what: Annotated[
        str, typer.Argument(metavar="JOB|PICTURE", help="A finished job's id (`limbeck jobs list`), or a picture file.")
    ],
    prompt: Annotated[str, typer.Argument(help="What to make of it: 'a blue mug'.")],
    source_prompt: Annotated[
        str | None,
        typer.Option("--from", metavar="PROMPT", help="What it shows now; a job's own prompt by default."),
    ] = None,
    loss: Annotated[str, typer.Option(help="dds edits; another loss just begins with the job's object.")] = "dds",
    prior: Annotated[
        str | None,
        typer.Option(help="Another prior than the job's (exact, network, ...); for pictures: exact unless given."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Another preset than the job's: quick or standard.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's by default.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="diffusers' convention: 1 = no guidance.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="How far a step goes; the preset's by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="The job's by default, 0 for a picture.")] = None,
    parameters: Parameter = None,
    settings: Setting = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where it goes, .glb or .png; named after the prompt by default, with a number where that is taken.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Edit what a job has made, or a picture, by Delta Denoising Score: only what the new prompt changes changes.

    A picture comes back as large as the prior's own pictures: 64 x 64 pixels for exact, 32 x 32 for network, 512 or
    768 a side for Stable Diffusion.
    """
    from limbeck_server.cli.generate import absolute_folder, read_parameters, read_settings

    is_picture = _is_picture(what)
    out = _output(what, prompt, out, is_picture=is_picture)
    given = {"steps": steps, "guidance_scale": guidance_scale, "learning_rate": learning_rate}
    wanted = {name: value for name, value in given.items() if value is not None}
    prior = None if prior is None else absolute_folder(prior)
    if is_picture:
        from limbeck_server.cli.edit_picture import edit_picture_file

        _refuse_for_pictures(loss=loss, preset=preset, parameters=parameters, settings=settings)
        edit_picture_file(Path(what), prompt, source_prompt, prior or "exact", wanted, seed or 0, out, as_json=as_json)
        return
    changes: dict[str, Any] = {"loss": loss, "prior": prior, "preset": preset, "seed": seed}
    changes = {name: value for name, value in changes.items() if value is not None}
    changes["settings"] = read_settings(settings or [], wanted, read_parameters(parameters or []))
    edit_job(what, prompt, source_prompt, changes, out, as_json=as_json)


def edit_job(
    job_id: str, prompt: str, source_prompt: str | None, changes: dict[str, Any], out: Path, *, as_json: bool
) -> None:
    """Run the edit of a finished job and write its mesh.

    Raises:
        LimbeckError: no server runs, the job cannot be started from, or the edit ended without a mesh.
    """
    from limbeck_protocol.editing import edit_recipe
    from limbeck_protocol.recipe import Start

    from limbeck_server.cli.generate import human_seconds, metric_lines, run_job
    from limbeck_server.cli.output import job_summary, print_json, say

    with _client_of(job_id) as client:
        if source_prompt is not None:
            changes = changes | {"start": Start(job_id=job_id, prompt=source_prompt)}
        job: JobInfo = run_job(client, edit_recipe(client.job(job_id), prompt, welcome=client.welcome, **changes))
        client.fetch_artifact(job.job_id, "mesh.glb", out)
    say(f"{out} ({human_seconds(job.metrics.get('seconds'))}, job {job.job_id})")
    for line in metric_lines(job.metrics):
        say(line)
    if as_json:
        print_json(job_summary(job) | {"out": str(out)})


def _client_of(job_id: str) -> Client:
    """Return a client of the server that has the jobs, started if need be.

    Raises:
        LimbeckError: the text is no job id.
    """
    import re

    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    from limbeck_server.cli.generate import connect

    if not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", job_id):
        code = ErrorCode.CANNOT_READ
        shown = job_id if len(job_id) <= SHOWN else job_id[:SHOWN] + "..."
        sentence = f"{shown!r} is neither a picture file that exists nor a job id."
        raise LimbeckError(code, sentence, remedy_for(code, label="Name a picture, or a job of `limbeck jobs list`."))
    return connect()


def _is_picture(what: str) -> bool:
    from limbeck_server.cli.output import is_file

    path = Path(what)
    return path.suffix.lower() in PICTURE_SUFFIXES or is_file(path)


def _output(what: str, prompt: str, out: Path | None, *, is_picture: bool) -> Path:
    """Return where the edit goes: what was asked for, or else a name of the prompt's that nothing has yet.

    Raises:
        LimbeckError: it is of the wrong kind, is the picture itself, or cannot be written.
    """
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    from limbeck_server.cli.generate import file_name
    from limbeck_server.cli.output import check_writable, is_file, unused

    suffix, kind = (".png", "An edited picture is a PNG file") if is_picture else (".glb", "An edit of a job is a mesh")
    if out is None:
        out = unused(Path(file_name(prompt) + suffix))
    code = ErrorCode.CANNOT_WRITE
    if out.suffix.lower() != suffix:
        sentence = f"{kind}; {out.name!r} does not end in {suffix}."
        raise LimbeckError(code, sentence, remedy_for(code, label=f"Name it {out.stem + suffix}."))
    check_writable(out)
    if is_picture and is_file(out) and is_file(Path(what)) and out.samefile(what):
        sentence = f"{out} is the picture to edit itself; it would be lost."
        raise LimbeckError(code, sentence, remedy_for(code, label="Give another name with --out."))
    return out


def _refuse_for_pictures(*, loss: str, **others: Any) -> None:
    """What only jobs have is refused, not ignored.

    Raises:
        LimbeckError: one of them was given.
    """
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    names = {"preset": "--preset", "parameters": "--parameter", "settings": "--set"}
    given = [names[name] for name, value in others.items() if value] + (["--loss"] if loss != "dds" else [])
    if given:
        code = ErrorCode.INVALID_FIELD
        sentence = f"A picture is edited by dds alone, without preset; {', '.join(given)} cannot be used here."
        label = "Leave it out; --steps, --guidance-scale, --learning-rate and --seed can be set."
        raise LimbeckError(code, sentence, remedy_for(code, label=label))
