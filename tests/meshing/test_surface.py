import numpy as np
import pytest
from limbeck_server.meshing.mesh import NoSurfaceError, bounds, euler_number, is_watertight, volume
from limbeck_server.meshing.surface import extract_surface


def test_a_ball_is_a_sphere_to_a_hundredth_of_a_voxel(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.5)), fields.LEVEL, 64, 0.8)
    voxel = 1.2 / 63
    error = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 0.5)
    assert error.max() < 0.01 * voxel
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)
    assert euler_number(mesh) == 2
    assert is_watertight(mesh)


@pytest.mark.parametrize(
    "density",
    [
        lambda d: 40 / (1 + np.exp(np.clip(d / 0.003, -60, 60))),
        lambda d: 5 * np.exp(-60 * d),
        lambda d: np.clip(5 - 400 * d, 0, 40),
        lambda d: np.logaddexp(0, 5 - 30 * d),
    ],
    ids=["logistic", "exponential", "linear", "soft"],
)
def test_vertices_lie_on_the_level_whatever_the_density_does_across_the_edge(fields, density):
    distance = fields.ball(0.45)
    mesh = extract_surface(lambda p: density(distance(p.astype(np.float64))), 5.0, 64, 0.8)
    low, high = 0.2, 0.7
    for _ in range(60):  # the true radius of the level, by bisection
        middle = (low + high) / 2
        low, high = (middle, high) if density(np.array(middle - 0.45)) > 5.0 else (low, middle)
    error = np.abs(np.linalg.norm(mesh.vertices, axis=1) - low)
    assert error.mean() < 0.002 * 1.1 / 63
    assert error.max() < 0.05 * 1.1 / 63


def test_faces_look_outwards(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.5)), fields.LEVEL, 32, 0.8)
    corners = mesh.vertices[mesh.faces]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", facing, corners.mean(axis=1)) > 0).all()


def test_a_torus_has_a_hole(fields):
    mesh = extract_surface(fields.solid(fields.torus(0.45, 0.18)), fields.LEVEL, 64, 0.8)
    assert euler_number(mesh) == 0
    assert is_watertight(mesh)
    assert volume(mesh) == pytest.approx(2 * np.pi**2 * 0.45 * 0.18**2, rel=0.01)


def test_a_box_has_its_volume(fields):
    mesh = extract_surface(fields.solid(fields.box((0.4, 0.3, 0.2))), fields.LEVEL, 96, 0.8)
    assert volume(mesh) == pytest.approx(0.8 * 0.6 * 0.4, rel=0.01)
    assert euler_number(mesh) == 2


def test_density_up_to_the_cubes_side_still_closes_there():
    mesh = extract_surface(lambda p: np.full(len(p), 30.0), 5.0, 24, 0.5)
    assert is_watertight(mesh)
    assert euler_number(mesh) == 2
    assert volume(mesh) == pytest.approx(1.0, rel=0.01)
    low, high = bounds(mesh)
    np.testing.assert_allclose([low, high], [[-0.5] * 3, [0.5] * 3], atol=1e-3)


def test_a_ball_cut_by_the_cube_is_closed(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.5, (0.4, 0.0, 0.0))), fields.LEVEL, 48, 0.6)
    assert is_watertight(mesh)
    assert bounds(mesh)[1][0] == pytest.approx(0.6, abs=1e-3)


def test_a_noise_field_is_watertight_too():
    generator = np.random.default_rng(3)
    phase, wave = generator.uniform(0, 6, 40), generator.normal(0, 14, (40, 3))
    mesh = extract_surface(lambda p: np.exp(np.sin(p @ wave.T + phase).sum(axis=1)), 3.0, 48, 0.6)
    assert is_watertight(mesh)
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    assert (np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) > 0).all()


def test_a_needle_that_the_coarse_pass_misses_is_not_cut_off(fields):
    needle = fields.box((0.011, 0.011, 0.3), (0.017, 0.017, 0.45))
    mesh = extract_surface(fields.solid(fields.union(fields.ball(0.2), needle)), fields.LEVEL, 96, 0.8)
    assert bounds(mesh)[1][2] == pytest.approx(0.75, abs=0.01)


def test_a_thing_smaller_than_a_coarse_voxel_is_found(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.03, (0.11, 0.23, -0.31))), fields.LEVEL, 96, 0.8)
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * 0.03**3, rel=0.3)


def test_no_surface_names_the_highest_density_and_what_to_do():
    with pytest.raises(NoSurfaceError, match=r"highest density is 2\.5.*more steps.*lower density level"):
        extract_surface(lambda p: np.full(len(p), 2.5), 5.0, 32, 0.8)


def test_a_diverged_field_is_refused():
    with pytest.raises(ValueError, match="diverged"):
        extract_surface(lambda p: np.full(len(p), np.nan), 5.0, 32, 0.8)


@pytest.mark.parametrize(("level", "resolution"), [(0.0, 32), (-1.0, 32), (float("nan"), 32), (5.0, 4)])
def test_nonsense_is_refused(level, resolution):
    with pytest.raises(ValueError, match="must be"):
        extract_surface(lambda p: np.ones(len(p)), level, resolution, 0.8)


def test_the_density_is_asked_in_chunks_inside_the_cube_and_progress_only_grows(fields):
    density, sizes, shares = fields.solid(fields.ball(0.5)), [], []

    def watched(points):
        assert points.dtype == np.float32
        assert np.abs(points).max() <= 0.8 + 1e-6
        sizes.append(len(points))
        return density(points)

    extract_surface(watched, fields.LEVEL, 48, 0.8, shares.append, chunk=10_000)
    assert max(sizes) <= 10_000
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
