"""The field: density and colour of every point, the thing that is optimised.

Density = softplus(density_scale raw + blob_scale (1 - r / blob_radius)), the object-centric start of Magic3D (Lin et
al. 2023, section 4: a soft ball around the origin); colour = sigmoid of logits. Outside the ball of radius `bound`
there is nothing. Two kinds: `voxels` reads raw density and colour logits straight from a dense grid (fast on a CPU);
`hash_grid` reads features from a multi-resolution hash grid and asks two small networks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from limbeck_server.scene.encodings import HashGrid, VoxelGrid

KINDS = ("voxels", "hash_grid")
DENSITY_SCALES = {"voxels": 10.0, "hash_grid": 1.0}
"""Default factor on the raw density: a voxel's then moves at the pace of an optimiser step of 0.05."""


@dataclass(frozen=True)
class FieldSettings:
    """What a field is made of.

    Attributes:
        kind: `voxels` or `hash_grid`.
        resolution: vertices per axis of the voxel grid, or cells per axis of the hash grid's finest level.
        bound: radius of the ball that holds the object, and half the side of the grid's box.
        density_scale: factor on the raw density; None: that of `DENSITY_SCALES`.
        blob_scale: height of the start blob's logit at the origin; 0 for none.
        blob_radius: radius at which the blob's logit is 0.
        hash_levels, hash_features, hash_log2_table_size, hash_base_resolution: the hash grid's own.
        hidden_width: width of the one hidden layer of the hash grid's networks.
    """

    kind: str = "voxels"
    resolution: int = 64
    bound: float = 0.72
    density_scale: float | None = None
    blob_scale: float = 10.0
    blob_radius: float = 0.5
    hash_levels: int = 16
    hash_features: int = 2
    hash_log2_table_size: int = 19
    hash_base_resolution: int = 16
    hidden_width: int = 64


class Field(nn.Module, ABC):
    """Density and colour at points (n, 3) of the object's frame. The kinds below say where the raw values come from."""

    def __init__(self, settings: FieldSettings) -> None:
        super().__init__()
        self.settings = settings
        scale = settings.density_scale
        self.density_scale = DENSITY_SCALES[settings.kind] if scale is None else scale

    @abstractmethod
    def raw_density(self, points: Tensor) -> Tensor:
        """Return (n,) raw densities, before scale, blob and softplus."""

    @abstractmethod
    def raw_density_and_colour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n,) raw densities and (n, 3) colour logits."""

    @abstractmethod
    def multiply_raw_density(self, factor: float) -> None:
        """Multiply the raw density by a factor, everywhere and in place."""

    @abstractmethod
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return parameter groups for an optimiser of Adam's family, each with a name."""

    def set_density_pace(self, pace: float) -> None:
        """Let density learn at another pace than by default; what the field shows stays as it is, but for rounding.

        An optimiser of Adam's family moves raw values by its learning rate, whatever the size of their gradient; so
        density moves in proportion to its scale. Raw values are divided by what the scale is multiplied by.

        Args:
            pace: share of the default scale, above 0.
        """
        scale = DENSITY_SCALES[self.settings.kind] * pace
        self.multiply_raw_density(self.density_scale / scale)
        self.density_scale = scale
        self.settings = replace(self.settings, density_scale=scale)

    def density(self, points: Tensor) -> Tensor:
        """Return (n,) densities >= 0, per unit of length."""
        return self._activate(self.raw_density(points), _radius(points))

    def density_and_colour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n,) densities >= 0 and (n, 3) colours in 0..1."""
        raw, logits = self.raw_density_and_colour(points)
        return self._activate(raw, _radius(points)), torch.sigmoid(logits)

    def normals(self, points: Tensor, spacing: float | None = None) -> Tensor:
        """Return (n, 3) unit normals that point out of the object: downhill in density.

        Central differences over `spacing` to either side, by default half a voxel (0.01 for the hash grid), taken of
        the softplus's argument: softplus is monotone, so the direction is the density's own, and it does not vanish
        where the density is tiny. Differentiable in the field's parameters. A point without a gradient gets a zero
        vector.
        """
        step = self.normal_spacing if spacing is None else spacing
        shifts = step * torch.cat([torch.eye(3), -torch.eye(3)]).to(points)
        around = (points[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
        logits = self._logits(self.raw_density(around), _radius(around)).view(2, 3, -1)
        return nn.functional.normalize((logits[1] - logits[0]).t(), dim=-1)

    @property
    def normal_spacing(self) -> float:
        """Default spacing of the finite differences in `normals`."""
        return 0.01

    def _logits(self, raw: Tensor, radius: Tensor) -> Tensor:
        blob = self.settings.blob_scale
        return torch.add(blob - (blob / self.settings.blob_radius) * radius, raw, alpha=self.density_scale)

    def _activate(self, raw: Tensor, radius: Tensor) -> Tensor:
        return nn.functional.softplus(self._logits(raw, radius)) * (radius <= self.settings.bound)


def _radius(points: Tensor) -> Tensor:
    # `Tensor.norm` over the short axis is up to 70 times slower where coordinates lie apart in memory, as the
    # renderer's do.
    x, y, z = points.unbind(-1)
    return torch.addcmul(torch.addcmul(x * x, y, y), z, z).sqrt()


class VoxelField(Field):
    """Raw density and colour logits in a dense grid: channel 0 is density, 1 to 3 are red, green, blue."""

    def __init__(self, settings: FieldSettings, device: torch.device | str, generator: torch.Generator) -> None:
        super().__init__(settings)
        self.grid = VoxelGrid(4, settings.resolution, settings.bound, device)
        with torch.no_grad():
            # Nearly grey, but not the same grey everywhere.
            logits = torch.randn(settings.resolution**3, 3, generator=generator) * 0.01
            self.grid.values[..., 1:] = logits.view(*self.grid.values.shape[:3], 3).to(device)

    def raw_density(self, points: Tensor) -> Tensor:
        raw: Tensor = self.grid(points, slice(0, 1))[:, 0]
        return raw

    def raw_density_and_colour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        # Coordinate by coordinate, like the points.
        values = self.grid(points).t().contiguous()
        return values[0], values[1:].t()

    @torch.no_grad()
    def multiply_raw_density(self, factor: float) -> None:
        self.grid.values[..., 0] *= factor

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        # Weight decay would pull empty space back to the start blob.
        return [{"name": "voxels", "params": [self.grid.values], "lr": learning_rate, "weight_decay": 0.0}]

    @property
    def normal_spacing(self) -> float:
        return self.settings.bound / (self.settings.resolution - 1)


class HashGridField(Field):
    """A hash grid's features, and two networks of one hidden layer each: one for density, one for colour."""

    def __init__(self, settings: FieldSettings, device: torch.device | str, generator: torch.Generator) -> None:
        super().__init__(settings)
        self.grid = HashGrid(
            settings.bound,
            settings.hash_levels,
            settings.hash_features,
            settings.hash_log2_table_size,
            settings.hash_base_resolution,
            settings.resolution,
            device,
            generator,
        )
        self.density_network = _network(self.grid.features, settings.hidden_width, 1, device, generator)
        self.colour_network = _network(self.grid.features, settings.hidden_width, 3, device, generator)

    def set_active_levels(self, count: int) -> None:
        """Let only the `count` coarsest levels speak (see `encodings.progressive_levels`)."""
        self.grid.active_levels = max(1, min(count, len(self.grid.level_resolutions)))

    def raw_density(self, points: Tensor) -> Tensor:
        raw: Tensor = self.density_network(self.grid(points))[:, 0].to(points.dtype)
        return raw

    def raw_density_and_colour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        features = self.grid(points)
        raw, logits = self.density_network(features)[:, 0], self.colour_network(features)
        # Under autocast the networks answer in half precision; compositing needs more.
        return raw.to(points.dtype), logits.to(points.dtype)

    @torch.no_grad()
    def multiply_raw_density(self, factor: float) -> None:
        for parameter in self.density_network[-1].parameters():
            parameter.mul_(factor)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        # Table entries are seen rarely and by small gradients: no decay, a tiny epsilon (Instant-NGP, section 4), and a
        # faster pace than the networks, as ProlificDreamer's code has it.
        networks = [*self.density_network.parameters(), *self.colour_network.parameters()]
        return [
            {"name": "hash_table", "params": [self.grid.table], "lr": learning_rate, "weight_decay": 0.0, "eps": 1e-15},
            {"name": "networks", "params": networks, "lr": 0.1 * learning_rate, "weight_decay": 0.0, "eps": 1e-15},
        ]


def _network(
    inputs: int, width: int, outputs: int, device: torch.device | str, generator: torch.Generator
) -> nn.Sequential:
    # skip_init: the layers' own initialisation would draw from torch's global generator.
    hidden, last = (
        nn.utils.skip_init(nn.Linear, i, o)  # type: ignore[no-untyped-call]
        for i, o in ((inputs, width), (width, outputs))
    )
    for layer in (hidden, last):
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(hidden, nn.ReLU(), last).to(device)


def build_field(settings: FieldSettings, device: torch.device | str, generator: torch.Generator) -> Field:
    """Return a fresh field.

    Args:
        settings: what it is made of.
        device: where its parameters live.
        generator: draws its start values; on the CPU, so that every device starts alike.

    Raises:
        ValueError: the kind is unknown or a number is out of range.
    """
    if not (settings.bound > 0 and settings.blob_radius > 0):
        raise ValueError(
            f"a field needs a bound and a blob radius above 0, got {settings.bound} and {settings.blob_radius}"
        )
    if settings.kind == "voxels":
        return VoxelField(settings, device, generator)
    if settings.kind == "hash_grid":
        return HashGridField(settings, device, generator)
    raise ValueError(f"unknown kind of field {settings.kind!r}: expected one of {', '.join(KINDS)}")
