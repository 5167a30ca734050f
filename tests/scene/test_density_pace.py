"""Density may learn at a pace of its own: what is seen stays as it is, and a step of Adam moves it by that share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from limbeck_server.scene.field import Field, FieldSettings, build_field
from limbeck_server.scene.field_file import load_field, save_field

VOXELS = FieldSettings(resolution=9)
HASH_GRID = FieldSettings(kind="hash_grid", resolution=64, hash_levels=5, hash_log2_table_size=10)


def trained(settings: FieldSettings) -> Field:
    """A field whose every parameter has been moved from where it began."""
    generator = torch.Generator().manual_seed(1)
    field = build_field(settings, "cpu", generator)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return field


def points(count: int = 300) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(2)) - 0.5


@pytest.mark.parametrize("settings", [VOXELS, HASH_GRID], ids=["voxels", "hash_grid"])
@pytest.mark.parametrize("pace", [0.1, 0.3, 1.0, 4.0])
def test_another_pace_shows_the_same_field(settings: FieldSettings, pace: float) -> None:
    field = trained(settings)
    density, colour = field.density_and_colour(points())
    field.set_density_pace(pace)
    again, colour_again = field.density_and_colour(points())
    assert torch.allclose(again, density, rtol=1e-4, atol=1e-5)
    assert torch.equal(colour_again, colour)
    assert field.density_scale == field.settings.density_scale
    assert field.density_scale == pytest.approx(pace * {"voxels": 10.0, "hash_grid": 1.0}[settings.kind])


def step_of_density(pace: float) -> float:
    """How far one step of Adam moves the logit of density, in the middle of a voxel field."""
    field = trained(VOXELS)
    field.set_density_pace(pace)
    optimizer = torch.optim.Adam(field.parameter_groups(0.05), eps=1e-15)
    before = float(field.raw_density(torch.zeros(1, 3)).detach()) * field.density_scale
    field.density(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    return float(field.raw_density(torch.zeros(1, 3)).detach()) * field.density_scale - before


def test_a_step_moves_density_by_its_pace() -> None:
    usual = step_of_density(1.0)
    assert usual == pytest.approx(-0.5, rel=1e-3)  # a rate of 0.05 times the usual scale of 10
    for pace in (0.1, 0.3, 2.0):
        assert step_of_density(pace) == pytest.approx(pace * usual, rel=1e-3)


def test_a_pace_is_a_share_of_the_usual_one_however_often_it_is_set(tmp_path: Path) -> None:
    field = trained(VOXELS)
    field.set_density_pace(0.3)
    save_field(field, tmp_path / "field.safetensors")
    again = load_field(tmp_path / "field.safetensors")
    again.set_density_pace(0.3)
    assert again.density_scale == pytest.approx(3.0)
    assert torch.allclose(again.density(points()), field.density(points()), rtol=1e-5, atol=1e-6)
