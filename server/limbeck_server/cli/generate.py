"""`limbeck generate PROMPT`: a job from the command line, on a running server or on one that this starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from limbeck_protocol.client import Client
    from limbeck_protocol.errors import LimbeckError
    from limbeck_protocol.messages import JobInfo
    from limbeck_protocol.recipe import Recipe, Rig, Settings

Setting = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any other setting, as JSON: --set field_resolution=48. Repeatable."
    ),
]

Parameter = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        metavar="NAME=VALUE",
        help="A parameter of the loss's own, a number or a word: --parameter threshold=300. Repeatable; "
        "`limbeck presets` lists them.",
    ),
]


def generate(
    prompt: Annotated[str, typer.Argument(help="What to make: 'a yellow duck'.")],
    loss: Annotated[str, typer.Option(help="Distillation loss; `limbeck presets` lists them.")] = "sds",
    prior: Annotated[
        str, typer.Option(help="exact, network, stable-diffusion, a hub id such as owner/name, or a local folder.")
    ] = "exact",
    preset: Annotated[str, typer.Option(help="`limbeck presets` lists them with their values.")] = "standard",
    negative_prompt: Annotated[str | None, typer.Option(help="What it should not look like.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimisation steps; the preset's by default.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="diffusers' convention: 1 = no guidance.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same mesh.")] = 0,
    threads: Annotated[int | None, typer.Option(help="CPU threads; the preset's by default, else all cores.")] = None,
    rig: Annotated[Path | None, typer.Option(metavar="FILE", help="A rig as JSON; an orbit by default.")] = None,
    parameters: Parameter = None,
    settings: Setting = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.glb", help="Where the mesh goes; named after the prompt by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Make an object from a prompt and write it as a binary glTF file."""
    from limbeck_server.cli.output import check_writable, job_summary, print_json, say

    out = out or Path(file_name(prompt) + ".glb")
    check_writable(out)
    given = {"steps": steps, "guidance_scale": guidance_scale, "threads": threads}
    recipe = build_recipe(
        prompt=prompt,
        negative_prompt=negative_prompt,
        loss=loss,
        prior=absolute_folder(prior),
        preset=preset,
        seed=seed,
        rig=read_rig(rig),
        settings=read_settings(
            settings or [],
            {name: value for name, value in given.items() if value is not None},
            read_parameters(parameters or []),
        ),
    )
    with connect() as client:
        job = run_job(client, recipe)
        client.fetch_artifact(job.job_id, "mesh.glb", out)
    say(f"{out} ({human_seconds(job.metrics.get('seconds'))}, job {job.job_id})")
    for line in metric_lines(job.metrics):
        say(line)
    if as_json:
        print_json(job_summary(job) | {"out": str(out)})


def connect() -> Client:
    """Return a client of the running server, or of one started now.

    Raises:
        LimbeckError: no server runs and none could be started.
    """
    from limbeck_protocol.client import Client
    from limbeck_protocol.errors import ErrorCode, LimbeckError

    from limbeck_server.cli.output import say
    from limbeck_server.service.launch import start_server

    client = None
    try:
        client = Client.discover(name="limbeck command line")
        client.status()
    except LimbeckError as error:
        if client is not None:
            client.close()
        if error.code not in (ErrorCode.NO_SERVER, ErrorCode.SERVER_LOST, ErrorCode.TIMEOUT):
            raise
    else:
        return client
    say("No server is running: starting one.")
    start_server()
    return Client.discover(name="limbeck command line")


def read_rig(path: Path | None) -> Rig:
    """Return the rig of a JSON file, or the default orbit.

    Raises:
        LimbeckError: the file is missing, unreadable, or no rig.
    """
    import msgspec
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
    from limbeck_protocol.recipe import Orbit, Rig, decode_array_from_list

    if path is None:
        return Rig(orbit=Orbit())
    try:
        return msgspec.convert(json.loads(path.read_text()), Rig, dec_hook=decode_array_from_list)
    except OSError as error:
        raise LimbeckError(
            ErrorCode.CANNOT_READ,
            f"The rig file {path} cannot be read: {error.strerror}.",
            remedy_for(ErrorCode.CANNOT_READ),
        ) from error
    except (msgspec.ValidationError, json.JSONDecodeError, UnicodeDecodeError, ValueError, TypeError) as error:
        code = ErrorCode.INVALID_FIELD
        raise LimbeckError(code, f"The rig file {path} is no rig: {error}.", remedy_for(code, field="rig")) from error


def read_settings(
    pairs: list[str], given: dict[str, Any], parameters: dict[str, float | str] | None = None
) -> Settings:
    """Return the settings of NAME=VALUE pairs and of the options that have names of their own.

    Args:
        pairs: what `--set` got.
        given: other settings by name.
        parameters: the loss's own, of `--parameter`; they go before those of `--set loss_parameters={...}`.

    Raises:
        LimbeckError: a pair is malformed, its name unknown or its value out of range.
    """
    import msgspec
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
    from limbeck_protocol.recipe import Settings

    values = dict(given)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            code = ErrorCode.INVALID_FIELD
            label = "Write it so: --set field_resolution=48."
            raise LimbeckError(code, f"--set wants NAME=VALUE, got {pair!r}.", remedy_for(code, label=label))
        try:
            values[name] = json.loads(text)
        except json.JSONDecodeError:
            values[name] = text
    if parameters:
        others = values.get("loss_parameters", {})
        values["loss_parameters"] = others | parameters if isinstance(others, dict) else others
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        code = ErrorCode.INVALID_FIELD
        known = ", ".join(Settings.__struct_fields__)
        sentence = f"A setting is not usable: {error}. The settings are: {known}."
        label = "Correct that option, or leave it out: the preset has a value."
        raise LimbeckError(code, sentence, remedy_for(code, label=label, field="settings")) from error


def read_parameters(pairs: list[str]) -> dict[str, float | str]:
    """Return the loss's own parameters of NAME=VALUE pairs: what is written as a number is one, all else is a word.

    Whether the loss has them is for the server to say.

    Raises:
        LimbeckError: a pair has no name or no value, a name comes twice, or a number is not finite.
    """
    import math

    found: dict[str, float | str] = {}
    for pair in pairs:
        name, _, text = (part.strip() for part in pair.partition("="))
        if not name or not text:
            raise _bad_parameter(f"--parameter wants NAME=VALUE, got {pair!r}.", "threshold=300")
        if name in found:
            raise _bad_parameter(f"--parameter names {name!r} twice; once was expected.", pair.strip())
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = text
        else:
            if not math.isfinite(float(text)):
                raise _bad_parameter(
                    f"--parameter wants a finite number or a word for {name!r}, got {text}.", f"{name}=1"
                )
    return found


def _bad_parameter(sentence: str, example: str) -> LimbeckError:
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    code = ErrorCode.INVALID_FIELD
    label = f"Write it so: --parameter {example}; `limbeck presets` lists the parameters."
    return LimbeckError(code, sentence, remedy_for(code, label=label))


def metric_lines(metrics: dict[str, Any]) -> list[str]:
    """Return the metrics as lines for people, each beside the score of the untouched start."""
    start = metrics.get("start") or {}
    lines = []
    for name, value in metrics.items():
        if isinstance(value, float | int) and not isinstance(value, bool):
            beside = f"   (start {start[name]:g})" if isinstance(start.get(name), float | int) else ""
            lines.append(f"  {name:<28} {value:g}{beside}")
    return lines


def build_recipe(**fields: Any) -> Recipe:
    """Return a recipe of these fields, checked as far as it can be without a server.

    Raises:
        LimbeckError: a field is not usable.
    """
    import msgspec
    from limbeck_protocol.errors import ErrorCode, LimbeckError
    from limbeck_protocol.recipe import Recipe, check_recipe, recipe_from_json, recipe_to_json

    try:
        # Structs check their types when they are read, not when they are built.
        recipe = recipe_from_json(recipe_to_json(Recipe(**fields)))
    except msgspec.ValidationError as error:
        raise LimbeckError(ErrorCode.INVALID_FIELD, f"The recipe is not usable: {error}.") from error
    check_recipe(recipe)
    return recipe


def run_job(client: Client, recipe: Recipe) -> JobInfo:
    """Submit, show the way, and return the job once it succeeded; Ctrl-C cancels it."""
    from limbeck_protocol.errors import ErrorCode, LimbeckError
    from limbeck_protocol.job_states import JobState

    from limbeck_server.cli.output import JobDisplay, say

    job = client.submit(recipe)
    say(f"Job {job.job_id}")
    try:
        with JobDisplay().running() as display:
            job = client.follow(job.job_id, on_event=display.on_event, on_progress=display.on_progress)
    except KeyboardInterrupt:
        client.cancel(job.job_id)
        raise LimbeckError(ErrorCode.CANCELLED, f"Job {job.job_id} was cancelled.") from None
    raise_unless_succeeded(job)
    assert job.state == JobState.SUCCEEDED
    return job


def raise_unless_succeeded(job: JobInfo) -> None:
    """Raise the error with which the job ended, if it did not succeed."""
    from limbeck_protocol.errors import ErrorCode, LimbeckError
    from limbeck_protocol.job_states import JobState

    if job.error is not None:
        raise LimbeckError(ErrorCode(job.error.code), job.error.message, job.error.remedy)
    if job.state == JobState.CANCELLED:
        raise LimbeckError(ErrorCode.CANCELLED, f"Job {job.job_id} was cancelled.")


def absolute_folder(prior: str) -> str:
    """Return a local folder's whole path, since the server works elsewhere; any other prior as it is.

    A folder called `network` is `./network`: the names of priors mean what they mean wherever one stands.
    """
    from limbeck_server.priors.kinds import KINDS

    if prior in KINDS:
        return prior
    folder = Path(prior).expanduser() if prior.startswith(("~/", ".", "/")) else Path(prior)
    return str(folder.resolve()) if folder.is_dir() else prior


def file_name(prompt: str) -> str:
    """Return a prompt as the name of a file, without a suffix."""
    words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
    return "-".join(words)[:60] or "object"


def human_seconds(seconds: float | None) -> str:
    """Return how long a job took, for people."""
    return "no time known" if seconds is None else f"{seconds:.0f} s"
