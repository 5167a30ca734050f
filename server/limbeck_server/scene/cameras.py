"""Views and rays: the one camera model, shared by the renderer, the known world and the rigs.

World: right-handed, Z up, the object's front faces -Y, its centre is the origin, it fits into a ball of radius 0.6.
Cameras look along their own -Z with +Y up (Blender's and OpenGL's convention). Pictures have their first row on top.
This file is mathematics on tensors; it knows nothing of fields, priors or messages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Views:
    """A batch of cameras.

    Attributes:
        camera_to_world: (views, 4, 4).
        lens: (views, 3): focal length, horizontal shift, vertical shift, as shares of the picture's height. A positive
            horizontal shift moves the picture's contents left, as Blender's `shift_x` does.
    """

    camera_to_world: Tensor
    lens: Tensor

    def __len__(self) -> int:
        return self.camera_to_world.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Views:
        return Views(self.camera_to_world[index], self.lens[index])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Views:
        """Return the same views on another device or in another precision."""
        return Views(self.camera_to_world.to(device, dtype), self.lens.to(device, dtype))

    @property
    def positions(self) -> Tensor:
        """(views, 3): where the cameras stand."""
        return self.camera_to_world[:, :3, 3]


def look_at(positions: Tensor, targets: Tensor) -> Tensor:
    """Return camera-to-world matrices (n, 4, 4) for cameras at `positions` (n, 3) that look at `targets` (n, 3), Z up.

    A camera that looks straight up or down takes +Y as its picture's upward direction.
    """
    backward = torch.nn.functional.normalize(positions - targets, dim=-1)
    up = torch.tensor([0.0, 0.0, 1.0], dtype=positions.dtype, device=positions.device).expand_as(backward)
    vertical = backward[:, 2].abs() > 1.0 - 1e-6
    other_up = torch.tensor([0.0, 1.0, 0.0], dtype=positions.dtype, device=positions.device).expand_as(backward)
    up = torch.where(vertical[:, None], other_up, up)
    right = torch.nn.functional.normalize(torch.linalg.cross(up, backward), dim=-1)
    up = torch.linalg.cross(backward, right)
    matrix = torch.zeros(positions.shape[0], 4, 4, dtype=positions.dtype, device=positions.device)
    matrix[:, :3, 0], matrix[:, :3, 1], matrix[:, :3, 2], matrix[:, :3, 3] = right, up, backward, positions
    matrix[:, 3, 3] = 1.0
    return matrix


def orbit_positions(azimuth_deg: Tensor, elevation_deg: Tensor, distance: Tensor) -> Tensor:
    """Return positions (n, 3) on an orbit. Azimuth 0 is in front of the object (-Y), 90 at its left side (+X)."""
    azimuth, elevation = torch.deg2rad(azimuth_deg), torch.deg2rad(elevation_deg)
    return distance[:, None] * torch.stack(
        [
            torch.sin(azimuth) * torch.cos(elevation),
            -torch.cos(azimuth) * torch.cos(elevation),
            torch.sin(elevation),
        ],
        dim=-1,
    )


def focal_from_field_of_view(field_of_view_deg: Tensor) -> Tensor:
    """Return the focal length as a share of the picture's height for a vertical field of view in degrees."""
    return 0.5 / torch.tan(torch.deg2rad(field_of_view_deg) / 2)


def orbit_views(
    azimuth_deg: Tensor,
    elevation_deg: Tensor,
    distance: Tensor | float = 2.05,
    field_of_view_deg: Tensor | float = 41.0,
    targets: Tensor | None = None,
) -> Views:
    """Return views on an orbit that look at `targets` (n, 3), by default the origin; angles (n,) in degrees."""
    distance = torch.as_tensor(distance, dtype=azimuth_deg.dtype, device=azimuth_deg.device).expand_as(azimuth_deg)
    field_of_view = torch.as_tensor(field_of_view_deg, dtype=azimuth_deg.dtype, device=azimuth_deg.device)
    focal = focal_from_field_of_view(field_of_view.expand_as(azimuth_deg))
    positions = orbit_positions(azimuth_deg, elevation_deg, distance)
    if targets is None:
        targets = torch.zeros_like(positions)
    zero = torch.zeros_like(focal)
    return Views(look_at(positions, targets), torch.stack([focal, zero, zero], dim=-1))


def azimuth_elevation_deg(views: Views) -> tuple[Tensor, Tensor]:
    """Return azimuths (n,) in -180..180 and elevations (n,) in -90..90 of the cameras, as seen from the origin."""
    x, y, z = views.positions.unbind(-1)
    azimuth = torch.rad2deg(torch.atan2(x, -y))
    elevation = torch.rad2deg(torch.atan2(z, torch.hypot(x, y)))
    return azimuth, elevation


def rays(views: Views, size: int) -> tuple[Tensor, Tensor]:
    """Return ray origins and unit directions, both (views, size, size, 3), through the centres of the pixels."""
    device, dtype = views.lens.device, views.lens.dtype
    # Pixel centres, as shares of the picture's height, measured from its middle; y grows upwards.
    ticks = (torch.arange(size, device=device, dtype=dtype) + 0.5) / size - 0.5
    y, x = torch.meshgrid(-ticks, ticks, indexing="ij")
    focal, shift_x, shift_y = (column[:, None, None] for column in views.lens.unbind(-1))
    local = torch.stack(
        [(x + shift_x) / focal, (y + shift_y) / focal, -torch.ones_like(x).expand(len(views), size, size)], dim=-1
    )
    directions = torch.einsum("vij,vhwj->vhwi", views.camera_to_world[:, :3, :3], local)
    origins = views.positions[:, None, None, :].expand_as(directions)
    return origins, torch.nn.functional.normalize(directions, dim=-1)


@dataclass(frozen=True)
class OrbitRange:
    """A distribution of cameras that look at the object; the same fields as the protocol's `Orbit`."""

    azimuth_deg: tuple[float, float] = (-180.0, 180.0)
    elevation_deg: tuple[float, float] = (-30.0, 60.0)
    distance: tuple[float, float] = (2.0, 2.1)
    field_of_view_deg: tuple[float, float] = (40.5, 41.5)
    jitter: float = 0.02
    weight: float = 1.0


@dataclass(frozen=True)
class CameraRig:
    """Where cameras may stand: an orbit, explicit cameras with weights and prompt suffixes, or both."""

    orbit: OrbitRange | None = None
    cameras: Views | None = None
    camera_weight: tuple[float, ...] = ()
    camera_suffix: tuple[str, ...] = ()
    position_jitter: float = 0.0


def _between(bounds: tuple[float, float], count: int, generator: torch.Generator) -> Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand(count, generator=generator)


def sample_orbit(orbit: OrbitRange, count: int, generator: torch.Generator) -> Views:
    """Return `count` random views of the orbit; azimuths are stratified over the batch, elevations uniform in angle."""
    low, high = orbit.azimuth_deg
    azimuth = low + (high - low) * (torch.arange(count) + torch.rand(count, generator=generator)) / count
    if count > 1:
        azimuth = azimuth[torch.randperm(count, generator=generator)]
    targets = orbit.jitter * torch.randn(count, 3, generator=generator)
    return orbit_views(
        azimuth,
        _between(orbit.elevation_deg, count, generator),
        _between(orbit.distance, count, generator),
        _between(orbit.field_of_view_deg, count, generator),
        targets,
    )


def sample_views(rig: CameraRig, count: int, generator: torch.Generator) -> tuple[Views, list[str]]:
    """Draw `count` views from the rig.

    Args:
        rig: an orbit, cameras, or both, each drawn in proportion to its weight.
        count: how many.
        generator: the only source of randomness; on the CPU.

    Returns:
        The views, on the CPU, and one prompt suffix each. An empty suffix leaves the view words to the view's position.

    Raises:
        ValueError: the rig is empty or all its weights are zero.
    """
    weights = [rig.orbit.weight if rig.orbit else 0.0, *rig.camera_weight]
    if not math.fsum(weights) > 0:
        raise ValueError("a rig needs an orbit or a camera with a weight above 0")
    choice = torch.multinomial(torch.tensor(weights, dtype=torch.float64), count, replacement=True, generator=generator)
    # The orbit's views are always drawn, so that a camera added to the rig does not shift the orbit's random numbers.
    views = sample_orbit(rig.orbit or OrbitRange(), count, generator)
    suffixes = [""] * count
    if rig.cameras is None:
        return views, suffixes
    matrices, lens = views.camera_to_world.clone(), views.lens.clone()
    for row, chosen in enumerate(choice.tolist()):
        if chosen > 0:
            matrices[row], lens[row] = rig.cameras.camera_to_world[chosen - 1], rig.cameras.lens[chosen - 1]
            matrices[row, :3, 3] += rig.position_jitter * torch.randn(3, generator=generator)
            suffixes[row] = rig.camera_suffix[chosen - 1]
    return Views(matrices, lens), suffixes
