"""CUDA's marcher: nerfacc's packed rays and its occupancy grid, fed from our own map.

The map is refreshed by `OccupancyGrid` on either device, with the run's own generator; nerfacc's estimator only marches
through it. The first call builds nerfacc's CUDA extension, unless a wheel brought it along.
"""

from __future__ import annotations

from functools import lru_cache

import nerfacc
import torch
from torch import Tensor

from limbeck_server.scene.marching import Intervals, RenderSettings
from limbeck_server.scene.occupancy import OccupancyGrid


@lru_cache(maxsize=4)
def _estimator(bound: float, resolution: int, device: torch.device) -> nerfacc.OccGridEstimator:
    # Kept, since its constructor numbers all cells on the CPU. The cells themselves are set at every use.
    return nerfacc.OccGridEstimator([-bound] * 3 + [bound] * 3, resolution=resolution).to(device)


@torch.no_grad()
def find_intervals(
    origins: Tensor,
    directions: Tensor,
    near: Tensor,
    far: Tensor,
    offsets: Tensor,
    settings: RenderSettings,
    occupancy: OccupancyGrid | None,
) -> Intervals:
    """Return the samples of rays between `near` and `far` (rays,) in occupied cells, all if there is no map."""
    if occupancy is None:
        bound, cells = settings.bound_radius, torch.ones((1, 1, 1), dtype=torch.bool, device=origins.device)
    else:
        bound, cells = occupancy.settings.bound, occupancy.occupied
    estimator = _estimator(bound, cells.shape[0], origins.device)
    estimator.binaries = cells[None].contiguous()
    hit = (far > near).nonzero()[:, 0]
    # nerfacc's own stratification draws from torch's global generator; the offset moves each ray's start instead. A
    # first sample that begins before `near` is outside the ball, where the field is 0.
    ray, starts, ends = estimator.sampling(
        origins[hit].float(),
        directions[hit].float(),
        t_min=(near[hit] - settings.step * offsets[hit]).clamp_min(0).float(),
        t_max=far[hit].float(),
        render_step_size=settings.step,
        early_stop_eps=0.0,
    )
    near, far = near[hit][ray], far[hit][ray]
    cut = Intervals(hit[ray], torch.clamp(starts, near, far), torch.clamp(ends, near, far))
    return cut.keep(cut.starts < cut.ends)


def compositing_weights(densities: Tensor, intervals: Intervals, rays: int) -> Tensor:
    """Return the weights (samples,) of samples with densities (samples,); differentiable in the densities."""
    if len(intervals) == 0:
        return densities
    weights: Tensor
    weights, _, _ = nerfacc.render_weight_from_density(
        intervals.starts, intervals.ends, densities, ray_indices=intervals.ray_index, n_rays=rays
    )
    return weights
