"""Predictions made by hand: no network, float64, so that identities hold to rounding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from limbeck_server.distillation.noising import schedule_values
from limbeck_server.distillation.predictions import NoisePredictions
from limbeck_server.priors.prior import NoiseSchedule

SHAPE = (4, 3, 3)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def schedule() -> NoiseSchedule:
    return NoiseSchedule.stable_diffusion()


@pytest.fixture
def predictions_at(generator: torch.Generator, schedule: NoiseSchedule) -> Callable[..., NoisePredictions]:
    """Return predictions of independent random numbers at the given timesteps, any of them replaced by keyword."""

    def make(timesteps: list[int], **given: torch.Tensor | None) -> NoisePredictions:
        timestep = torch.tensor(timesteps)
        scale, std = schedule_values(schedule, timestep, torch.device("cpu"), torch.float64)
        shape = (len(timesteps), *SHAPE)
        names = ("conditional", "unconditional", "negative", "reference_noise")
        drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in names}
        values: dict[str, torch.Tensor | None] = {**drawn, "particle": None, **given}
        return NoisePredictions(timestep=timestep, signal_scale=scale, noise_std=std, **values)  # type: ignore[arg-type]

    return make
