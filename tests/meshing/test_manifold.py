import numpy as np
import pytest
from limbeck_server.meshing.clean import component_labels
from limbeck_server.meshing.manifold import cancel_folds, connected, make_manifold
from limbeck_server.meshing.mesh import Mesh, euler_number, is_watertight, volume

QUADS = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]


def cubes(*places) -> tuple[np.ndarray, np.ndarray]:
    """Unit cubes at whole-numbered places, corners shared, walls between neighbours left out."""
    corners, walls, faces = {}, {}, []
    for place in places:
        numbers = []
        for offset in [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]:
            corner = tuple(int(p + o) for p, o in zip(place, offset, strict=True))
            numbers.append(corners.setdefault(corner, len(corners)))
        for quad in QUADS:
            walls.setdefault(frozenset(numbers[k] for k in quad), []).append([numbers[k] for k in quad])
    for sides in walls.values():
        if len(sides) == 1:
            a, b, c, d = sides[0]
            faces += [[a, b, c], [a, c, d]]
    return np.array(list(corners), dtype=np.float32), np.array(faces, dtype=np.int32)


def pieces(mesh: Mesh) -> int:
    return int(component_labels(mesh.faces, len(mesh.vertices)).max()) + 1


def test_two_cubes_that_touch_along_an_edge_come_apart():
    vertices, faces = cubes((0, 0, 0), (1, 1, 0))
    assert not is_watertight(Mesh(vertices, faces))
    mesh = Mesh(*make_manifold(vertices, faces))
    assert is_watertight(mesh)
    assert pieces(mesh) == 2
    assert euler_number(mesh) == 4
    assert volume(mesh) == pytest.approx(2.0, rel=0.01)
    assert len(np.unique(mesh.vertices, axis=0)) == 16


def test_two_cubes_that_touch_at_a_corner_come_apart():
    mesh = Mesh(*make_manifold(*cubes((0, 0, 0), (1, 1, 1))))
    assert is_watertight(mesh)
    assert euler_number(mesh) == 4
    assert len(mesh.vertices) == 16


def test_a_bent_bar_whose_ends_touch_stays_one_piece():
    vertices, faces = cubes((0, 0, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 0))
    assert not is_watertight(Mesh(vertices, faces))
    mesh = Mesh(*make_manifold(vertices, faces))
    assert is_watertight(mesh)
    assert pieces(mesh) == 1
    assert euler_number(mesh) == 2
    assert volume(mesh) == pytest.approx(5.0, rel=0.01)


def test_two_channels_that_touch_along_an_edge_become_one():
    places = [(x, y, z) for x in range(4) for y in range(4) for z in range(2) if (x, y) not in {(1, 1), (2, 2)}]
    mesh = Mesh(*make_manifold(*cubes(*places)))
    assert is_watertight(mesh)
    assert pieces(mesh) == 1
    assert euler_number(mesh) == 0
    assert volume(mesh) == pytest.approx(28.0, rel=0.01)


def test_sheets_that_share_both_ends_of_an_edge_get_a_vertex_between():
    """Two cubes that touch along one edge, bridged at both its ends: no vertex can be split, only the edge."""
    vertices, faces = cubes((0, 0, 0), (1, 1, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, -1), (0, 1, -1), (1, 1, -1))
    assert not is_watertight(Mesh(vertices, faces))
    mesh = Mesh(*make_manifold(vertices, faces))
    assert is_watertight(mesh)
    assert pieces(mesh) == 1
    assert euler_number(mesh) == 0
    assert volume(mesh) == pytest.approx(8.0, rel=0.01)
    assert len(mesh.vertices) == len(np.unique(faces)) + 1
    assert len(mesh.faces) == len(faces) + 2


def test_a_manifold_is_left_alone():
    vertices, faces = cubes((0, 0, 0), (1, 0, 0))
    same_vertices, same_faces = make_manifold(vertices, faces)
    assert len(same_vertices) == len(np.unique(faces))
    np.testing.assert_array_equal(same_vertices[same_faces], vertices[faces])


def test_an_open_surface_is_refused():
    vertices, faces = cubes((0, 0, 0))
    with pytest.raises(ValueError, match="border"):
        make_manifold(vertices, faces[1:])


def test_faces_back_to_back_cancel():
    faces = np.array([[0, 1, 2], [1, 0, 2], [2, 3, 4], [5, 5, 6], [7, 8, 9], [8, 9, 7], [9, 8, 7]])
    kept = {tuple(row) for row in cancel_folds(faces).tolist()}
    assert len(kept) == 2
    assert (2, 3, 4) in kept


def test_connected_nodes_take_their_lowest_number():
    np.testing.assert_array_equal(connected(np.array([5, 3, 1]), np.array([3, 4, 2]), 7), [0, 1, 1, 3, 3, 3, 6])
