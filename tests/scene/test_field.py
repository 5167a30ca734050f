from __future__ import annotations

import pytest
import torch
from limbeck_server.scene.field import FieldSettings, HashGridField, VoxelField, build_field

HASH = FieldSettings(kind="hash_grid", resolution=64, hash_levels=4, hash_log2_table_size=10)
VOXELS = FieldSettings(kind="voxels", resolution=8)


def points_in_ball(count: int, generator: torch.Generator, radius: float = 0.7) -> torch.Tensor:
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return direction * torch.rand(count, 1, generator=generator) * radius


@pytest.mark.parametrize(("settings", "kind"), [(VOXELS, VoxelField), (HASH, HashGridField)])
def test_a_field_of_each_kind_gives_densities_and_colours_in_range(settings, kind, generator):
    field = build_field(settings, "cpu", generator)
    assert isinstance(field, kind)
    points = points_in_ball(50, generator)
    density, colour = field.density_and_colour(points)
    assert density.shape == (50,)
    assert colour.shape == (50, 3)
    assert (density >= 0).all()
    assert ((colour >= 0) & (colour <= 1)).all()
    torch.testing.assert_close(field.density(points), density)


def test_an_untouched_voxel_field_is_the_soft_ball_of_magic3d(generator):
    field = build_field(VOXELS, "cpu", generator)
    points = points_in_ball(100, generator)
    expected = torch.nn.functional.softplus(10 * (1 - points.norm(dim=-1) / 0.5))
    torch.testing.assert_close(field.density(points).detach(), expected, atol=1e-5, rtol=1e-5)


def test_raw_density_counts_ten_times_in_voxels_and_as_asked_elsewhere(generator):
    origin = torch.zeros(1, 3)
    for scale, factor in ((None, 10.0), (3.0, 3.0)):
        field = build_field(FieldSettings(resolution=5, density_scale=scale, blob_scale=0.0), "cpu", generator)
        with torch.no_grad():
            field.grid.values[..., 0] = 0.4
        expected = torch.nn.functional.softplus(torch.tensor([0.4 * factor]))
        torch.testing.assert_close(field.density(origin).detach(), expected)


@pytest.mark.parametrize("settings", [VOXELS, HASH])
def test_nothing_is_outside_the_ball(settings, generator):
    field = build_field(settings, "cpu", generator)
    directions = torch.nn.functional.normalize(torch.randn(20, 3, generator=generator), dim=-1)
    assert (field.density(directions * 0.7201) == 0).all()
    assert (field.density(directions * 0.7199) > 0).all()


@pytest.mark.parametrize("settings", [VOXELS, HASH])
def test_the_same_seed_builds_the_same_field_and_leaves_the_global_generator_alone(settings):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = (build_field(settings, "cpu", torch.Generator().manual_seed(3)).state_dict() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("settings", [VOXELS, HASH])
def test_normals_of_the_start_blob_point_outwards(settings, generator):
    field = build_field(settings, "cpu", generator)
    points = points_in_ball(60, generator) + 0.05
    normals = field.normals(points)
    assert ((normals * torch.nn.functional.normalize(points, dim=-1)).sum(-1) > 0.98).all()
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(60))


def test_normals_of_a_half_space_are_its_normal_and_differentiable(generator):
    field = build_field(FieldSettings(resolution=12, blob_scale=0.0), "cpu", generator).double()
    ticks = torch.linspace(-0.72, 0.72, 12, dtype=torch.float64)
    x, y, z = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    with torch.no_grad():
        field.grid.values[..., 0] = -(x + 2 * y - 2 * z)
    normals = field.normals(points_in_ball(20, generator, 0.6).double())
    expected = torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64) / 3
    torch.testing.assert_close(normals.detach(), expected.expand(20, 3), atol=1e-9, rtol=0)
    normals[:, 0].sum().backward()
    assert field.grid.values.grad[..., 0].abs().sum() > 0


@pytest.mark.parametrize("settings", [VOXELS, HASH])
def test_parameter_groups_hold_every_parameter_once_and_suit_adamw(settings, generator):
    field = build_field(settings, "cpu", generator)
    groups = field.parameter_groups(0.05)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in field.parameters())
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    assert optimiser.param_groups[0]["lr"] == 0.05
    assert all(group["weight_decay"] == 0 for group in optimiser.param_groups)


def test_hash_field_learns_a_target_density(generator):
    field = build_field(HASH, "cpu", generator)
    points = points_in_ball(200, generator, 0.6)
    target = (points[:, 0] > 0).float() * 5
    optimiser = torch.optim.Adam(field.parameter_groups(0.02))
    first = last = 0.0
    for step in range(60):
        loss = (field.density(points) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = (loss.item(), last) if step == 0 else (first, loss.item())
    assert last < 0.2 * first


def test_active_levels_are_clamped_to_what_exists(generator):
    field = build_field(HASH, "cpu", generator)
    assert isinstance(field, HashGridField)
    for asked, got in ((2, 2), (99, 4), (0, 1)):
        field.set_active_levels(asked)
        assert field.grid.active_levels == got


def test_unknown_kinds_and_impossible_bounds_are_refused(generator):
    with pytest.raises(ValueError, match="expected one of voxels, hash_grid"):
        build_field(FieldSettings(kind="mesh"), "cpu", generator)
    with pytest.raises(ValueError, match="above 0"):
        build_field(FieldSettings(bound=0.0), "cpu", generator)
