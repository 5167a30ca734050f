"""Fixtures of the scene's tests: generators, fields with closed forms, fields that look like trained ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from limbeck_server.scene.field import Field, FieldSettings, VoxelField, build_field
from torch import Tensor


class ClosedFormField(Field):
    """A field given by two functions of points, with no parameters."""

    def __init__(self, density: Callable[[Tensor], Tensor], colour: Callable[[Tensor], Tensor]) -> None:
        super().__init__(FieldSettings(density_scale=1.0))
        self.density_of, self.colour_of = density, colour

    def density(self, points: Tensor) -> Tensor:
        return self.density_of(points)

    def density_and_colour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.density_of(points), self.colour_of(points)

    def raw_density(self, points: Tensor) -> Tensor:
        return self.density_of(points)

    def raw_density_and_colour(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.density_and_colour(points)

    def multiply_raw_density(self, factor: float) -> None:
        raise NotImplementedError("there are no parameters to multiply")

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return []


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def closed_form_field() -> type[ClosedFormField]:
    return ClosedFormField


@pytest.fixture
def torus_field() -> Callable[[int], VoxelField]:
    """Build a voxel field as training leaves it: an opaque coloured torus, and a density of exactly 0 elsewhere."""

    def build(resolution: int = 24) -> VoxelField:
        settings = FieldSettings(resolution=resolution)
        field = build_field(settings, "cpu", torch.Generator().manual_seed(1))
        ticks = torch.linspace(-settings.bound, settings.bound, resolution)
        x, y, z = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
        inside = ((x**2 + y**2).sqrt() - 0.4) ** 2 + z**2 < 0.14**2
        with torch.no_grad():
            # Softplus of a logit below -104 is exactly 0 in float32.
            field.grid.values[..., 0] = torch.where(inside, 3.0, -100.0)
            field.grid.values[..., 1:] = torch.stack([5 * x, 5 * y, 5 * z], dim=-1)
        assert isinstance(field, VoxelField)
        return field

    return build


@pytest.fixture
def cuda_device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")
