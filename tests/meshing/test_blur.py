import numpy as np
import pytest
from limbeck_server.meshing.blur import blur_density, gaussian_blur
from limbeck_server.meshing.level import trilinear
from limbeck_server.meshing.mesh import euler_number
from limbeck_server.meshing.surface import density_grid, extract_surface


def test_a_point_becomes_a_gaussian_of_the_same_mass():
    grid = np.zeros((31, 31, 31), dtype=np.float32)
    grid[15, 15, 15] = 1.0
    blurred = gaussian_blur(grid, 2.0)
    ticks = np.arange(31) - 15
    assert blurred.sum() == pytest.approx(1.0, abs=1e-5)
    assert (blurred.sum(axis=(1, 2)) * ticks**2).sum() == pytest.approx(4.0, rel=0.05)
    np.testing.assert_allclose(blurred, blurred.transpose(2, 0, 1), atol=1e-8)
    np.testing.assert_allclose(blurred, blurred[::-1], atol=1e-8)


@pytest.mark.parametrize("density", [0.0, 1e-3, 5.0, 80.0])
def test_an_even_field_stays_as_it_is(density):
    grid = np.full((12, 10, 8), density, dtype=np.float32)
    np.testing.assert_allclose(blur_density(grid, 0.02, 1.5), grid, rtol=2e-3, atol=1e-7)


def test_no_blur_is_no_change_and_a_negative_one_an_error():
    grid = np.random.default_rng(0).random((5, 5, 5)).astype(np.float32)
    assert blur_density(grid, 0.1, 0.0) is grid
    with pytest.raises(ValueError, match="0 or more"):
        blur_density(grid, 0.1, -1.0)


def test_a_spike_of_density_does_not_spread():
    """One voxel of any density raises its neighbours by no more than an opaque voxel would."""
    grid = np.zeros((15, 15, 15), dtype=np.float32)
    grid[7, 7, 7] = 1e6
    blurred = blur_density(grid, 0.02, 1.0)
    assert np.isfinite(blurred).all()
    assert blurred.max() < 5.0


def test_pinholes_in_a_noisy_ball_close_and_its_size_stays(fields):
    clean = fields.solid(fields.ball(0.45), 60.0)
    generator = np.random.default_rng(1)
    noise = trilinear(generator.normal(0, 1.2, (64, 64, 64)).astype(np.float32), 0.8)

    def noisy(points):
        return clean(points) * np.exp(noise(points))

    spacing = 1.6 / 63
    grid = density_grid(noisy, np.full(3, -0.8), spacing, (64, 64, 64))
    rough = extract_surface(trilinear(grid, 0.8), fields.LEVEL, 64, 0.8)
    smooth = extract_surface(trilinear(blur_density(grid, spacing, 1.2), 0.8), fields.LEVEL, 64, 0.8)
    assert euler_number(rough) != 2
    assert euler_number(smooth) == 2
    assert np.linalg.norm(smooth.vertices, axis=1).mean() == pytest.approx(0.45, abs=0.03)
