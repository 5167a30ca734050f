"""What determines a training run, and nothing besides: same settings, same machine, same weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from limbeck_server.priors.training.architecture import Architecture
from limbeck_server.priors.training.texts import CaptionShares


class TrainingError(ValueError):
    """A training run cannot begin or go on. The message says why and what to do."""


@dataclass(frozen=True)
class TrainingSettings:
    """A training run.

    Attributes:
        iterations: steps in all; the learning rate reaches zero with the last.
        batch: pictures a step.
        seed: of the weights and of every batch.
        learning_rate: AdamW's, after the warm-up; it falls along half a cosine.
        warm_up: steps over which it rises.
        weight_decay: AdamW's.
        clip: largest norm of the gradient.
        ema: share of the weights' running mean that a step keeps, at most; at first it keeps less.
        snr_limit: signal-to-noise ratio above which a timestep counts less (min-SNR weights, Hang et al. 2023).
        views_per_shape: stored views of every shape.
        expected_noise: teach the expected noise instead of the drawn one (see `targets`).
        captions: how often captions leave out what.
        architecture: sizes of the networks.
    """

    iterations: int = 10_000
    batch: int = 32
    seed: int = 0
    learning_rate: float = 1e-3
    warm_up: int = 100
    weight_decay: float = 1e-3
    clip: float = 1.0
    ema: float = 0.999
    snr_limit: float = 5.0
    views_per_shape: int = 960
    expected_noise: bool = True
    captions: CaptionShares = field(default_factory=CaptionShares)
    architecture: Architecture = field(default_factory=Architecture)

    def __post_init__(self) -> None:
        for name, value in (("iterations", self.iterations), ("batch", self.batch), ("views", self.views_per_shape)):
            if value < 1:
                raise TrainingError(f"a training run needs 1 or more {name}, but {value} were asked for")

    def learning_rate_at(self, iteration: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warmed_up = min(1.0, (iteration + 1) / (self.warm_up + 1))
        done = min(1.0, iteration / self.iterations)
        return self.learning_rate * warmed_up * 0.5 * (1.0 + math.cos(math.pi * done))

    def ema_at(self, iteration: int) -> float:
        """Return the share of the running mean that a step, counted from 0, keeps."""
        return min(self.ema, (1.0 + iteration) / (10.0 + iteration))

    def as_json(self) -> dict[str, Any]:
        """Return all of it as numbers, texts and lists."""
        values = asdict(self)
        values["architecture"]["channels"] = list(self.architecture.channels)
        return values

    def check_resumes(self, stored: dict[str, Any]) -> None:
        """Raise `TrainingError` unless a run begun with `stored` settings may go on with these.

        The number of iterations may differ: the learning rate then follows the new plan from here on.
        """
        own = replace(self, iterations=1).as_json()
        different = sorted(name for name, value in own.items() if name != "iterations" and stored.get(name) != value)
        if different:
            before = ", ".join(f"{name} {stored.get(name)}" for name in different)
            raise TrainingError(
                f"the folder holds a training run with other settings ({before}). Go on with those, or train into "
                "another folder."
            )
