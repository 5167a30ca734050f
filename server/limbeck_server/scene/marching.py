"""What both marchers share: settings, sample intervals, and where a ray crosses the bounding ball."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RenderSettings:
    """How rays are sampled.

    Attributes:
        samples_per_ray: how many samples a ray through the ball's centre gets; the step, 2 bound_radius /
            (samples_per_ray - 1), is the same for all rays.
        bound_radius: radius of the ball around the origin outside which nothing is sampled; the field's bound.
        weight_threshold: samples of at most this weight are left out of the picture. That changes a pixel's opacity by
            at most samples_per_ray x weight_threshold. 0 keeps all.
        rays_per_chunk: how many rays are searched for samples at a time, which limits memory.
    """

    samples_per_ray: int = 64
    bound_radius: float = 0.72
    weight_threshold: float = 1e-4
    rays_per_chunk: int = 65_536

    def __post_init__(self) -> None:
        if self.samples_per_ray < 2 or not self.bound_radius > 0 or self.rays_per_chunk < 1:
            raise ValueError(
                "rendering needs at least 2 samples per ray, a bounding radius above 0 and at least 1 ray per chunk, "
                f"got {self.samples_per_ray}, {self.bound_radius} and {self.rays_per_chunk}"
            )

    @property
    def step(self) -> float:
        """Length of a sample. One sample more than fits the diameter, so that the first may be cut short by jitter."""
        return 2 * self.bound_radius / (self.samples_per_ray - 1)


@dataclass(frozen=True)
class Intervals:
    """Samples of many rays in one list, sorted by ray and by distance.

    Attributes:
        ray_index: (samples,) int64, which ray.
        starts, ends: (samples,) distances along the ray, in object units.
    """

    ray_index: Tensor
    starts: Tensor
    ends: Tensor

    def __len__(self) -> int:
        return self.ray_index.shape[0]

    @property
    def middles(self) -> Tensor:
        """(samples,) where the field is looked up."""
        return 0.5 * (self.starts + self.ends)

    def along(self, vectors: Tensor) -> Tensor:
        """Return (samples, 3): each sample's row of vectors (rays, 3), coordinate by coordinate in memory.

        Every later operation works on whole coordinates, which is several times faster in this layout.
        """
        return vectors.t().contiguous().index_select(1, self.ray_index).t()

    def points(self, origins: Tensor, directions: Tensor) -> Tensor:
        """Return (samples, 3), the middles in space, for rays with origins and directions (rays, 3)."""
        return torch.addcmul(self.along(origins), self.along(directions), self.middles[:, None])

    def keep(self, mask: Tensor) -> Intervals:
        """Return those samples for which mask (samples,) is true."""
        chosen = mask.nonzero()[:, 0]
        return Intervals(*(part.index_select(0, chosen) for part in (self.ray_index, self.starts, self.ends)))


def intersect_ball(origins: Tensor, directions: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return distances (rays,) at which rays enter and leave a ball around the origin.

    Directions (rays, 3) are unit vectors. A ray that starts inside enters at 0; one that misses, or has the ball behind
    it, leaves where it enters.
    """
    closest = -(origins * directions).sum(-1)
    # The distance of the ray from the centre, from the closest point itself: |o|^2 - closest^2 would cancel.
    miss_square = (origins + closest[:, None] * directions).square().sum(-1)
    half_chord = (radius * radius - miss_square).clamp_min(0).sqrt()
    near = (closest - half_chord).clamp_min(0)
    return near, torch.maximum(closest + half_chord, near)
