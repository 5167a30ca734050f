"""The measures, the grids of pictures and the costs of the study `text-to-2d`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from limbeck_server.priors.training.classifier import Classifier
from limbeck_server.priors.training.frechet import floor, frechet_distance, jackknife_error
from limbeck_server.studies import figures
from limbeck_server.studies.picture_measures import Figure, figure, hits, looks
from limbeck_server.studies.picture_runs import Made

SAMPLES = "DDIM"
"""How the truth is called."""
FLOOR_DRAWS = 200

MadeByAll = Mapping[str, Mapping[str, Made]]
"""Way of making pictures, `SAMPLES` last -> prompt -> pictures."""


def measure_looks(made: MadeByAll, classifier: Classifier) -> dict[str, dict[str, Any]]:
    """Return, for every way and for the samples, what its pictures look like and whether they are right."""
    found: dict[str, dict[str, Any]] = {}
    for label, runs in made.items():
        texts = [prompt for prompt, run in runs.items() for _ in run.pictures]
        latents, pictures = (
            torch.cat([getattr(run, kind) for run in runs.values()]) for kind in ("latents", "pictures")
        )
        measured = {**looks(latents, pictures), "both": hits(classifier, pictures, texts)["both"]}
        found[label] = {name: asdict(figure(values)) for name, values in measured.items()} | _cost(runs)
    return found


def measure_distances(made: MadeByAll, classifier: Classifier, seed: int) -> dict[str, dict[str, Any]]:
    """Return, for every way and for the samples, the distance from the samples and the shares of right pictures.

    The samples' own distance is that of as few of them from the rest: a floor for all others.
    """
    truth = torch.stack([classifier.features(run.pictures) for run in made[SAMPLES].values()])
    starts = min(len(run.pictures) for runs in made.values() for run in runs.values())
    found: dict[str, dict[str, Any]] = {}
    for label, runs in made.items():
        texts = [prompt for prompt, run in runs.items() for _ in run.pictures]
        pictures = torch.cat([run.pictures for run in runs.values()])
        if label == SAMPLES:
            generator = torch.Generator().manual_seed(seed)
            distance = Figure(*floor(truth, starts, FLOOR_DRAWS, generator))
        else:
            features, whole = classifier.features(pictures), truth.flatten(0, 1)
            distance = Figure(frechet_distance(features, whole), jackknife_error(features, whole))
        right = {name: asdict(figure(values)) for name, values in hits(classifier, pictures, texts).items()}
        found[label] = {"frechet": asdict(distance), **right} | _cost(runs)
    return found


def _cost(runs: Mapping[str, Made]) -> dict[str, float]:
    """Return how many pictures there are, and evaluations and seconds for each of them."""
    count = sum(len(run.pictures) for run in runs.values())
    evaluations = sum(run.evaluations * len(run.pictures) for run in runs.values())
    seconds = sum(run.seconds for run in runs.values())
    return {"pictures": count, "evaluations": evaluations / count, "seconds": round(seconds / count, 3)}


def draw_grid(made: MadeByAll, prompts: Sequence[str], shown: int, title: str, path: Path) -> None:
    """Write a row for every way, the samples last, and the first `shown` pictures of every prompt."""
    columns = [(prompt, index) for prompt in prompts if prompt in made[SAMPLES] for index in range(shown)]
    figure_, axes = figures.panels(len(made), len(columns), (1.0, 1.12), f"{title}: what each loss makes of it")
    for row, (label, runs) in zip(axes, made.items(), strict=True):
        for panel, (prompt, index) in zip(row, columns, strict=True):
            above = prompt.split(" ", 1)[1] if row is axes[0] and index == 0 else ""
            figures.picture(panel, runs[prompt].pictures[index].permute(1, 2, 0).numpy(), title=above)
            panel.title.set_fontsize("xx-small")
        row[0].set_axis_on()
        row[0].set_xticks([])
        row[0].set_yticks([])
        row[0].spines[:].set_visible(False)
        row[0].set_ylabel(label, fontsize="small")
    figures.save(figure_, path)
