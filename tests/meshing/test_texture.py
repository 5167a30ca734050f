from dataclasses import replace

import numpy as np
import pytest
from limbeck_server.meshing.appearance import SAMPLES, seen_colour
from limbeck_server.meshing.mesh import Mesh
from limbeck_server.meshing.normals import vertex_normals
from limbeck_server.meshing.simplify import decimate
from limbeck_server.meshing.surface import extract_surface
from limbeck_server.meshing.texture import bake_texture, dilate, sample_texture, texel_coverage
from limbeck_server.meshing.uv import MAX_FACES, unwrap

SIZE = 512


@pytest.fixture(scope="module")
def unwrapped(fields) -> Mesh:
    distance = fields.union(fields.ball(0.4), fields.box((0.1, 0.5, 0.1)), fields.torus(0.5, 0.08))
    mesh = decimate(extract_surface(fields.solid(distance), fields.LEVEL, 64, 0.8), 4000)
    return replace(mesh, corner_uv=unwrap(mesh, SIZE))


def spots(mesh: Mesh, seed: int = 0, count: int = 20_000):
    """Random points on the surface and their UVs."""
    generator = np.random.default_rng(seed)
    faces = generator.integers(0, len(mesh.faces), count)
    weights = generator.dirichlet([1, 1, 1], count)
    points = np.einsum("kc,kcd->kd", weights, mesh.vertices[mesh.faces[faces]])
    return points, np.einsum("kc,kcd->kd", weights, mesh.corner_uv[faces])


def test_uvs_stay_in_the_unit_square_and_use_a_good_part_of_it(unwrapped):
    uv = unwrapped.corner_uv
    assert uv.shape == (len(unwrapped.faces), 3, 2)
    assert uv.dtype == np.float32
    assert uv.min() >= 0
    assert uv.max() <= 1
    sides = uv.astype(np.float64)
    area = np.abs(np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0])).sum() / 2
    assert 0.4 < area < 1.0


def test_charts_do_not_overlap(unwrapped):
    """The texels that triangles cover, counted once each, add up to the triangles' areas: nothing lies twice."""
    sides = unwrapped.corner_uv.astype(np.float64) * 2048
    area = np.abs(np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0])).sum() / 2
    texels, _, weights = texel_coverage(unwrapped.corner_uv, 2048)
    inside = (weights > 0).all(axis=1).sum()
    assert inside == pytest.approx(area, rel=0.01)
    assert len(np.unique(texels)) == len(texels)


def test_unwrapping_is_repeatable(unwrapped):
    again = unwrap(unwrapped, SIZE)
    np.testing.assert_array_equal(again, unwrapped.corner_uv)


@pytest.mark.parametrize("count", [0, MAX_FACES + 1])
def test_unwrapping_refuses_too_many_faces(count):
    with pytest.raises(ValueError, match="decimate"):
        unwrap(Mesh(np.zeros((3, 3), np.float32), np.zeros((count, 3), np.int32)), SIZE)


def test_coverage_of_one_triangle_is_exact():
    uv = np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]], dtype=np.float32)  # the lower left half of the square
    texels, faces, weights = texel_coverage(uv, 8)
    row, column = np.divmod(texels, 8)
    strictly = (weights > 1e-6).all(axis=1)
    assert set(zip(row[strictly], column[strictly], strict=True)) == {
        (r, c) for r in range(8) for c in range(8) if c < r
    }
    centre_uv = np.stack([(column + 0.5) / 8, 1 - (row + 0.5) / 8], axis=-1)
    np.testing.assert_allclose(np.einsum("kc,cd->kd", weights, uv[0])[strictly], centre_uv[strictly], atol=1e-6)
    assert (faces == 0).all()


def test_a_baked_texture_shows_the_colour_of_the_surface_everywhere(unwrapped, fields):
    texture = bake_texture(unwrapped, seen_colour(lambda p: p[:, 0], fields.rainbow, 0.0), SIZE)
    assert texture.shape == (SIZE, SIZE, 3)
    assert texture.dtype == np.uint8
    points, uv = spots(unwrapped)
    error = np.abs(sample_texture(texture, uv) - fields.rainbow(points))
    assert error.max() < 0.03
    assert error.mean() < 0.004


def test_baking_asks_in_chunks_and_tells_its_progress(unwrapped, fields):
    sizes, shares = [], []

    def colour(points, normals):
        sizes.append(len(points))
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
        return fields.rainbow(points)

    bake_texture(unwrapped, colour, 256, shares.append, chunk=5000)
    assert max(sizes) <= 5000
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_texture_needs_uvs(fields):
    with pytest.raises(ValueError, match="unwrap"):
        bake_texture(Mesh(np.zeros((3, 3), np.float32), np.zeros((1, 3), np.int32)), lambda p, n: p, 64)


def test_dilation_fills_exactly_its_rings_and_the_rest_takes_the_mean():
    image = np.zeros((15, 15, 3), dtype=np.float32)
    covered = np.zeros((15, 15), dtype=bool)
    covered[7, 7], covered[7, 8] = True, True
    image[7, 7], image[7, 8] = (1, 0, 0), (0, 1, 0)
    filled = dilate(image, covered, 2)
    np.testing.assert_allclose(filled[7, 7], [1, 0, 0])
    np.testing.assert_allclose(filled[6, 6], [1, 0, 0])  # its only neighbour
    np.testing.assert_allclose(filled[6, 7], [0.5, 0.5, 0])
    np.testing.assert_allclose(filled[5, 5], [1, 0, 0])
    np.testing.assert_allclose(filled[0, 0], [0.5, 0.5, 0])
    np.testing.assert_array_equal(dilate(image * 0, covered & False, 2), image * 0)


def test_dilation_at_the_pictures_side_stays_inside():
    image = np.full((4, 4, 3), 0.25, dtype=np.float32)
    covered = np.zeros((4, 4), dtype=bool)
    covered[0, 0] = True
    np.testing.assert_allclose(dilate(image, covered, 6), 0.25)


def test_colour_gathered_below_the_surface_is_the_radiance_of_a_slab():
    """An even density under a colour that grows with depth: T_i (1 - exp(-density step)), summed by hand."""
    density, depth, step = 30.0, 0.1, 0.1 / SAMPLES
    points, normals = np.zeros((4, 3), np.float32), np.tile(np.array([0, 0, 1], np.float32), (4, 1))

    def even(p):
        return np.full(len(p), density)

    weights = np.exp(-density * step * np.arange(SAMPLES)) * -np.expm1(-density * step)
    weights[-1] = 1 - weights[:-1].sum()
    expected = (weights * 4 * (np.arange(SAMPLES) + 0.5) * step).sum()
    gathered = seen_colour(even, lambda p: np.repeat(-p[:, 2:] * 4, 3, axis=1), depth)(points, normals)
    np.testing.assert_allclose(gathered, expected, rtol=1e-5)
    one_colour = seen_colour(even, lambda p: np.full((len(p), 3), 0.3), depth)
    np.testing.assert_allclose(one_colour(points, normals), 0.3, rtol=1e-6)


def test_vertex_normals_of_a_ball_point_away_from_its_centre(fields):
    mesh = extract_surface(fields.solid(fields.ball(0.5)), fields.LEVEL, 48, 0.8)
    normals = vertex_normals(mesh.vertices, mesh.faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)
    assert (np.einsum("ij,ij->i", normals, mesh.vertices / 0.5) > 0.99).all()


def test_normals_are_weighted_by_area_and_never_of_no_length():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3], [5, 5, 5]], dtype=np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
    normals = vertex_normals(vertices, faces)
    np.testing.assert_allclose(normals[0], np.array([3, 0, 1]) / np.sqrt(10), atol=1e-6)
    np.testing.assert_allclose(normals[4], [0, 0, 1])
