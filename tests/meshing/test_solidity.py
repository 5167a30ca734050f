"""What no light can reach is solid; what it reaches stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from limbeck_server.meshing.level import trilinear
from limbeck_server.meshing.mesh import Density, euler_number, volume
from limbeck_server.meshing.solidity import (
    REACHED,
    SOLID_DENSITY,
    fill_cavities,
    fill_hollows,
    hollows_behind_pinholes,
    light_reaching,
)
from limbeck_server.meshing.surface import density_grid, extract_surface


def shell(points: np.ndarray) -> np.ndarray:
    """A hollow ball: density 40 between radius 0.35 and 0.5."""
    radius = np.linalg.norm(points, axis=1)
    return np.where((radius > 0.35) & (radius < 0.5), 40.0, 0.0).astype(np.float32)


def bowl(points: np.ndarray) -> np.ndarray:
    """The lower half of the shell: light falls in from above."""
    return np.where(points[:, 2] < 0, shell(points), 0.0).astype(np.float32)


def solidify(density: Density, bound: float, resolution: int = 64) -> Density:
    spacing = 2 * bound / (resolution - 1)
    grid = density_grid(density, np.full(3, -bound), spacing, (resolution,) * 3)
    return trilinear(fill_hollows(grid, spacing), bound)


def test_light_is_weakened_by_the_optical_depth_of_the_best_direction() -> None:
    slab = np.zeros((21, 21, 21), dtype=np.float32)
    slab[:, :, 8:13] = 0.3
    light = light_reaching(slab)
    # In the slab's middle two and a half cells lie between a point and either side.
    assert light[10, 10, 10] == pytest.approx(np.exp(-2.5 * 0.3), rel=1e-5)
    assert light[10, 10, 0] == pytest.approx(1.0)


def test_the_inside_of_a_closed_shell_is_filled() -> None:
    solid = solidify(shell, bound=0.7)
    centre = np.zeros((1, 3), dtype=np.float32)
    assert solid(centre)[0] == pytest.approx(SOLID_DENSITY * (1 - np.exp(-0.15 * 40) / REACHED), rel=0.03)
    mesh = extract_surface(solid, 5.0, 64, 0.7)
    assert euler_number(mesh) == 2
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.06)


def test_a_small_hole_in_the_skin_lets_no_hollow_through() -> None:
    def pierced(points: np.ndarray) -> np.ndarray:
        return np.where(np.linalg.norm(points - [0.43, 0.13, 0.2], axis=1) < 0.08, 0.0, shell(points)).astype(
            np.float32
        )

    solid = solidify(pierced, bound=0.7)
    assert euler_number(extract_surface(solid, 5.0, 64, 0.7)) == 2


def test_an_open_bowl_stays_open() -> None:
    solid = solidify(bowl, bound=0.7)
    inside = np.array([[0.0, 0.0, -0.1], [0.1, 0.1, -0.2]], dtype=np.float32)
    assert (solid(inside) < 1.0).all()


def test_the_outer_surface_does_not_move() -> None:
    solid = solidify(shell, bound=0.7)
    outside = np.array([[0.53, 0, 0], [0, -0.53, 0], [0.31, 0.31, 0.31]], dtype=np.float32)
    assert (solid(outside) < 1.0).all()


def test_cavities_are_filled_and_tunnels_are_not() -> None:
    grid = np.zeros((12, 12, 12), dtype=bool)
    grid[2:10, 2:10, 2:10] = True
    closed, pierced = grid.copy(), grid.copy()
    closed[4:8, 4:8, 4:8] = False
    pierced[4:8, 4:8, 4:8] = False
    pierced[5, 5, 8:] = False
    assert (fill_cavities(closed) == grid).all()
    assert (fill_cavities(pierced) == pierced).all()


def test_the_way_out_may_wind() -> None:
    maze = np.ones((9, 9, 9), dtype=bool)
    for cell in [(4, 4, 4), (4, 4, 5), (4, 5, 5), (5, 5, 5), (5, 5, 4), (5, 5, 3), (5, 6, 3), (5, 7, 3), (5, 8, 3)]:
        maze[cell] = False
    assert (fill_cavities(maze) == maze).all()


@pytest.mark.parametrize(("width", "is_pinhole"), [(1, True), (3, True), (7, False), (9, False)])
def test_a_hollow_counts_where_a_ball_cannot_roll_into_it(width: int, is_pinhole: bool) -> None:
    grid = np.zeros((30, 30, 30), dtype=bool)
    grid[4:26, 4:26, 4:26] = True
    grid[8:22, 8:22, 8:22] = False
    tunnel = slice(15 - width // 2, 16 + width // 2)
    grid[tunnel, tunnel, 20:] = False
    found = hollows_behind_pinholes(grid, 3.0)
    assert found[15, 15, 15] == is_pinhole
    assert not (found & grid).any()
    assert not found[15, 15, 25]  # the tunnel's mouth stays a dent


def test_where_nothing_is_inside_nothing_is_hollow() -> None:
    assert not hollows_behind_pinholes(np.zeros((12, 12, 12), dtype=bool), 3.0).any()


@pytest.mark.parametrize("corner", [0, 3, 8])
def test_a_hollow_counts_wherever_in_the_grid_the_object_lies(corner: int) -> None:
    grid = np.zeros((30, 30, 30), dtype=bool)
    box = slice(corner, corner + 22)
    grid[box, box, box] = True
    grid[corner + 4 : corner + 18, corner + 4 : corner + 18, corner + 4 : corner + 18] = False
    middle = corner + 11
    grid[middle, middle, :] = False
    found = hollows_behind_pinholes(grid, 3.0)
    assert found[middle, middle, middle]
    assert not found[:corner].any()
    assert not found[corner + 22 :].any()


def test_creases_are_no_hollows() -> None:
    grid = np.zeros((30, 30, 30), dtype=bool)
    grid[4:26, 4:26, 4:10] = True
    grid[4:10, 4:26, 4:26] = True
    assert not hollows_behind_pinholes(grid, 3.0).any()
