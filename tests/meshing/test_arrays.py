import io
import zipfile

import numpy as np
import pytest
from limbeck_server.meshing.arrays import read_mesh_arrays, write_mesh_arrays
from limbeck_server.meshing.mesh import Mesh, check_mesh, euler_number, is_watertight, mesh_digest, volume


@pytest.fixture
def cube() -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([t for a, b, c, d in quads for t in ([a, b, c], [a, c, d])], dtype=np.int32)
    return Mesh(corners, faces)


def full(mesh: Mesh) -> Mesh:
    generator = np.random.default_rng(1)
    return Mesh(
        mesh.vertices,
        mesh.faces,
        normals=generator.normal(size=mesh.vertices.shape).astype(np.float32),
        vertex_colours=generator.random(mesh.vertices.shape).astype(np.float32),
        corner_uv=generator.random((len(mesh.faces), 3, 2)).astype(np.float32),
        texture=generator.integers(0, 255, (4, 6, 3)).astype(np.uint8),
    )


def test_a_unit_cube_is_closed_has_volume_one_and_euler_number_two(cube):
    assert is_watertight(cube)
    assert volume(cube) == pytest.approx(1.0, abs=1e-12)
    assert euler_number(cube) == 2


def test_a_hole_a_flipped_face_or_a_doubled_one_is_not_watertight(cube):
    assert not is_watertight(Mesh(cube.vertices, cube.faces[1:]))
    flipped = cube.faces.copy()
    flipped[0] = flipped[0, ::-1]
    assert not is_watertight(Mesh(cube.vertices, flipped))
    assert not is_watertight(Mesh(cube.vertices, np.concatenate([cube.faces, cube.faces])))
    assert not is_watertight(Mesh(cube.vertices, cube.faces[:0]))


@pytest.mark.parametrize("make", [lambda mesh: mesh, full], ids=["bare", "full"])
def test_arrays_come_back_as_they_went(cube, make, tmp_path):
    mesh = make(cube)
    write_mesh_arrays(tmp_path / "mesh.npz", mesh)
    back = read_mesh_arrays(tmp_path / "mesh.npz")
    assert mesh_digest(back) == mesh_digest(mesh)
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.npz"]


def test_members_are_stored_uncompressed_with_a_fixed_date_and_equal_bytes(cube, tmp_path):
    write_mesh_arrays(tmp_path / "a.npz", full(cube))
    write_mesh_arrays(tmp_path / "b.npz", full(cube))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        for member in archive.infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert member.compress_type == zipfile.ZIP_STORED


def saved(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip",
        saved(vertices=np.zeros((3, 3), np.float32)),
        saved(vertices=np.zeros((3, 3), np.float32), faces=np.zeros((1, 3), np.int32), extra=np.zeros(1)),
        saved(vertices=np.zeros((3, 3), np.float32), faces=np.full((1, 3), 9, np.int32)),
        saved(vertices=np.zeros((3, 2), np.float32), faces=np.zeros((1, 3), np.int32)),
        saved(vertices=np.full((3, 3), np.nan, np.float32), faces=np.zeros((1, 3), np.int32)),
    ],
    ids=["empty", "garbage", "no faces", "unknown member", "index too high", "flat vertices", "not finite"],
)
def test_a_file_that_is_no_mesh_is_refused(content, tmp_path):
    (tmp_path / "mesh.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"mesh|faces"):
        read_mesh_arrays(tmp_path / "mesh.npz")


def test_the_digest_sees_every_array(cube):
    mesh = full(cube)
    digests = {mesh_digest(mesh), mesh_digest(cube)}
    for name in ("vertices", "faces", "normals", "vertex_colours", "corner_uv", "texture"):
        changed = {field: getattr(mesh, field).copy() for field in mesh.__dataclass_fields__}
        changed[name].flat[0] += 1
        digests.add(mesh_digest(Mesh(**changed)))
    assert len(digests) == 8


def test_a_wrong_dtype_is_named(cube):
    with pytest.raises(ValueError, match=r"vertices must be \(8, 3\) float32.*float64"):
        check_mesh(Mesh(cube.vertices.astype(np.float64), cube.faces))
