"""The CPU's marcher: nerfacc's batched functions on padded rays, and our own empty-space skipping.

nerfacc's packed functions and its marcher exist in CUDA only, and asking for them starts a compiler wherever nvcc is
found. Nothing here does: `render_weight_from_density` on (rays, samples) is plain torch.
"""

from __future__ import annotations

import nerfacc
import torch
from torch import Tensor

from limbeck_server.scene.marching import Intervals, RenderSettings
from limbeck_server.scene.occupancy import OccupancyGrid


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
    """Return the samples of rays between `near` and `far` (rays,) that lie in occupied cells, all if there is no map.

    The boundaries between samples stand at near + (k - offset) step, offset (rays,) in 0..1; the first and the last
    sample are cut at near and far, so that lengths always add up to far - near.
    """
    hit = (far > near).nonzero()[:, 0]
    near, far = near[hit, None], far[hit, None]
    ticks = torch.arange(settings.samples_per_ray + 1, dtype=near.dtype, device=near.device) * settings.step
    edges = (near - settings.step * offsets[hit, None]) + ticks
    edges = torch.minimum(torch.maximum(edges, near), far)
    starts, ends = edges[:, :-1], edges[:, 1:]
    wanted = starts < ends
    if occupancy is not None:
        # Coordinate by coordinate: three long rows instead of many short ones.
        middles = 0.5 * (starts + ends)
        points = [torch.addcmul(origins[hit, k, None], middles, directions[hit, k, None]) for k in range(3)]
        wanted &= occupancy.contains(torch.stack(points).view(3, -1).t()).view_as(wanted)
    flat = wanted.view(-1).nonzero()[:, 0]
    ray = flat.div(settings.samples_per_ray, rounding_mode="floor")
    return Intervals(
        hit.index_select(0, ray), starts.reshape(-1).index_select(0, flat), ends.reshape(-1).index_select(0, flat)
    )


def compositing_weights(densities: Tensor, intervals: Intervals, rays: int) -> Tensor:
    """Return the weights (samples,) of samples with densities (samples,); differentiable in the densities.

    The list is spread over a padded (rays that have samples, most samples of a ray) table, where padding has no length.
    """
    if len(intervals) == 0:
        return densities
    counts = torch.bincount(intervals.ray_index, minlength=rays)
    rows, columns = int((counts > 0).sum()), int(counts.max())
    # A ray's row in the table begins at (rank of the ray) x columns, its samples in the list at `first`.
    first = counts.cumsum(0) - counts
    shift = ((counts > 0).cumsum(0) - 1) * columns - first
    slot = torch.arange(len(intervals), device=counts.device) + shift.index_select(0, intervals.ray_index)

    def spread(values: Tensor) -> Tensor:
        return values.new_zeros(rows * columns).index_copy_(0, slot, values).view(rows, columns)

    # nerfacc asks for starts and ends, and takes their difference.
    lengths = spread(intervals.ends - intervals.starts)
    weights: Tensor
    weights, _, _ = nerfacc.render_weight_from_density(torch.zeros_like(lengths), lengths, spread(densities))
    return weights.view(-1).index_select(0, slot)
