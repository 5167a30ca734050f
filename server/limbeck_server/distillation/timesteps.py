"""Which timesteps a step looks at, by name. Torch is not imported: the server lists the names.

`uniform` draws; the others are deterministic and fall over the run, from coarse shape to fine detail. Bounds that move
(`timestep_max` as a schedule) and a falling timestep add up: with a constant upper end, each is its paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from limbeck_server.priors.prior import NoiseSchedule

DREAMTIME_PLATEAU = (0.5, 0.8)
"""DreamTime's m2 and m1, 500 and 800 of 1000 timesteps, as shares of the schedule."""
DREAMTIME_FALL_BELOW = 0.1
"""DreamTime's s2, 100 of 1000 timesteps: how fast the profile falls below the plateau."""
DREAMTIME_FALL_ABOVE = 0.3
"""DreamTime's s1, 300 of 1000 timesteps."""


def linear(lowest: int, highest: int, share: float, schedule: NoiseSchedule) -> int:
    """Return a timestep that falls evenly from `highest` to `lowest`: SDI (Lukoianov et al. 2024, arXiv:2405.15891)."""
    return round(highest - (highest - lowest) * share)


def hifa(lowest: int, highest: int, share: float, schedule: NoiseSchedule) -> int:
    """Return highest - (highest - lowest) sqrt(share), fast first: HiFA (Zhu et al. 2023, arXiv:2305.18766)."""
    return round(highest - (highest - lowest) * math.sqrt(share))


def dreamtime_weights(schedule: NoiseSchedule, lowest: int, highest: int) -> Tensor:
    """Return W(t) of t = lowest..highest, both included, float64, adding up to 1.

    Time-prioritised score distillation (DreamTime, Huang et al. 2023, arXiv:2306.12422): W is the product of
    sqrt((1 - alpha_bar) / alpha_bar) and a profile that is 1 on a plateau and falls like a Gaussian on either side,
    normalised over the range that is used. The paper's plateau and widths are meant for 1000 timesteps; with another
    number they keep their shares of the schedule.
    """
    import torch

    timesteps = torch.arange(lowest, highest + 1)
    start, end = (edge * schedule.timesteps for edge in DREAMTIME_PLATEAU)
    above = (timesteps - end).clamp_min(0.0).double() / (DREAMTIME_FALL_ABOVE * schedule.timesteps)
    below = (start - timesteps).clamp_min(0.0).double() / (DREAMTIME_FALL_BELOW * schedule.timesteps)
    signal_scales, noise_stds = (
        values[lowest : highest + 1].double().cpu() for values in (schedule.signal_scales, schedule.noise_stds)
    )
    weights = noise_stds / signal_scales * torch.exp(-0.5 * (above**2 + below**2))
    return weights / weights.sum()


def dreamtime(lowest: int, highest: int, share: float, schedule: NoiseSchedule) -> int:
    """Return the timestep down to which `share` of the weight lies: argmin over t of |W(t) + ... + W(highest) - share|.

    Timesteps of great weight are given many steps, the others few (see `dreamtime_weights`).
    """
    import torch

    reached = dreamtime_weights(schedule, lowest, highest).flip(0).cumsum(0)
    return highest - int(torch.argmin((reached - share).abs()))


TIMESTEP_SCHEDULES: dict[str, Callable[[int, int, float, NoiseSchedule], int] | None] = {
    "uniform": None,
    "linear": linear,
    "hifa": hifa,
    "dreamtime": dreamtime,
}
"""None draws at random."""


def choose_timesteps(
    kind: str,
    lowest: int,
    highest: int,
    views: int,
    share: float,
    schedule: NoiseSchedule,
    generator: torch.Generator,
) -> Tensor:
    """Return `views` timesteps (int64) in lowest..highest, both included, on the generator's device.

    Args:
        kind: `uniform` (random, independent for each view), `linear`, `hifa` or `dreamtime` (the same for all views).
        lowest: 0 or more.
        highest: below the schedule's number of timesteps.
        views: how many.
        share: of the run that is done, 0..1.
        schedule: of the prior.
        generator: the only source of randomness; untouched by the deterministic ones.

    Raises:
        ValueError: the name is unknown, the range is empty or beyond the schedule, or the share is not in 0..1.
    """
    import torch

    from limbeck_server.distillation.noising import draw_timesteps

    if kind not in TIMESTEP_SCHEDULES:
        raise ValueError(f"there is no timestep schedule {kind!r}; there are: {', '.join(TIMESTEP_SCHEDULES)}")
    if not 0 <= lowest <= highest < schedule.timesteps:
        raise ValueError(
            f"timesteps must satisfy 0 <= lowest <= highest < {schedule.timesteps}, got {lowest} and {highest}"
        )
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the share of the run that is done must lie in 0..1, got {share}")
    choose = TIMESTEP_SCHEDULES[kind]
    if choose is None:
        return draw_timesteps(lowest, highest, views, generator)
    return torch.full((views,), choose(lowest, highest, share, schedule), dtype=torch.int64, device=generator.device)
