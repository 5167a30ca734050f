from __future__ import annotations

import itertools
import math

import pytest
import torch
from limbeck_server.scene.encodings import (
    HashGrid,
    VoxelGrid,
    progressive_levels,
    trilinear_weights,
    weighted_rows,
)


def random_points(count: int, bound: float, generator: torch.Generator, dtype=torch.float64) -> torch.Tensor:
    return (torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 1).mul(bound).to(dtype)


def voxel_grid(resolution: int, generator: torch.Generator, dtype=torch.float64) -> VoxelGrid:
    grid = VoxelGrid(4, resolution, bound=0.7).to(dtype)
    with torch.no_grad():
        grid.values.copy_(torch.randn(grid.values.shape, generator=generator, dtype=torch.float64))
    return grid


def grid_sample(grid: VoxelGrid, points: torch.Tensor) -> torch.Tensor:
    return grid._sample_on_cuda(grid.values, points)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
def test_voxel_look_up_equals_grid_sample_in_value_and_gradient(generator, dtype, tolerance):
    grid = voxel_grid(9, generator, dtype)
    # Some points lie on faces and edges of the box, some outside.
    points = torch.cat([random_points(300, 0.7, generator), random_points(60, 0.9, generator)])
    points = torch.cat([points, torch.tensor([[0.7, 0.7, 0.7], [-0.7, 0.7, 0.1], [0, 0, 0]], dtype=points.dtype)])
    points, found = points.to(dtype), []
    for look_up in (grid, lambda p: grid_sample(grid, p)):
        grid.zero_grad()
        values = look_up(points)
        (values * torch.arange(4, dtype=dtype)).square().sum().backward()
        found.append((values.detach(), grid.values.grad.clone()))
    torch.testing.assert_close(found[0][0], found[1][0], atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(found[0][1], found[1][1], atol=20 * tolerance, rtol=20 * tolerance)


def test_voxels_reproduce_a_linear_function_exactly(generator):
    grid = VoxelGrid(1, 8, bound=0.7).double()
    ticks = torch.linspace(-0.7, 0.7, 8, dtype=torch.float64)
    x, y, z = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    with torch.no_grad():
        grid.values[..., 0] = 1 + 2 * x - 3 * y + 5 * z
    points = random_points(100, 0.7, generator)
    expected = 1 + points @ torch.tensor([2.0, -3.0, 5.0], dtype=torch.float64)
    torch.testing.assert_close(grid(points)[:, 0], expected, atol=1e-12, rtol=0)


def test_a_slice_of_channels_is_that_slice(generator):
    grid = voxel_grid(6, generator)
    points = random_points(20, 0.7, generator)
    torch.testing.assert_close(grid(points, slice(1, 3)), grid(points)[:, 1:3])


def test_fine_voxel_grids_find_their_rows():
    # Row numbers above 2^24 are no whole float32 numbers.
    resolution = 300
    grid = VoxelGrid(1, resolution, bound=1.0)
    vertex = (299, 298, 297)
    with torch.no_grad():
        grid.values[vertex] = 1.0
    at = torch.tensor([[2 * i / (resolution - 1) - 1 for i in vertex]])
    assert grid(at).item() == pytest.approx(1.0, abs=1e-3)


def test_trilinear_weights_are_products_of_distances(generator):
    fractions = torch.rand(50, 3, generator=generator, dtype=torch.float64)
    weights = trilinear_weights(fractions)
    for column, corner in enumerate(itertools.product((0, 1), repeat=3)):
        bits = torch.tensor(corner, dtype=torch.float64)
        torch.testing.assert_close(weights[:, column], (1 - (bits - fractions).abs()).prod(-1), atol=1e-14, rtol=0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(50, dtype=torch.float64))


def test_weighted_rows_pass_gradcheck(generator):
    table = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    rows = torch.randint(5, (7, 8), generator=generator)
    weights = torch.rand(7, 8, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: weighted_rows(t, rows, weights), (table,))


def naive_hash_grid(grid: HashGrid, point: list[float]) -> list[float]:
    """Instant-NGP, equations 2 to 4, one point, one level, one corner, one feature at a time."""
    table = grid.table.detach().double().tolist()
    levels = len(grid.level_resolutions)
    size = grid.hash_mask + 1
    base, finest = grid.level_resolutions[0], grid.level_resolutions[-1]
    features: list[float] = []
    first_row = 0
    for level in range(levels):
        growth = math.exp((math.log(finest) - math.log(base)) / (levels - 1))
        cells = math.floor(base * growth**level + 1e-6)
        dense = (cells + 1) ** 3 <= size
        scaled = [(x + grid.bound) / (2 * grid.bound) * cells for x in point]
        low = [min(math.floor(s), cells - 1) for s in scaled]
        total = [0.0] * grid.table.shape[1]
        for corner in itertools.product((0, 1), repeat=3):
            vertex = [a + b for a, b in zip(low, corner, strict=True)]
            if dense:
                row = vertex[0] * (cells + 1) ** 2 + vertex[1] * (cells + 1) + vertex[2]
            else:
                row = (vertex[0] ^ (vertex[1] * 2654435761) ^ (vertex[2] * 805459861)) % size
            weight = math.prod(s - a if b else 1 - (s - a) for s, a, b in zip(scaled, low, corner, strict=True))
            for feature in range(len(total)):
                total[feature] += weight * table[first_row + row][feature]
        features += total
        first_row += (cells + 1) ** 3 if dense else size
    return features


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_hash_grid_equals_the_naive_reference(generator, dtype, tolerance):
    grid = HashGrid(0.7, 5, 2, log2_table_size=9, base_resolution=4, max_resolution=40, generator=generator).to(dtype)
    assert grid.level_resolutions == (4, 7, 12, 22, 40)
    assert grid.level_sizes == (125, 512, 512, 512, 512), "the first two levels are dense"
    with torch.no_grad():
        grid.table.copy_(torch.randn(grid.table.shape, generator=generator, dtype=torch.float64))
    points = torch.cat([random_points(60, 0.7, generator), torch.tensor([[0.7, -0.7, 0.7]], dtype=torch.float64)])
    expected = torch.tensor([naive_hash_grid(grid, point) for point in points.tolist()], dtype=torch.float64)
    torch.testing.assert_close(grid(points.to(dtype)).double(), expected, atol=tolerance, rtol=0)


def test_hash_grid_gradients_pass_finite_differences(generator):
    grid = HashGrid(0.7, 3, 2, log2_table_size=5, base_resolution=2, max_resolution=9, generator=generator).double()
    points = random_points(6, 0.7, generator)
    weights = torch.randn(6, grid.features, generator=generator, dtype=torch.float64)

    def value() -> torch.Tensor:
        return (grid(points).sin() * weights).sum()

    value().backward()
    step = 1e-6
    for row in range(0, grid.table.shape[0], 5):
        with torch.no_grad():
            grid.table[row, 1] += step
            up = value()
            grid.table[row, 1] -= 2 * step
            down = value()
            grid.table[row, 1] += step
        assert float((up - down) / (2 * step)) == pytest.approx(float(grid.table.grad[row, 1]), abs=1e-8)


def test_inactive_levels_are_silent_and_active_ones_unchanged(generator):
    grid = HashGrid(0.7, 4, 2, log2_table_size=8, base_resolution=4, max_resolution=30, generator=generator)
    points = random_points(10, 0.7, generator, torch.float32)
    whole = grid(points)
    grid.active_levels = 2
    partial = grid(points)
    assert partial.shape == whole.shape
    torch.testing.assert_close(partial[:, :4], whole[:, :4])
    assert (partial[:, 4:] == 0).all()


def test_progressive_schedule():
    assert [progressive_levels(step, 16) for step in (0, 1999, 2000, 2499, 2500, 5999, 6000, 90_000)] == [
        8, 8, 8, 8, 9, 15, 16, 16,
    ]  # fmt: skip


def test_points_that_want_gradients_are_refused(generator):
    points = random_points(3, 0.5, generator, torch.float32).requires_grad_()
    for grid in (VoxelGrid(1, 4, 0.7), HashGrid(0.7, 2, max_resolution=32, generator=generator)):
        with pytest.raises(ValueError, match="finite differences"):
            grid(points)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="resolution of at least 2"):
        VoxelGrid(1, 1, 0.7)
    with pytest.raises(ValueError, match="got 2, 64 and 32"):
        HashGrid(0.7, 2, base_resolution=64, max_resolution=32)
