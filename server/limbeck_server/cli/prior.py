"""`limbeck prior`: train the network prior, score it, look at its pictures."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limbeck_server.cli.prior_export import export

if TYPE_CHECKING:
    import torch
    from limbeck_protocol.errors import LimbeckError

app = typer.Typer(
    help="The network prior: train, score, samples, export; its second judge: classifier.", no_args_is_help=True
)
app.command("export")(export)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]
Model = Annotated[
    str,
    typer.Argument(metavar="FOLDER", help="A model that limbeck prior train has made; network: the one that ships."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


@app.command("train")
def train(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Of the run. One that was interrupted goes on.")],
    iterations: Annotated[
        int | None, typer.Option(help="Steps in all; 10000, or what the run in the folder had.", min=1)
    ] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures a step; 32, or as before.", min=1)] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights and batches; 0, or as before.", min=0, max=2**31 - 1)
    ] = None,
    views: Annotated[int | None, typer.Option(help="Stored views of every shape; 960, or as before.", min=1)] = None,
    device: Device = "auto",
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Train a small diffusion model on the known world's pictures and captions; goes on after an interruption.

    The folder gets the model in diffusers' layout (model), a log (log.jsonl), sheets of samples, and the state to go on
    from. The world's views are rendered first, once, into the cache folder: 550 MB, about three minutes.
    """
    from limbeck_server.cli.output import print_json, say

    _make_folder(out)
    given = {"iterations": iterations, "batch": batch, "seed": seed, "views_per_shape": views}
    with sentences():
        import torch

        from limbeck_server.distillation.device import choose_device
        from limbeck_server.priors.training import trainer

        torch.set_num_threads(threads)
        settings = trainer.planned_settings(out, {name: value for name, value in given.items() if value is not None})
        with _training_bar() as bar, _stopped_by_signals() as stopped:
            model = trainer.train(
                settings,
                out,
                choose_device(device),
                progress=bar.on_step,
                view_progress=bar.on_views,
                stop=lambda iteration: stopped(),
            )
    done = trainer.iterations_done(out)
    if done < settings.iterations:
        say(f"Stopped after {done} of {settings.iterations} iterations; the same command goes on from here.")
    else:
        say(f"The model is in {model}.")
    if as_json:
        print_json({"model": str(model), "iterations_done": done, **settings.as_json()})


@app.command("score")
def score(
    model: Model,
    prompts: Annotated[int, typer.Option(help="Of pairs seen in training, and as many never seen.", min=1)] = 20,
    samples: Annotated[int, typer.Option(help="Pictures of each prompt.", min=1)] = 16,
    guidance_scale: Annotated[float, typer.Option(help="Of the sampler.", min=0.0)] = 5.0,
    steps: Annotated[int, typer.Option(help="Of the sampler.", min=1, max=1000)] = 25,
    pictures: Annotated[int, typer.Option(help="For the denoising error, at every timestep; 0: none.", min=0)] = 32,
    views: Annotated[int | None, typer.Option(help="Stored views of every shape; those of training.", min=2)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer prompts and pictures: a rough answer.")] = False,
    seed: Annotated[int, typer.Option(help="Of prompts, pictures and noise.", min=0, max=2**63 - 1)] = 0,
    device: Device = "auto",
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Score a trained model: do its pictures show what was asked for, and how far is it from the exact prior?

    Pictures are drawn by DDIM and judged by the exact prior's posterior over colours and shapes, and by a small
    classifier; pairs that training never saw apart. The denoising error is the distance of its predictions from the
    exact ones, by timestep.
    """
    from limbeck_server.cli.output import print_json

    with sentences(), spinner() as say:
        import torch

        from limbeck_server.distillation.device import choose_device
        from limbeck_server.priors.training.score import summary

        torch.set_num_threads(threads)
        if quick:
            prompts, samples, pictures = max(1, prompts // 2), max(1, samples // 5), pictures // 4
        found = score_model(
            model, choose_device(device), say, prompts, samples, guidance_scale, steps, pictures, views, seed
        )
    if as_json:
        print_json(found)
    else:
        print(summary(found))


def score_model(
    model: str,
    device: torch.device,
    say: Callable[[str], None],
    prompts: int = 20,
    samples: int = 16,
    guidance_scale: float = 5.0,
    steps: int = 25,
    pictures: int = 32,
    views: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the score of a model, how it was taken and of what; for the arguments see `score`."""
    import time

    from limbeck_server.priors.training import score as scoring
    from limbeck_server.priors.training.batches import load_world
    from limbeck_server.priors.training.classifier import load_classifier
    from limbeck_server.priors.training.judging import load_judge
    from limbeck_server.priors.training.trained import load_trained

    begun = time.monotonic()
    prior = load_trained(model, device)
    say("views of the known world")
    trained_on = prior.card.training.get("views_per_shape")
    per_shape = views or (trained_on if isinstance(trained_on, int) and trained_on >= 2 else 960)
    judge = load_judge(prior.image_size, views_per_shape=per_shape)
    classifier = load_classifier(device=prior.device)
    second = classifier if prior.image_size >= classifier.architecture.picture_size else None
    found = scoring.score_samples(prior, judge, prompts, samples, guidance_scale, steps, seed, say, second)
    found["denoising"] = []
    if pictures:
        world = load_world(per_shape, prior.image_size)
        found["denoising"] = scoring.score_denoising(prior, world, pictures, seed=seed, say=say)
    sampler = {"guidance_scale": guidance_scale, "steps": steps, "seed": seed}
    seconds = round(time.monotonic() - begun, 1)
    return found | sampler | {"model": prior.name, "training": prior.card.training, "seconds": seconds}


@app.command("samples")
def samples(
    model: Model,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", metavar="TEXT", help="Of a picture; repeatable. 24 by default.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The PNG file.")] = Path("samples.png"),
    guidance_scale: Annotated[float, typer.Option(help="Of the sampler.", min=0.0)] = 5.0,
    steps: Annotated[int, typer.Option(help="Of the sampler.", min=1, max=1000)] = 25,
    seed: Annotated[int, typer.Option(help="Of the noise.", min=0, max=2**63 - 1)] = 0,
    columns: Annotated[int, typer.Option(help="Pictures in a row.", min=1)] = 8,
    device: Device = "auto",
    threads: Threads = 1,
) -> None:
    """Draw pictures with a trained model: a sheet of them in one PNG file."""
    from limbeck_server.cli.output import check_writable, say

    check_writable(out)
    with sentences():
        import torch

        from limbeck_server.distillation.device import choose_device
        from limbeck_server.priors.training.preview import PROMPTS, write_preview

        torch.set_num_threads(threads)
        texts = tuple(prompt or PROMPTS)
        write_preview(model, out, choose_device(device), texts, seed, guidance_scale, steps, min(columns, len(texts)))
    say(f"{out}: " + ", ".join(texts))


@app.command("classifier")
def classifier(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Gets classifier.safetensors, classifier.json, a log.")],
    iterations: Annotated[int | None, typer.Option(help="Steps in all; 4500 by default.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of weights and batches.", min=0, max=2**31 - 1)] = 0,
    views: Annotated[int | None, typer.Option(help="Stored views of every shape; 960 by default.", min=2)] = None,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Train the small classifier that judges pictures beside the exact prior; the one that ships was made like this.

    It tells shapes and colours of the known world's pictures apart, and its features are what Frechet distances are
    taken in. About twelve minutes on one core. The accuracy that it prints is on views that it was not trained on.
    """
    from limbeck_server.cli.output import print_json, say

    _make_folder(out)
    with sentences():
        import torch

        from limbeck_server.priors.training.classifier_training import ClassifierSettings, train_classifier

        torch.set_num_threads(threads)
        given: dict[str, Any] = {"iterations": iterations, "views_per_shape": views}
        settings = ClassifierSettings(seed=seed, **{name: value for name, value in given.items() if value is not None})
        with _training_bar() as bar:
            found = train_classifier(settings, out, progress=bar.on_step, view_progress=bar.on_views)
    accuracy = found["accuracy"]
    shares = ", ".join(f"{name} {100 * accuracy[name]:.1f}%" for name in ("shape", "colour", "both"))
    say(f"The classifier is in {out}. Right about {accuracy['pictures']} pictures of other views: {shares}.")
    if as_json:
        print_json({"out": str(out), **found})


@contextmanager
def spinner() -> Iterator[Callable[[str], None]]:
    """What is being done and for how long, on standard error; silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda text: bar.update(task, description=text)


class _TrainingBar:
    """A progress bar on standard error; a plain line now and then where that is no terminal."""

    _LINE_EVERY = 100

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}

    @contextmanager
    def running(self) -> Iterator[_TrainingBar]:
        with self._bars:
            yield self

    def on_views(self, done: int, total: int) -> None:
        self._move("views", done, total, "")
        if done == total and not self._console.is_terminal:
            self._console.print(f"{total} views are ready", highlight=False)

    def on_step(self, step: Any) -> None:
        told = f"loss {step.loss:.4f}  {step.seconds_per_iteration:.2f} s each"
        self._move("training", step.iteration, step.iterations, told)
        if step.iteration % self._LINE_EVERY == 0 and not self._console.is_terminal:
            self._console.print(f"{step.iteration}/{step.iterations}  {told}", highlight=False)

    def _move(self, name: str, done: int, total: int, told: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total, told="")
        self._bars.update(self._tasks[name], completed=done, total=total, told=told)


def _training_bar() -> Any:
    return _TrainingBar().running()


@contextmanager
def _stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Interrupt and terminate ask politely: the step is finished and the state saved."""
    seen: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, frame: seen.append(number))
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_folder(path: Path) -> None:
    from limbeck_protocol.errors import ErrorCode

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "there is a file of that name" if isinstance(error, FileExistsError) else error.strerror
        raise _error(
            f"The folder {path} cannot be made: {why}. Choose another --out.", ErrorCode.CANNOT_WRITE
        ) from error


def _error(message: str, code: Any = None) -> LimbeckError:
    from limbeck_protocol.errors import ErrorCode, LimbeckError

    return LimbeckError(code or ErrorCode.INVALID_FIELD, message)


@contextmanager
def sentences() -> Iterator[None]:
    """What the core refuses becomes an error of the command line."""
    from limbeck_protocol.errors import ErrorCode, as_sentence

    try:
        yield
    except ValueError as error:
        code = getattr(error, "code", None)
        raise _error(as_sentence(error), ErrorCode(code) if code else None) from error
    except OSError as error:
        sentence = f"{error.filename or 'The folder'} cannot be written: {error.strerror or error}."
        raise _error(sentence, ErrorCode.CANNOT_WRITE) from error
