import numpy as np
import pytest
from limbeck_server.meshing.level import (
    CANDIDATES,
    OUTLINE_OPACITY,
    choose_level,
    max_density_along_rays,
    silhouettes_from,
    trilinear,
)
from limbeck_server.meshing.mesh import NoSurfaceError
from limbeck_server.meshing.surface import density_grid, extract_surface

BOUND = 0.8


def parallel_rays(size: int = 64):
    """Two views along x and y: origins and directions (2, size, size, 3), and each pixel's distance from the axis."""
    ticks = (np.arange(size) + 0.5) / size * 1.6 - 0.8
    a, b = np.meshgrid(ticks, ticks, indexing="ij")
    far = np.full_like(a, -2.0)
    origins = np.stack([np.stack([far, a, b], axis=-1), np.stack([a, far, b], axis=-1)])
    directions = np.zeros_like(origins)
    directions[0, ..., 0] = directions[1, ..., 1] = 1.0
    return origins, directions, np.hypot(a, b)


def soft_ball(points: np.ndarray) -> np.ndarray:
    """A Gaussian puff: its silhouette depends on the level more than a solid's would."""
    return 30.0 * np.exp(-((np.linalg.norm(points, axis=-1) / 0.3) ** 2))


def test_the_highest_density_of_a_ray_is_that_at_its_nearest_point():
    origins, directions, distance = parallel_rays()
    highest = max_density_along_rays(soft_ball, origins, directions, BOUND, 256)
    np.testing.assert_allclose(highest[0], 30 * np.exp(-((distance / 0.3) ** 2)), rtol=2e-3, atol=1e-6)


def test_a_grid_stands_for_its_field():
    grid = density_grid(soft_ball, np.full(3, -BOUND), 2 * BOUND / 95, (96, 96, 96))
    points = np.random.default_rng(0).uniform(-BOUND, BOUND, (5000, 3)).astype(np.float32)
    # Three times h^2 / 8 times the largest second derivative.
    np.testing.assert_allclose(trilinear(grid, BOUND)(points), soft_ball(points), atol=0.07)
    assert trilinear(grid, BOUND)(np.array([[0.9, 0.0, 0.0]], dtype=np.float32)) == 0.0


def test_trilinear_is_exact_on_a_linear_field():
    def field(p):
        return 3.0 + p[:, 0] - 2 * p[:, 1] + 0.5 * p[:, 2]

    grid = density_grid(field, np.full(3, -BOUND), 2 * BOUND / 7, (8, 8, 8))
    points = np.random.default_rng(0).uniform(-BOUND, BOUND, (500, 3)).astype(np.float32)
    np.testing.assert_allclose(trilinear(grid, BOUND)(points), field(points), atol=1e-5)


def test_rays_that_miss_the_cube_or_run_away_from_it_meet_nothing():
    origins = np.array([[2.0, 2.0, 0.0], [0.0, -2.0, 0.0], [0.0, -2.0, 0.0]])
    directions = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [0.0, 3.0, 0.0]])
    highest = max_density_along_rays(lambda p: np.ones(len(p)), origins, directions, BOUND, 8)
    np.testing.assert_array_equal(highest, [0.0, 0.0, 1.0])


def test_the_level_of_a_soft_ball_recovers_the_radius_of_its_picture():
    origins, directions, distance = parallel_rays()
    # Optical depth through a Gaussian puff at distance r from its centre: at its outline it is -log(1 - opacity).
    opacity = 1 - np.exp(-30 * 0.3 * np.sqrt(np.pi) * np.exp(-((distance / 0.3) ** 2)))
    radius = 0.3 * np.sqrt(np.log(30 * 0.3 * np.sqrt(np.pi) / -np.log(1 - OUTLINE_OPACITY)))
    grid = density_grid(soft_ball, np.full(3, -BOUND), 2 * BOUND / 63, (64, 64, 64))
    highest = max_density_along_rays(trilinear(grid, BOUND), origins, directions, BOUND, 64)
    level = choose_level(np.stack([opacity, opacity]), silhouettes_from(highest))
    mesh = extract_surface(soft_ball, level, 48, BOUND)
    assert np.linalg.norm(mesh.vertices, axis=1).mean() == pytest.approx(radius, abs=0.02)
    # And it is not what a fixed level would have given.
    assert abs(0.3 * np.sqrt(np.log(30 / 10.0)) - radius) > 0.1


def test_among_equally_good_levels_the_middle_one_is_taken():
    highest = np.zeros((1, 16, 16), dtype=np.float32)
    highest[:, 4:12, 4:12] = 1000.0  # sharp: every candidate has the same silhouette
    opacity = (highest > 0).astype(np.float32)
    level = choose_level(opacity, silhouettes_from(highest))
    assert level == CANDIDATES[(len(CANDIDATES) - 1) // 2]


def test_an_empty_picture_is_no_surface():
    with pytest.raises(NoSurfaceError, match=r"at most 0\.30.*more steps"):
        choose_level(np.full((2, 8, 8), 0.3), silhouettes_from(np.ones((2, 8, 8))))


def test_pictures_that_no_level_explains_are_no_surface():
    with pytest.raises(NoSurfaceError, match="no density level"):
        choose_level(np.ones((1, 8, 8)), silhouettes_from(np.zeros((1, 8, 8))))
