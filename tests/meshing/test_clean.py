import numpy as np
import pytest
from limbeck_server.meshing.clean import component_labels, drop_components, repair, winding_number
from limbeck_server.meshing.mesh import Mesh, euler_number, is_watertight, volume
from limbeck_server.meshing.surface import extract_surface


def shape(fields, distance, resolution=48):
    return extract_surface(fields.solid(distance), fields.LEVEL, resolution, 0.8)


def test_two_balls_are_two_components(fields):
    mesh = shape(fields, fields.union(fields.ball(0.3, (-0.4, 0, 0)), fields.ball(0.2, (0.4, 0, 0))))
    labels = component_labels(mesh.faces, len(mesh.vertices))
    assert labels.max() == 1
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    assert len(np.unique(labels[centres[:, 0] < 0])) == 1
    assert len(np.unique(labels[centres[:, 0] > 0])) == 1
    kept, report = drop_components(mesh)
    assert (report.found, report.dropped_small, report.dropped_inner) == (2, 0, 0)
    assert euler_number(kept) == 4


def test_a_speck_is_dropped_and_counted_and_the_rest_untouched(fields):
    mesh = shape(fields, fields.union(fields.ball(0.4), fields.ball(0.04, (0.36, 0.36, 0.36))), 64)
    kept, report = drop_components(mesh)
    assert (report.found, report.dropped_small) == (2, 1)
    assert euler_number(kept) == 2
    assert is_watertight(kept)
    assert np.linalg.norm(kept.vertices, axis=1).max() < 0.41
    everything, report = drop_components(mesh, share=0.0)
    assert report.dropped_small == 0
    assert len(everything.faces) == len(mesh.faces)


def test_a_thin_plate_of_little_volume_is_kept(fields):
    plate = fields.box((0.4, 0.4, 0.015), (0, 0, 0.6))
    kept, report = drop_components(shape(fields, fields.union(fields.ball(0.4), plate), 96), share=0.2)
    assert (report.found, report.dropped_small) == (2, 0)
    assert euler_number(kept) == 4


def test_a_hollow_is_filled(fields):
    mesh = shape(fields, fields.minus(fields.ball(0.5), fields.ball(0.3)))
    assert volume(mesh) == pytest.approx(4 / 3 * np.pi * (0.5**3 - 0.3**3), rel=0.01)
    kept, report = drop_components(mesh)
    assert (report.found, report.dropped_small, report.dropped_inner) == (2, 0, 1)
    assert volume(kept) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)


def test_what_floats_in_a_hollow_goes_with_it(fields):
    shell = fields.minus(fields.ball(0.5), fields.ball(0.35))
    beside = fields.ball(0.2, (0.0, 0.0, 0.75))
    mesh = shape(fields, fields.union(shell, fields.ball(0.15), beside), 64)
    kept, report = drop_components(mesh)
    assert (report.found, report.dropped_inner) == (4, 2)
    assert euler_number(kept) == 4
    assert is_watertight(kept)


def test_a_bad_share_is_refused(fields):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        drop_components(shape(fields, fields.ball(0.4), 16), share=2.0)


def test_the_winding_number_is_one_inside_and_zero_outside(fields):
    mesh = shape(fields, fields.torus(0.4, 0.15))
    points = np.array([[0.4, 0, 0], [0, 0.45, 0.05], [0, 0, 0], [0.7, 0.7, 0.7]])
    np.testing.assert_allclose(winding_number(points, mesh.vertices, mesh.faces), [1, 1, 0, 0], atol=1e-4)


def test_repair_welds_a_soup_of_triangles(fields):
    mesh = shape(fields, fields.torus(0.4, 0.15), 32)
    soup = Mesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(3 * len(mesh.faces), dtype=np.int32).reshape(-1, 3))
    assert not is_watertight(soup)
    welded = repair(soup)
    assert is_watertight(welded)
    assert euler_number(welded) == 0
    assert volume(welded) == pytest.approx(volume(mesh), rel=1e-5)


def test_repair_turns_flipped_faces_and_drops_useless_ones(fields):
    mesh = shape(fields, fields.union(fields.ball(0.3, (-0.4, 0, 0)), fields.ball(0.2, (0.4, 0, 0))), 32)
    faces = mesh.faces.copy()
    flipped = np.random.default_rng(0).random(len(faces)) < 0.4
    faces[flipped] = faces[flipped][:, ::-1]
    faces = np.concatenate([faces, faces[:5], faces[:3][:, [0, 0, 1]]]).astype(np.int32)
    mended = repair(Mesh(mesh.vertices, faces))
    assert is_watertight(mended)
    assert len(mended.faces) == len(mesh.faces)
    assert volume(mended) == pytest.approx(volume(mesh), rel=1e-6)


def test_repair_says_nothing_of_a_hole_but_leaves_it_to_be_seen(fields):
    mesh = shape(fields, fields.ball(0.4), 24)
    assert not is_watertight(repair(Mesh(mesh.vertices, mesh.faces[1:])))


def test_repair_turns_an_inside_out_mesh(fields):
    mesh = shape(fields, fields.ball(0.4), 24)
    turned = repair(Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1])))
    assert volume(turned) == pytest.approx(volume(mesh), rel=1e-6)
