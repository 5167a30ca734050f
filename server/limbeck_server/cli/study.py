"""`limbeck study NAME`: the papers' own experiments, repeated here; tables, JSON and figures."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from limbeck_protocol.errors import ErrorCode, LimbeckError

    from limbeck_server.studies.losses import Case, Job, JobResult
    from limbeck_server.studies.picture_runs import Setup
    from limbeck_server.studies.text_to_2d import Setups

PRESET = "quick"
"""Of the jobs that the study `losses` runs."""
ANOTHER_FOLDER = "Choose another --out."


@dataclass(frozen=True)
class Study:
    """What a study is about, and which options it takes besides quick, seed and out."""

    about: str
    takes: frozenset[str] = frozenset()


STUDIES = {
    "densities": Study("Mean-shift distillation's section 4: fractal, spiral and pinwheel, its Tables 1 and 2."),
    "variance": Study(
        "Gradient variance and signal-to-noise of every loss against the timestep; NFSD's two terms.",
        frozenset({"prompt", "losses"}),
    ),
    "bandwidth": Study("Mean-shift distillation's Fig. 6: what y is drawn at which bandwidth.", frozenset({"prompt"})),
    "ablation": Study("Mean-shift distillation's Fig. 8: its two heuristics, on and off.", frozenset({"prompt"})),
    "losses": Study(
        "One prompt, every loss, one seed: turntables, seconds, prior evaluations, metrics against the truth.",
        frozenset({"prompt", "losses"}),
    ),
    "decomposition": Study(
        "NFSD's Figs. 2 to 4: what a prior's score is made of, and how small its noise is below timestep 200.",
        frozenset({"prompt", "prior"}),
    ),
    "nfsd-3d": Study(
        "NFSD's Fig. 8: SDS against NFSD in 3-D, the same seeds, no annealing. Goes on where it was interrupted.",
        frozenset({"prompt", "prior"}),
    ),
    "text-to-2d": Study(
        "Pictures: NFSD's Fig. 7 and mean-shift distillation's Table 3. Goes on where it was interrupted.",
        frozenset({"prior"}),
    ),
}


def study(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which; without a name they are listed.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A rougher answer in a minute or two.")] = False,
    prompt: Annotated[str | None, typer.Option(help="A shape and a colour: 'a yellow duck'.")] = None,
    losses: Annotated[
        list[str] | None, typer.Option("--loss", metavar="LOSS", help="Only this one; repeatable. All by default.")
    ] = None,
    prior: Annotated[
        str | None, typer.Option(help="'exact', 'network', a folder or a hub id; 'exact' by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all noise.", min=0, max=2**63 - 1)] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the figures go; study-NAME by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Repeat one of the papers' experiments, on the exact prior or on another where it takes one. Needs no server."""
    from limbeck_server.cli.output import print_json, say

    if name is None:
        _list_studies(as_json)
        return
    options = {"prompt": prompt, "losses": tuple(losses or ()), "prior": prior}
    given: dict[str, Any] = {option: value for option, value in options.items() if value}
    _check(name, given)
    folder = _folder(out or Path(f"study-{name}"))

    import torch

    torch.set_num_threads(threads)
    module = importlib.import_module(f"limbeck_server.studies.{name.replace('-', '_')}")
    begun = time.monotonic()
    with _told(say) as tell, _sentences(folder):
        given |= _job_options(name, prior, seed, threads)
        result = module.run(quick=quick, seed=seed, out=folder, say=tell, **given)
    seconds = round(time.monotonic() - begun, 1)
    if as_json:
        print_json({**result, "out": str(folder), "quick": quick, "seed": seed, "seconds": seconds})
    else:
        print(module.report(result))
    figures = ", ".join(sorted(path.name for path in folder.glob("*.png")))
    say(f"{seconds:.0f} s. Figures in {folder}: {figures}")


def _list_studies(as_json: bool) -> None:
    from limbeck_server.cli.output import print_json

    if as_json:
        print_json({"studies": {name: study.about for name, study in STUDIES.items()}})
        return
    for name, one in STUDIES.items():
        print(f"  {name:<13} {one.about}")
    print("limbeck study NAME [--quick] runs one.")


def _check(name: str, given: dict[str, Any]) -> None:
    """Refuse what no study could use, before anything is computed."""
    from limbeck_protocol.errors import ErrorCode

    from limbeck_server.distillation.losses import LOSSES

    if name not in STUDIES:
        raise _error(f"There is no study {name!r}; there are: {', '.join(STUDIES)}.", "Name one of these.")
    options = {"prompt": "--prompt", "losses": "--loss", "prior": "--prior"}
    for option in given:
        if option not in STUDIES[name].takes:
            fit = [other for other, one in STUDIES.items() if option in one.takes]
            raise _error(f"The study {name!r} takes no {options[option]}; {', '.join(fit)} do.", "Leave it out.")
    for loss in given.get("losses", ()):
        if loss not in LOSSES:
            sentence = f"There is no loss {loss!r}; there are: {', '.join(LOSSES)}."
            raise _error(sentence, "Name one of these with --loss.", ErrorCode.UNKNOWN_LOSS)


def _folder(path: Path) -> Path:
    """Return the folder for the figures, made if it is not there; one that cannot be written is refused at once."""
    import tempfile

    from limbeck_protocol.errors import ErrorCode

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if isinstance(error, FileExistsError) else error.strerror
        raise _error(f"The folder {path} cannot be made: {why}.", ANOTHER_FOLDER, ErrorCode.CANNOT_WRITE) from error
    try:
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        sentence = f"The folder {path} cannot be written: {error.strerror}."
        raise _error(sentence, ANOTHER_FOLDER, ErrorCode.CANNOT_WRITE) from error


def _error(message: str, label: str, code: ErrorCode | None = None) -> LimbeckError:
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    code = code or ErrorCode.INVALID_FIELD
    return LimbeckError(code, message, remedy_for(code, label=label))


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    """What the core refuses, and what the disk refuses later, becomes an error of the command line."""
    from limbeck_protocol.errors import ErrorCode, as_sentence

    from limbeck_server.distillation.injection import DivergedError
    from limbeck_server.priors.prior import ModelError

    try:
        yield
    except ModelError as error:
        raise _error(as_sentence(error), "Choose another --prior.", ErrorCode(error.code)) from error
    except DivergedError as error:
        raise _error(as_sentence(error), "Choose another --seed.", ErrorCode.NUMERIC_DIVERGED) from error
    except ValueError as error:
        raise _error(as_sentence(error), "Choose another --prompt or --loss.") from error
    except OSError as error:
        sentence = f"{error.filename or folder} cannot be written: {error.strerror or error}."
        raise _error(sentence, ANOTHER_FOLDER, ErrorCode.CANNOT_WRITE) from error


@contextmanager
def _told(say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """A spinner with what is being done and for how long, on standard error; plain lines where it is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield say
        return
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task("", total=None)
        yield lambda text: bar.update(task, description=text)


def _job_options(name: str, prior: str | None, seed: int, threads: int) -> dict[str, Any]:
    """Return what a study takes that has jobs run or takes presets' values; nothing for the others."""
    if name == "losses":
        return {"job": _job(seed, threads), "setting": f"preset {PRESET!r}"}
    if name == "text-to-2d":
        return {"setups": _setups(prior or "exact", seed)}
    if name not in ("decomposition", "nfsd-3d"):
        return {}
    import os

    from limbeck_server.assembly import ALLOW_DOWNLOAD
    from limbeck_server.distillation.device import choose_device
    from limbeck_server.priors.kinds import EXACT
    from limbeck_server.studies.priors import model_stamp

    prior, allow_download = prior or EXACT, os.environ.get(ALLOW_DOWNLOAD) == "1"
    if name == "decomposition":
        return {"device": choose_device("auto"), "allow_download": allow_download}
    stamp = model_stamp(prior, allow_download)
    return {"job": _job(seed, threads, prior), "setting": f"preset {PRESET!r}, prior {prior!r}", "model": stamp}


def _setups(prior: str, seed: int) -> Setups:
    """Return how the study `text-to-2d` learns what a preset says of pictures."""

    def setup(preset: str, loss: str) -> Setup:
        from limbeck_protocol.recipe import Image, Recipe

        from limbeck_server.assembly import picture_settings
        from limbeck_server.presets.images import GENERATOR_OF
        from limbeck_server.recipes import complete
        from limbeck_server.studies.picture_runs import Setup

        generator = GENERATOR_OF[preset]
        image = Image(generator=generator)
        recipe = complete(Recipe(prompt="a duck", loss=loss, prior=prior, preset=preset, seed=seed, image=image))
        return Setup(picture_settings(recipe), generator)

    return setup


def _job(seed: int, threads: int, prior: str = "exact") -> Job:
    """Return how a study has a job run: here, by the worker, in a folder that is thrown away."""

    def run_job(prompt: str, case: Case, steps: int | None) -> JobResult:
        import tempfile

        import msgspec
        from limbeck_protocol.errors import ErrorCode, LimbeckError
        from limbeck_protocol.messages import Finished
        from limbeck_protocol.recipe import FIELD_FILE, Recipe, Settings

        from limbeck_server import worker
        from limbeck_server.recipes import complete
        from limbeck_server.scene.field_file import load_field
        from limbeck_server.studies.losses import JobResult

        settings = Settings(threads=threads, loss_parameters=dict(case.parameters))
        if steps is not None:
            settings = msgspec.structs.replace(settings, steps=steps)
        if case.guidance_scale is not None:
            settings = msgspec.structs.replace(settings, guidance_scale=case.guidance_scale)
        if case.timestep_max is not None:
            settings = msgspec.structs.replace(settings, timestep_max=[(0.0, case.timestep_max)])
        wanted = Recipe(prompt=prompt, loss=case.loss, prior=prior, preset=PRESET, seed=seed, settings=settings)
        recipe = complete(wanted)
        ran_at = msgspec.to_builtins(recipe.settings)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                ended = [event for event in worker.run(recipe, Path(scratch)) if isinstance(event, Finished)]
            except LimbeckError as error:
                # One loss that runs away is a result of the comparison, not its end.
                if error.code not in (ErrorCode.NUMERIC_DIVERGED, ErrorCode.NO_SURFACE):
                    raise
                return JobResult({}, None, str(error), ran_at)
            made = load_field(Path(scratch) / "artifacts" / FIELD_FILE)
            return JobResult(ended[-1].metrics, made, settings=ran_at)

    return run_job
