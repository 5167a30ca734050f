import numpy as np
import pytest
from limbeck_server.meshing.mesh import Mesh, euler_number, is_watertight, volume
from limbeck_server.meshing.simplify import decimate, smooth
from limbeck_server.meshing.surface import extract_surface


@pytest.mark.parametrize(("name", "euler"), [("ball", 2), ("torus", 0), ("box", 2)])
def test_decimation_keeps_the_surface_closed_its_handles_and_its_volume(fields, name, euler):
    distance = {"ball": fields.ball(0.5), "torus": fields.torus(0.4, 0.15), "box": fields.box((0.4, 0.3, 0.2))}[name]
    mesh = extract_surface(fields.solid(distance), fields.LEVEL, 64, 0.8)
    small = decimate(mesh, 2000)
    assert len(small.faces) <= 2000
    assert is_watertight(small)
    assert euler_number(small) == euler
    assert volume(small) == pytest.approx(volume(mesh), rel=0.02)
    assert np.abs(distance(small.vertices.astype(np.float64))).mean() < 0.003


def test_a_mesh_within_the_budget_is_left_alone(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.5)), fields.LEVEL, 24, 0.8)
    same = decimate(mesh, 100_000)
    assert same.faces is mesh.faces


def test_a_budget_that_would_ruin_the_surface_is_exceeded_rather_than_obeyed():
    """A lattice of bars, all handles, cannot be drawn with 60 faces: it comes back closed, above the budget."""

    def lattice(points):
        wave = np.cos(points * (2 * np.pi / 0.4))
        return np.exp(4 * (np.sort(wave, axis=1)[:, 1] - 0.2)) * 5

    mesh = extract_surface(lattice, 5.0, 48, 0.6)
    result = decimate(mesh, 60)
    assert len(result.faces) > 60
    assert is_watertight(result)
    assert euler_number(result) == euler_number(mesh)


def test_tunnels_too_thin_to_decimate_pinch_off_and_leave_a_manifold(fields):
    """A ring that all but touches the ball in it: dozens of tunnels narrower than a voxel."""
    distance = fields.union(fields.ball(0.4), fields.box((0.1, 0.5, 0.1)), fields.torus(0.5, 0.08))
    mesh = extract_surface(fields.solid(distance), fields.LEVEL, 64, 0.8)
    assert euler_number(mesh) < -20
    small = decimate(mesh, 4000)
    assert len(small.faces) <= 4000
    assert is_watertight(small)
    assert volume(small) == pytest.approx(volume(mesh), rel=0.02)
    assert len(np.unique(small.vertices, axis=0)) == len(small.vertices)  # nobody's "merge by distance" re-opens it


def test_a_budget_below_a_tetrahedron_is_refused(fields):
    with pytest.raises(ValueError, match="at least 4"):
        decimate(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)), 3)


def test_smoothing_takes_ripples_away_and_keeps_the_volume(fields):
    clean = extract_surface(fields.solid(fields.ball(0.5)), fields.LEVEL, 48, 0.8)
    noise = np.random.default_rng(0).normal(0, 0.004, (len(clean.vertices), 1)).astype(np.float32)
    rough = Mesh((clean.vertices * (1 + noise / 0.5)).astype(np.float32), clean.faces)
    smoothed = smooth(rough, 10)
    before = np.abs(np.linalg.norm(rough.vertices, axis=1) - 0.5).mean()
    after = np.abs(np.linalg.norm(smoothed.vertices, axis=1) - 0.5).mean()
    assert after < 0.5 * before
    assert volume(smoothed) == pytest.approx(volume(clean), rel=0.005)
    assert is_watertight(smoothed)


def test_no_rounds_of_smoothing_change_nothing(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.5)), fields.LEVEL, 24, 0.8)
    np.testing.assert_array_equal(smooth(mesh, 0).vertices, mesh.vertices)
