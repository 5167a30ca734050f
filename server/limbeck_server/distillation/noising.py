"""Random noising: which timesteps and what noise. Every draw takes a generator, so that a seed means a result."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck_server.priors.prior import NoiseSchedule


def timestep_bounds(minimum: float, maximum: float, timesteps: int) -> tuple[int, int]:
    """Return the lowest and the highest timestep to draw, both included, for shares of a schedule.

    Args:
        minimum: share 0..1; 0.02 of 1000 timesteps is 20.
        maximum: share 0..1, not below `minimum`; 0.98 is 980, and 1 is the last timestep, 999.
        timesteps: how many the schedule has.

    Raises:
        ValueError: the shares are not 0 <= minimum <= maximum <= 1.
    """
    if not 0.0 <= minimum <= maximum <= 1.0:
        raise ValueError(
            f"the timestep range must satisfy 0 <= minimum <= maximum <= 1 as shares of the schedule, got {minimum:g} "
            f"and {maximum:g}. Lower the minimum or raise the maximum."
        )
    # Rounded, not cut off: 0.29 * 100 is 28.999999999999996.
    lowest, highest = (min(round(share * timesteps), timesteps - 1) for share in (minimum, maximum))
    return lowest, highest


def draw_timesteps(minimum: int, maximum: int, views: int, generator: torch.Generator) -> Tensor:
    """Return `views` timesteps (int64), uniform over minimum..maximum, both included, on the generator's device.

    Raises:
        ValueError: the range is empty or starts below 0.
    """
    if not 0 <= minimum <= maximum:
        raise ValueError(f"timesteps are drawn from 0 <= minimum <= maximum, got {minimum} and {maximum}")
    return torch.randint(minimum, maximum + 1, (views,), generator=generator, device=generator.device)


def draw_noise(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Return standard normal noise like `latents`, drawn on the generator's device: a CPU seed serves every device."""
    noise = torch.randn(latents.shape, generator=generator, device=generator.device, dtype=torch.float32)
    return noise.to(latents)


def schedule_values(
    schedule: NoiseSchedule, timesteps: Tensor, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return signal scale and noise std at the timesteps (views,), both (views, 1, 1, 1)."""
    index = timesteps.to(schedule.signal_scales.device)
    signal_scale, noise_std = schedule.signal_scales[index], schedule.noise_stds[index]
    return signal_scale.to(device, dtype).view(-1, 1, 1, 1), noise_std.to(device, dtype).view(-1, 1, 1, 1)


def add_noise(latents: Tensor, noise: Tensor, signal_scale: Tensor, noise_std: Tensor) -> Tensor:
    """Return the noisy latents z_t = signal_scale z + noise_std noise, shaped like `latents` (views, c, h, w)."""
    return signal_scale * latents + noise_std * noise
