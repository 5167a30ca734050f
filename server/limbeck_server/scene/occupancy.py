"""Occupancy: a coarse map of where the field has density, so that the renderer can skip the rest.

A cell's estimate is the larger of its old one, decayed, and the density at a random point of the cell; a cell is
occupied if it or one of its 26 neighbours is above the threshold. The neighbours make up for what one random point may
miss, and let a shape grow into empty space. The same map serves the CPU renderer and, through nerfacc's marcher, the
CUDA one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


class HasDensity(Protocol):
    """What has a density everywhere, such as a field."""

    def density(self, points: Tensor) -> Tensor:
        """Return densities (n,) at points (n, 3)."""


@dataclass(frozen=True)
class Both:
    """Two things in one place, such as a field and what it was before: the denser one counts."""

    one: HasDensity
    other: HasDensity

    def density(self, points: Tensor) -> Tensor:
        """Return the larger of both densities (n,) at points (n, 3)."""
        return torch.maximum(self.one.density(points), self.other.density(points))


@dataclass(frozen=True)
class OccupancySettings:
    """How the map is kept.

    Attributes:
        resolution: cells per axis of the box [-bound, bound]^3.
        bound: half the side of the box; at least the renderer's bounding radius.
        threshold: density above which a cell is occupied. Skipping changes a ray's opacity by at most
            1 - exp(-threshold x length skipped), where the estimates are up to date.
        decay: factor on an old estimate at each refresh. Runs here are hundreds of steps, so forgetting is fast.
        refresh_every_steps: steps between two refreshes.
    """

    resolution: int = 32
    bound: float = 0.72
    threshold: float = 0.01
    decay: float = 0.5
    refresh_every_steps: int = 8


class OccupancyGrid(nn.Module):
    """The map. Everything is occupied until the first refresh. Its state is part of a checkpoint.

    Attributes:
        estimate: (resolution, resolution, resolution) decayed maxima of density, axes x, y, z.
        occupied: the same shape, bool.
    """

    estimate: Tensor
    occupied: Tensor

    def __init__(self, settings: OccupancySettings, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.settings = settings
        shape = (settings.resolution,) * 3
        self.register_buffer("estimate", torch.zeros(shape, device=device))
        self.register_buffer("occupied", torch.ones(shape, dtype=torch.bool, device=device))

    @torch.no_grad()
    def refresh(self, field: HasDensity, generator: torch.Generator) -> None:
        """Look at one random point of every cell and update the map."""
        resolution, bound = self.settings.resolution, self.settings.bound
        ticks = torch.arange(resolution, device=self.estimate.device)
        corners = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij")).reshape(3, -1)
        jitter = torch.rand(corners.shape, generator=generator, device=generator.device).to(corners.device)
        points = ((corners + jitter) * (2 * bound / resolution) - bound).t()
        density = field.density(points).to(self.estimate.dtype).view_as(self.estimate)
        torch.maximum(self.estimate * self.settings.decay, density, out=self.estimate)
        above = (self.estimate > self.settings.threshold).to(self.estimate.dtype)
        self.occupied = nn.functional.max_pool3d(above[None, None], 3, stride=1, padding=1)[0, 0] > 0

    def maybe_refresh(self, field: HasDensity, step: int, generator: torch.Generator) -> None:
        """Refresh the map if this training step is one at which it is due."""
        if step % self.settings.refresh_every_steps == 0:
            self.refresh(field, generator)

    @torch.no_grad()
    def contains(self, points: Tensor) -> Tensor:
        """Return (n,) bool: whether points (n, 3) of the box lie in occupied cells."""
        resolution, bound = self.settings.resolution, self.settings.bound
        cells = (points + bound).mul_(resolution / (2 * bound)).floor_().clamp_(0, resolution - 1)
        x, y, z = cells.unbind(-1)
        return self.occupied.view(-1).index_select(0, ((x * resolution + y) * resolution + z).to(torch.int64))
