import numpy as np
import pytest
import trimesh
from limbeck_server.meshing.gltf import glb_bytes, linear_from_srgb, split_at_seams, write_glb
from limbeck_server.meshing.mesh import Mesh


@pytest.fixture
def pyramid() -> Mesh:
    """A closed body that knows its directions: tip up (+Z), nose in front (-Y), a corner at its left (+X)."""
    vertices = np.array([[0, 0, 2], [0, -3, 0], [1, 1, 0], [-0.5, 1, 0]], dtype=np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], dtype=np.int32)
    return Mesh(vertices, faces)


def textured(mesh: Mesh) -> Mesh:
    uv = np.random.default_rng(0).uniform(0, 1, (len(mesh.faces), 3, 2)).astype(np.float32)
    texture = np.zeros((8, 8, 3), dtype=np.uint8)
    texture[0, :, 0] = 255  # the first row, at the top, is red
    return Mesh(mesh.vertices, mesh.faces, corner_uv=uv, texture=texture, vertex_colours=np.ones_like(mesh.vertices))


def load(path) -> trimesh.Trimesh:
    (body,) = trimesh.load(path, process=False).geometry.values()
    return body


def test_up_becomes_y_and_the_front_becomes_plus_z(pyramid, tmp_path):
    write_glb(tmp_path / "a.glb", pyramid, "pyramid")
    body = load(tmp_path / "a.glb")
    np.testing.assert_allclose(body.vertices[0], [0, 2, 0])
    np.testing.assert_allclose(body.vertices[1], [0, 0, 3])
    np.testing.assert_allclose(body.vertices[2], [1, 0, -1])
    assert body.is_watertight
    assert body.volume > 0


def test_a_textured_mesh_keeps_its_uvs_and_picture_and_no_vertex_colours(pyramid, tmp_path):
    mesh = textured(pyramid)
    write_glb(tmp_path / "a.glb", mesh, "pyramid")
    body = load(tmp_path / "a.glb")
    np.testing.assert_allclose(body.visual.uv[body.faces], mesh.corner_uv, atol=1e-6)
    material = body.visual.material
    np.testing.assert_array_equal(np.asarray(material.baseColorTexture), mesh.texture)
    assert material.metallicFactor == 0.0
    assert material.roughnessFactor == pytest.approx(0.9)
    assert b"COLOR_0" not in (tmp_path / "a.glb").read_bytes()


def test_v_grows_upwards_here_and_downwards_in_the_file(pyramid):
    """glTF puts v = 0 at the picture's first row; ours is at v = 1."""
    mesh = Mesh(
        pyramid.vertices,
        pyramid.faces,
        corner_uv=np.full((4, 3, 2), (0.25, 1.0), dtype=np.float32),
        texture=np.zeros((4, 4, 3), np.uint8),
    )
    data = glb_bytes(mesh, "p")
    assert np.array([0.25, 0.0], dtype="<f4").tobytes() * 4 in data


def test_vertex_colours_are_written_as_linear_light_where_there_is_no_texture(pyramid, tmp_path):
    colours = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0, 0, 1], [0.2, 0.8, 0.4]], dtype=np.float32)
    write_glb(tmp_path / "a.glb", Mesh(pyramid.vertices, pyramid.faces, vertex_colours=colours), "pyramid")
    got = load(tmp_path / "a.glb").visual.vertex_colors[:, :3] / 255.0
    np.testing.assert_allclose(got, linear_from_srgb(colours), atol=1 / 255)
    assert linear_from_srgb(np.array([0.5])) == pytest.approx(0.21404, abs=1e-5)


def test_seams_split_only_where_uvs_differ(pyramid):
    shared = np.zeros((4, 3, 2), dtype=np.float32)
    assert len(split_at_seams(pyramid.faces, shared)[0]) == 4
    sources, uv, faces = split_at_seams(pyramid.faces, textured(pyramid).corner_uv)
    assert len(sources) == 12
    np.testing.assert_array_equal(sources[faces], pyramid.faces)
    np.testing.assert_array_equal(uv[faces], textured(pyramid).corner_uv)


def test_the_same_mesh_gives_the_same_bytes(pyramid):
    assert glb_bytes(textured(pyramid), "a") == glb_bytes(textured(pyramid), "a")


def test_an_empty_or_malformed_mesh_is_refused_and_nothing_is_left(pyramid, tmp_path):
    with pytest.raises(ValueError, match="at least one face"):
        write_glb(tmp_path / "a.glb", Mesh(pyramid.vertices, np.zeros((0, 3), np.int32)), "a")
    with pytest.raises(ValueError, match="index vertices"):
        write_glb(tmp_path / "a.glb", Mesh(pyramid.vertices, pyramid.faces + 1), "a")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_an_os_error(pyramid, tmp_path):
    with pytest.raises(OSError, match="missing"):
        write_glb(tmp_path / "missing" / "a.glb", pyramid, "a")
