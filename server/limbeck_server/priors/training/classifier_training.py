"""Training the classifier: pictures of the known world with all twelve colours, most of them clean, some poor or noisy.

Everything follows from the seed: each step has a generator of its own, so that the same settings give the same weights
on one machine with the same number of threads.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture
from limbeck_server.known_world.views import load_library, world_digest
from limbeck_server.priors.exact import degraded_views
from limbeck_server.priors.training.batches import DEGRADED_VIEWS_PER_SHAPE, World, world_colours
from limbeck_server.priors.training.classifier import (
    Classifier,
    ClassifierArchitecture,
    build_classifier,
    save_classifier,
)
from limbeck_server.priors.training.judging import split_views
from limbeck_server.priors.training.settings import TrainingError
from limbeck_server.priors.training.state import write_whole
from limbeck_server.priors.training.trainer import Step

LOG = "log.jsonl"
_LOG_EVERY = 10
_SEEDS_PER_RUN = 2**32


@dataclass(frozen=True)
class ClassifierSettings:
    """What determines a classifier's weights.

    Attributes:
        iterations: steps in all; the learning rate reaches zero with the last.
        batch: pictures a step.
        seed: of the weights and of every batch.
        learning_rate: AdamW's, at its highest; half a cosine from there on.
        warm_up: steps over which it rises.
        weight_decay: AdamW's.
        views_per_shape: stored views of every shape, of which a twentieth is kept for the test.
        degraded_share: of the pictures, blurred, coarse, dark or of low contrast.
        noisy_share: of the pictures, with noise.
        noise_std: the most of it, in 0..1.
        shift: by how many pixels a picture is moved at most, to each side.
        tests_per_view: colours and backgrounds that each view of the test is shown in.
        architecture: sizes of the network.
    """

    iterations: int = 4500
    batch: int = 64
    seed: int = 0
    learning_rate: float = 4e-3
    warm_up: int = 100
    weight_decay: float = 1e-3
    views_per_shape: int = 960
    degraded_share: float = 0.1
    noisy_share: float = 0.3
    noise_std: float = 0.08
    shift: int = 2
    tests_per_view: int = 4
    architecture: ClassifierArchitecture = field(default_factory=ClassifierArchitecture)

    def __post_init__(self) -> None:
        for name, value, least in (("iterations", self.iterations, 1), ("batch", self.batch, 2)):
            if value < least:
                raise TrainingError(f"a classifier's training needs {least} or more {name}, but {value} were asked for")
        if self.views_per_shape < 2:
            raise TrainingError(
                f"a classifier needs 2 or more views of every shape, one of them for the test, but "
                f"{self.views_per_shape} were asked for"
            )

    def learning_rate_at(self, iteration: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warmed_up = min(1.0, (iteration + 1) / (self.warm_up + 1))
        return self.learning_rate * warmed_up * 0.5 * (1.0 + math.cos(math.pi * iteration / self.iterations))


@dataclass(frozen=True)
class Shown:
    """Pictures and what they show.

    Attributes:
        pictures: (n, 3, s, s) in 0..1.
        shapes, colours: (n,) int64, places in `SHAPE_NAMES` and `COLOURS`.
    """

    pictures: Tensor
    shapes: Tensor
    colours: Tensor


def draw_pictures(world: World, settings: ClassifierSettings, generator: torch.Generator) -> Shown:
    """Return a batch of pictures: shapes and colours alike, clamped to 0..1 as decoded pictures are."""
    count = settings.batch
    poor = torch.rand(count, generator=generator) < settings.degraded_share
    unit = torch.rand(count, generator=generator)
    shifts = torch.randint(2 * settings.shift + 1, (2, count), generator=generator)
    shapes = torch.empty(count, dtype=torch.int64)
    size = world.clean.size
    buffers = torch.empty(count, 5, size, size)
    for library, chosen in ((world.clean, ~poor), (world.degraded, poor)):
        rows = (unit[chosen] * len(library.shape_index)).long().clamp(max=len(library.shape_index) - 1)
        shapes[chosen] = library.shape_index[rows]
        buffers[chosen] = _moved(_as_floats(library.buffers[rows]), shifts[:, chosen], settings.shift)
    pictures, colours = _coloured(buffers, generator)
    noise_std = settings.noise_std * torch.rand(count, generator=generator)
    noise_std *= torch.rand(count, generator=generator) < settings.noisy_share
    noise = torch.randn(pictures.shape, generator=generator)
    return Shown((pictures + noise_std[:, None, None, None] * noise).clamp(0, 1), shapes, colours)


def train_classifier(
    settings: ClassifierSettings,
    folder: Path,
    *,
    cache_folder: Path | None = None,
    progress: Callable[[Step], None] | None = None,
    view_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train a classifier, write it and its log into a folder, and return its accuracy on views it was not trained on.

    Args:
        settings: what determines the weights.
        folder: made if it is not there; gets `classifier.safetensors`, `classifier.json` and `log.jsonl`.
        cache_folder: where the world's views are kept; the user's cache folder if left out.
        progress: told after every tenth step.
        view_progress: told (views done, views in all) as stored views are rendered or read.

    Returns:
        `accuracy`, see `accuracy_on`; `parameters`, how many; `seconds`.

    Raises:
        TrainingError: the weights ran away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(SHAPE_NAMES, settings.views_per_shape)
    library = load_library(counts, settings.architecture.picture_size, cache_folder, view_progress)
    known, others, _ = split_views(library, settings.views_per_shape)
    world = World(known, degraded_views(known, max(1, settings.views_per_shape * DEGRADED_VIEWS_PER_SHAPE // 960)))
    begun = time.monotonic()
    classifier = build_classifier(settings.architecture, settings.seed)
    _steps(classifier, world, settings, folder / LOG, progress)
    found: dict[str, Any] = {
        "accuracy": accuracy_on(classifier.eval(), others, settings.tests_per_view, settings.seed),
        "parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "seconds": round(time.monotonic() - begun, 1),
    }
    about = {name: value for name, value in asdict(settings).items() if name != "architecture"}
    save_classifier(classifier, folder, {"training": about | {"world": world_digest()}, **found})
    return found


@torch.no_grad()
def accuracy_on(classifier: Classifier, views: ViewLibrary, times: int, seed: int) -> dict[str, float]:
    """Return how often a classifier is right about clean pictures of views, each in `times` colours and backgrounds.

    Returns:
        `pictures`, how many; `shape`, `colour`, `both`, shares 0..1.
    """
    generator = torch.Generator().manual_seed(seed)
    hits = torch.zeros(3)
    for _ in range(times):
        pictures, colours = _coloured(_as_floats(views.buffers), generator)
        words = classifier.words(pictures)
        shape = torch.tensor([SHAPE_NAMES.index(word) for word in words["shape"]]) == views.shape_index
        colour = torch.tensor([list(COLOURS).index(word) for word in words["colour"]]) == colours
        hits += torch.stack([shape.sum(), colour.sum(), (shape & colour).sum()])
    count = times * len(views.shape_index)
    return {"pictures": count} | dict(zip(("shape", "colour", "both"), (hits / count).tolist(), strict=True))


def _steps(
    classifier: Classifier,
    world: World,
    settings: ClassifierSettings,
    log: Path,
    progress: Callable[[Step], None] | None,
) -> None:
    """Train, and write a line of the log after every tenth step."""
    classifier.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        classifier.parameters(), betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=True
    )
    write_whole(log, b"")
    since, begun = torch.zeros(3), time.monotonic()
    for iteration in range(settings.iterations):
        generator = torch.Generator().manual_seed(settings.seed * _SEEDS_PER_RUN + iteration)
        shown = draw_pictures(world, settings, generator)
        shapes, colours = classifier(shown.pictures.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(shapes, shown.shapes) + functional.cross_entropy(colours, shown.colours)
        if not bool(loss.isfinite()):
            raise TrainingError(
                f"the error is not finite at iteration {iteration}: the weights have run away. Choose another seed."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(iteration)
        optimizer.step()
        right = [(a.argmax(1) == b).float().mean() for a, b in ((shapes, shown.shapes), (colours, shown.colours))]
        since += torch.stack([loss.detach(), *right])
        done = iteration + 1
        if done % _LOG_EVERY == 0 or done == settings.iterations:
            steps = done % _LOG_EVERY or _LOG_EVERY
            mean, each = since / steps, (time.monotonic() - begun) / steps
            line = dict(zip(("loss", "shape", "colour"), (round(value, 5) for value in mean.tolist()), strict=True))
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"iteration": done, **line, "seconds_per_iteration": round(each, 4)}) + "\n")
            if progress is not None:
                progress(Step(done, settings.iterations, float(mean[0]), each))
            since, begun = torch.zeros(3), time.monotonic()


def _as_floats(buffers: Tensor) -> Tensor:
    return buffers if buffers.is_floating_point() else buffers.float() / 255


def _moved(buffers: Tensor, shifts: Tensor, most: int) -> Tensor:
    """Return buffers (n, 5, s, s) moved by shifts (2, n) - most pixels; what comes in is what the edge shows."""
    n, _, size, _ = buffers.shape
    padded = functional.pad(buffers, (most,) * 4, mode="replicate")
    ticks = torch.arange(size)
    rows, columns = (shift[:, None] + ticks for shift in shifts)
    channels = torch.arange(buffers.shape[1])
    return padded[
        torch.arange(n)[:, None, None, None],
        channels[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _coloured(buffers: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return pictures (n, 3, s, s), clamped to 0..1, of buffers in colours of the world, and the colours' places."""
    model, n = world_colours(), len(buffers)
    colours = torch.randint(len(COLOURS), (n,), generator=generator)
    main = model.means[colours] + model.std * torch.randn(n, 3, generator=generator)
    background = model.background_mean + model.background_std * torch.randn(n, 3, generator=generator)
    return compose_picture(buffers, main, background).clamp(0, 1), colours
