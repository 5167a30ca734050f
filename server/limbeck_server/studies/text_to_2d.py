"""Text to picture, the losses' own 2-D experiments: NFSD's Fig. 7, and MSD's Table 3 with its Fig. 4.

Part one, after Noise-Free Score Distillation (Katzir et al. 2023), Fig. 7: the picture itself is optimised, by SDS at
two guidance scales and by NFSD, from the same starts. Part two, after Mean-Shift Distillation (Thamizharasan et al.
2025), Table 3 and Fig. 4: a network of coordinates is optimised by SDS, SDI, NFSD and MSD, and its pictures are
compared with DDIM samples of the same prior: by their Frechet distance, here in the features of a classifier of the
known world, and by whether they show what was asked for, where the paper takes CLIP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limbeck_server.priors.kinds import EXACT
from limbeck_server.priors.prior import ModelError, Prior
from limbeck_server.priors.training.classifier import Classifier, load_classifier
from limbeck_server.studies.picture_measures import Figure, table
from limbeck_server.studies.picture_runs import Made, Runs, Sampling, Say, Setup
from limbeck_server.studies.priors import knows_the_world, load_study_prior
from limbeck_server.studies.text_to_2d_measures import (
    FLOOR_DRAWS,
    SAMPLES,
    draw_grid,
    measure_distances,
    measure_looks,
)

DIRECT_PRESET, NETWORK_PRESET = "nfsd-image", "msd-image"
DIRECT: dict[str, tuple[str, float]] = {"SDS 7.5": ("sds", 7.5), "SDS 100": ("sds", 100.0), "NFSD 7.5": ("nfsd", 7.5)}
"""Fig. 7's three: loss and guidance scale."""
NETWORK: dict[str, str] = {"SDS": "sds", "SDI": "sdi", "NFSD": "nfsd", "MSD": "msd"}
PAPER = {
    "SDS": {"Frechet": "198.9", "CLIP": "27.7"},
    "SDI": {"Frechet": "166.2", "CLIP": "31.0"},
    "MSD": {"Frechet": "114.1", "CLIP": "32.6"},
}
"""MSD's Table 3: FID (Inception's features, Stable Diffusion's samples) and CLIP score. NFSD is not in it."""

DIRECT_PROMPTS = ("a yellow duck", "a red car", "a green lamp", "a blue table")
NETWORK_PROMPTS = (
    *("a yellow duck", "a red cube", "a blue torus", "a green cone", "a purple mushroom"),
    *("a white snowman", "a red car", "an orange airplane", "a cyan mug", "a brown house"),
)
SIZE = 32


@dataclass(frozen=True)
class Extent:
    """How much is computed.

    Attributes:
        direct_prompts, network_prompts: how many of them.
        direct_starts, network_starts: pictures of each prompt, each with noise of its own.
        truths: DDIM samples of each prompt.
        truth_steps: of the sampler.
        direct_steps, network_steps: of a run; None for the preset's.
        chain_steps: of MSD's sampler; None for the preset's.
    """

    direct_prompts: int
    direct_starts: int
    network_prompts: int
    network_starts: int
    truths: int
    truth_steps: int
    direct_steps: int | None = None
    network_steps: int | None = None
    chain_steps: int | None = None


FULL = Extent(direct_prompts=4, direct_starts=2, network_prompts=10, network_starts=3, truths=48, truth_steps=25)
QUICK = Extent(
    direct_prompts=2,
    direct_starts=1,
    network_prompts=2,
    network_starts=2,
    truths=12,
    truth_steps=12,
    direct_steps=150,
    network_steps=40,
    chain_steps=6,
)

Setups = Callable[[str, str], Setup]
"""setups(preset, loss) -> how the preset makes pictures with that loss on the study's prior."""


def run(
    *,
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    setups: Setups,
    prior: str = EXACT,
    size: int = SIZE,
    extent: Extent | None = None,
    load: Callable[[str, str, int], Prior] = load_study_prior,
    classifier: Classifier | None = None,
) -> dict[str, Any]:
    """Make both parts' pictures, measure them, and write `direct.png` and `coordinate-network.png`.

    Every run is kept under `out`, so that the same call goes on where it was stopped.

    Args:
        quick: fewer prompts, starts and steps.
        seed: of all noise; the same starts for all ways of making a picture.
        out: folder for figures and runs.
        say: told what is being made.
        setups: the presets' values.
        prior: `exact`, `network`, or a folder with a model of the known world.
        size: of the exact prior's pictures.
        extent: how much is computed; by `quick` if left out.
        load: (name, prompt, size) -> the prior.
        classifier: the judge; the one that ships by default.

    Raises:
        ModelError: the prior is missing, or its pictures are not of the known world.
        DivergedError: a run's gradient is no longer finite.
    """
    extent = extent or (QUICK if quick else FULL)
    classifier = classifier or load_classifier()
    runs, priors = Runs(out / "runs", say), _Priors(prior, size, load, classifier.architecture.picture_size)
    parts = {
        "direct": _Part(
            {label: _direct(setups, label, extent, seed) for label in DIRECT},
            DIRECT_PROMPTS[: extent.direct_prompts],
            extent.direct_starts,
            Sampling(extent.truth_steps, 7.5, seed),
        ),
        "network": _Part(
            {label: _network(setups, label, extent, seed) for label in NETWORK},
            NETWORK_PROMPTS[: extent.network_prompts],
            extent.network_starts,
            Sampling(extent.truth_steps, setups(NETWORK_PRESET, "msd").settings.guidance_scale, seed),
        ),
    }
    made = {name: _make(name, runs, priors, part, extent.truths) for name, part in parts.items()}
    draw_grid(made["direct"], DIRECT_PROMPTS, extent.direct_starts, "the picture itself", out / "direct.png")
    draw_grid(made["network"], NETWORK_PROMPTS, 1, "a network of coordinates", out / "coordinate-network.png")
    return {
        "study": "text-to-2d",
        "choices": _choices(prior, size, extent, parts),
        "direct": measure_looks(made["direct"], classifier),
        "network": measure_distances(made["network"], classifier, seed),
        "paper": PAPER,
        "figures": ["direct.png", "coordinate-network.png"],
    }


@dataclass(frozen=True)
class _Part:
    """One of the study's two: ways to make pictures, prompts, pictures of each, and how true ones are drawn."""

    setups: Mapping[str, Setup]
    prompts: tuple[str, ...]
    starts: int
    truth: Sampling


class _Priors:
    """Loads priors: an exact one for each prompt, since it holds its shape's views; a network once."""

    def __init__(self, name: str, size: int, load: Callable[[str, str, int], Prior], least: int) -> None:
        self.name, self._size, self._load, self._least = name, size, load, least
        self._network: Prior | None = None

    def of(self, prompt: str) -> Prior:
        """Return the prior for a prompt.

        Raises:
            ModelError: its pictures are not of the known world, or smaller than what the classifier looks at.
        """
        if self._network is not None:
            self._network.check_prompt(prompt)
            return self._network
        prior = self._load(self.name, prompt, self._size)
        if not knows_the_world(prior):
            raise ModelError(
                "MODEL_NOT_FOUND",
                f"the study judges pictures by a classifier of the known world, and the prior {self.name!r} makes "
                "others; take exact, network, or a folder that `limbeck prior train` has made",
            )
        if _picture_size(prior) < self._least:
            raise ModelError(
                "MODEL_NOT_FOUND",
                f"the classifier looks at pictures of {self._least} pixels or more, and those of the prior "
                f"{self.name!r} have {_picture_size(prior)}",
            )
        if self.name != EXACT:
            self._network = prior
        return prior


def _direct(setups: Setups, label: str, extent: Extent, seed: int) -> Setup:
    loss, scale = DIRECT[label]
    return _as_short(setups(DIRECT_PRESET, loss).with_(guidance_scale=scale, seed=seed), extent.direct_steps)


def _network(setups: Setups, label: str, extent: Extent, seed: int) -> Setup:
    setup = setups(NETWORK_PRESET, NETWORK[label]).with_(seed=seed)
    if extent.chain_steps is not None and label == "MSD":
        setup = setup.with_(loss_parameters={"sampling_steps": float(extent.chain_steps)})
    return _as_short(setup, extent.network_steps)


def _as_short(setup: Setup, steps: int | None) -> Setup:
    return setup if steps is None or steps >= setup.settings.steps else setup.with_(steps=steps)


def _make(name: str, runs: Runs, priors: _Priors, part: _Part, truths: int) -> dict[str, dict[str, Made]]:
    """Return what every way of a part makes of every prompt: label -> prompt -> pictures; the truth's is `SAMPLES`."""
    made: dict[str, dict[str, Made]] = {label: {} for label in (*part.setups, SAMPLES)}
    for prompt in part.prompts:
        prior = priors.of(prompt)
        size = _picture_size(prior)
        made[SAMPLES][prompt] = runs.sampled(f"{name} {SAMPLES}", prior, part.truth, prompt, size, truths)
        for label, setup in part.setups.items():
            made[label][prompt] = runs.distilled(f"{name} {label}", prior, setup, prompt, size, part.starts)
    return made


def _picture_size(prior: Prior) -> int:
    """Return the side in pixels of a known world's prior's pictures: its latents are pictures."""
    return int(prior.encode_images(torch.zeros(1, 3, 64, 64, device=prior.device)).shape[-1])


def _choices(prior: str, size: int, extent: Extent, parts: Mapping[str, _Part]) -> dict[str, str]:
    found = {"prior": f"{prior}, pictures of {size} pixels" if prior == EXACT else prior}
    for name, preset in (("direct", DIRECT_PRESET), ("network", NETWORK_PRESET)):
        part = parts[name]
        one = next(iter(part.setups.values()))
        found[f"{name}: pictures"] = (
            f"{len(part.prompts)} prompts x {part.starts} starts, the same for all ways; generator {one.generator}"
        )
        told = ", ".join(f"{label} {setup.settings.steps}" for label, setup in part.setups.items())
        scales = ", ".join(f"{label} {setup.settings.guidance_scale:g}" for label, setup in part.setups.items())
        found[f"{name}: run"] = (
            f"preset {preset}; steps {told}; guidance scales {scales}; Adam at {one.settings.learning_rate:.3g}"
        )
        found[f"{name}: truth"] = (
            f"{extent.truths} DDIM samples of each prompt by the same prior, {part.truth.steps} steps, guidance scale "
            f"{part.truth.guidance_scale:g}"
        )
    found["distance"] = (
        "Frechet, Gaussians in the classifier's features, all prompts in one set; the samples' own: as few of them "
        f"from the rest, mean (and standard deviation) of {FLOOR_DRAWS} draws"
    )
    found["errors"] = "in brackets: s / sqrt(n) over pictures; of the distance by the jackknife over pictures"
    if extent.direct_steps or extent.network_steps or extent.chain_steps:
        found["shortened"] = (
            f"{extent.direct_steps} and {extent.network_steps} steps at the presets' learning rates; MSD's chains of "
            f"{extent.chain_steps} steps"
        )
    return found


def report(result: Mapping[str, Any]) -> str:
    """Return both tables, the paper's beside the second, and every choice, as text."""
    names = ("saturation", "contrast", "detail", "burnt", "both")
    direct = {
        label: {name: str(Figure(**row[name])) for name in names} | {"evaluations": f"{row['evaluations']:.0f}"}
        for label, row in result["direct"].items()
    }
    network = {
        label: {name: str(Figure(**row[name])) for name in ("frechet", "colour", "shape", "both")}
        | {"evaluations": f"{row['evaluations']:.0f}"}
        | {f"paper's {name}": value for name, value in result["paper"].get(label, {}).items()}
        for label, row in result["network"].items()
    }
    count = result["network"]["MSD"]["pictures"]
    return "\n".join(
        [
            "The picture itself, optimised (NFSD, Fig. 7)",
            *table(direct),
            "",
            f"A network of coordinates, optimised (MSD, Table 3): {count} pictures each, against {SAMPLES} samples",
            *table(network),
            "",
            "Choices",
            *(f"  {name}: {what}" for name, what in result["choices"].items()),
        ]
    )
