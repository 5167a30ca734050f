"""`limbeck image PROMPT`: a picture by distillation, on a running server or on one that this starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limbeck_server.cli.generate import Parameter, Setting

if TYPE_CHECKING:
    from limbeck_protocol.recipe import Settings


def image(
    prompt: Annotated[str, typer.Argument(help="What to show: 'a yellow duck', with view words if you like.")],
    loss: Annotated[
        str, typer.Option(help="Distillation loss; `limbeck presets` lists them. dds edits: `limbeck edit`.")
    ] = "sds",
    prior: Annotated[
        str, typer.Option(help="exact, network, stable-diffusion, a hub id such as owner/name, or a local folder.")
    ] = "exact",
    preset: Annotated[str, typer.Option(help="image, or a paper's own: nfsd-image, msd-image.")] = "image",
    generator: Annotated[
        str | None,
        typer.Option(help="What is optimised: latents, pixels, or mlp (a network of coordinates); the preset's own."),
    ] = None,
    size: Annotated[
        int | None, typer.Option(help="Side in pixels; the prior's own by default (exact: 64, or 32 if you say so).")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What it should not look like.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's by default.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="diffusers' convention: 1 = no guidance.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same picture.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; the preset's by default, else all cores.")] = None,
    parameters: Parameter = None,
    settings: Setting = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Where it goes; named after the prompt by default, with a number where that is taken.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Make a picture from a prompt by distillation and write it as a PNG file."""
    from limbeck_protocol.recipe import Image

    from limbeck_server.cli import generate as shared
    from limbeck_server.cli.output import job_summary, print_json, say

    out = _output(prompt, out)
    given = {"steps": steps, "guidance_scale": guidance_scale, "threads": threads}
    wanted = {name: value for name, value in given.items() if value is not None}
    recipe = shared.build_recipe(
        prompt=prompt,
        negative_prompt=negative_prompt,
        loss=loss,
        prior=shared.absolute_folder(prior),
        preset=preset,
        seed=seed,
        image=Image(generator=generator, size=size),
        settings=_meaningful(shared.read_settings(settings or [], wanted, shared.read_parameters(parameters or []))),
    )
    with shared.connect() as client:
        job = shared.run_job(client, recipe)
        client.fetch_artifact(job.job_id, "image.png", out)
    say(f"{out} ({shared.human_seconds(job.metrics.get('seconds'))}, job {job.job_id})")
    for line in _seen(job.metrics):
        say(line)
    if as_json:
        print_json(job_summary(job) | {"out": str(out)})


def _output(prompt: str, out: Path | None) -> Path:
    """Return where the picture goes: what was asked for, or else a name of the prompt's that nothing has yet.

    Raises:
        LimbeckError: it is no PNG file, or cannot be written.
    """
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    from limbeck_server.cli.generate import file_name
    from limbeck_server.cli.output import check_writable, unused

    if out is None:
        out = unused(Path(file_name(prompt) + ".png"))
    if out.suffix.lower() != ".png":
        code = ErrorCode.CANNOT_WRITE
        sentence = f"A picture is a PNG file; {out.name!r} does not end in .png."
        raise LimbeckError(code, sentence, remedy_for(code, label=f"Name it {out.stem}.png."))
    check_writable(out)
    return out


def _meaningful(settings: Settings) -> Settings:
    """Return the settings, all of which mean something for a picture.

    Raises:
        LimbeckError: one is about fields, cameras or meshes.
    """
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
    from msgspec import UNSET

    from limbeck_server.presets.images import MEANINGLESS

    found = [name for name in MEANINGLESS if getattr(settings, name) is not UNSET]
    if found:
        code = ErrorCode.INVALID_FIELD
        verb = "means" if len(found) == 1 else "mean"
        sentence = f"A picture has no field, cameras or mesh; {', '.join(found)} {verb} nothing for it."
        label = "Leave it out; the picture's side is --size."
        raise LimbeckError(code, sentence, remedy_for(code, label=label, field=f"settings.{found[0]}"))
    return settings


def _seen(metrics: dict[str, Any]) -> list[str]:
    """Return what is known about the picture, as lines for people."""
    lines = []
    for over in ("shape", "colour"):
        if f"seen_{over}" in metrics:
            probability = metrics.get(f"{over}_probability")
            beside = "" if probability is None else f" (the prompt's own: {probability:.0%})"
            lines.append(f"  {over:<28} {metrics[f'seen_{over}']}{beside}")
    return lines + [f"  {name:<28} {metrics[name]:g}" for name in ("size", "steps", "prior_evaluations")]
