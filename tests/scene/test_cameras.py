from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.scene.cameras import (
    CameraRig,
    OrbitRange,
    Views,
    azimuth_elevation_deg,
    focal_from_field_of_view,
    look_at,
    orbit_positions,
    orbit_views,
    rays,
    sample_orbit,
    sample_views,
)


def angles(generator: torch.Generator, count: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    azimuth = torch.rand(count, generator=generator, dtype=torch.float64) * 360 - 180
    elevation = torch.rand(count, generator=generator, dtype=torch.float64) * 178 - 89
    return azimuth, elevation


def ray_nearest_to_origin(views: Views, size: int) -> tuple[int, int]:
    origins, directions = rays(views, size)
    closest = origins - (origins * directions).sum(-1, keepdim=True) * directions
    index = int(closest.norm(dim=-1)[0].argmin())
    return index // size, index % size


def test_look_at_gives_right_handed_orthonormal_frames(generator):
    positions = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    matrices = look_at(positions, targets)
    rotation = matrices[:, :3, :3]
    eye = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation.transpose(1, 2) @ rotation, eye, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(40, dtype=torch.float64))
    forward = torch.nn.functional.normalize(targets - positions, dim=-1)
    torch.testing.assert_close(-rotation[:, :, 2], forward)
    assert (rotation[:, 2, 1] >= 0).all(), "pictures are upright: their up has no downward part"
    torch.testing.assert_close(matrices[:, 3], torch.tensor([0.0, 0, 0, 1], dtype=torch.float64).expand(40, 4))


@pytest.mark.parametrize("height", [2.0, -2.0])
def test_a_camera_straight_above_or_below_takes_plus_y_as_up(height):
    matrix = look_at(torch.tensor([[0.0, 0.0, height]]), torch.zeros(1, 3))[0]
    assert matrix.isfinite().all()
    torch.testing.assert_close(matrix[:3, 1], torch.tensor([0.0, 1.0, 0.0]))


def test_azimuth_and_elevation_survive_the_round_trip(generator):
    azimuth, elevation = angles(generator)
    found_azimuth, found_elevation = azimuth_elevation_deg(orbit_views(azimuth, elevation, 2.0, 40.0))
    torch.testing.assert_close(found_azimuth, azimuth, atol=1e-9, rtol=0)
    torch.testing.assert_close(found_elevation, elevation, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "where"),
    [(0, 0, (0, -2, 0)), (90, 0, (2, 0, 0)), (180, 0, (0, 2, 0)), (-90, 0, (-2, 0, 0)), (0, 90, (0, 0, 2))],
)
def test_named_places_on_the_orbit(azimuth, elevation, where):
    at = orbit_positions(torch.tensor([float(azimuth)]), torch.tensor([float(elevation)]), torch.tensor([2.0]))
    torch.testing.assert_close(at, torch.tensor([where], dtype=torch.float32), atol=1e-6, rtol=0)


def test_every_orbit_camera_sees_the_origin_in_the_middle_of_its_picture(generator):
    azimuth, elevation = angles(generator)
    origins, directions = rays(orbit_views(azimuth, elevation, 2.05, 41.0), 5)
    torch.testing.assert_close(directions[:, 2, 2], -origins[:, 2, 2] / 2.05, atol=1e-12, rtol=0)


def test_rays_are_unit_vectors_and_span_the_field_of_view():
    views = orbit_views(torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), 2.0, 40.0)
    size = 1001
    _, directions = rays(views, size)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, size, size, dtype=torch.float64))
    top, bottom = directions[0, 0, size // 2], directions[0, -1, size // 2]
    assert top[2] > 0 > bottom[2], "row 0 is the top of the picture"
    assert directions[0, size // 2, -1, 0] > 0, "the last column is at the right: +X, seen from the front"
    # The outermost pixel centres are half a pixel inside the field of view.
    angle = math.degrees(math.acos(float(top @ bottom)))
    expected = 2 * math.degrees(math.atan(math.tan(math.radians(20)) * (1 - 1 / size)))
    assert angle == pytest.approx(expected, abs=1e-9)


def test_focal_length_of_ninety_degrees_is_half_the_height():
    torch.testing.assert_close(focal_from_field_of_view(torch.tensor([90.0])), torch.tensor([0.5]))


def test_lens_shift_moves_the_contents_left_and_down():
    views = orbit_views(torch.zeros(1), torch.zeros(1))
    size = 21
    assert ray_nearest_to_origin(views, size) == (10, 10)
    shift = torch.tensor([[0.0, 2 / size, 0.0]])
    assert ray_nearest_to_origin(Views(views.camera_to_world, views.lens + shift), size) == (10, 8)
    shift = torch.tensor([[0.0, 0.0, 3 / size]])
    assert ray_nearest_to_origin(Views(views.camera_to_world, views.lens + shift), size) == (13, 10)


def test_views_are_sliced_and_moved_whole(generator):
    views = sample_orbit(OrbitRange(), 5, generator)
    assert len(views[1:3]) == 2
    moved = views.to("cpu", torch.float64)
    assert moved.lens.dtype == moved.camera_to_world.dtype == torch.float64


def test_sampled_orbits_stay_in_their_ranges_and_are_stratified(generator):
    orbit = OrbitRange((-90.0, 90.0), (10.0, 30.0), (1.5, 1.6), (40.0, 50.0), jitter=0.0)
    views = sample_orbit(orbit, 64, generator)
    azimuth, elevation = azimuth_elevation_deg(views)
    distance = views.positions.norm(dim=-1)
    assert ((elevation > 9.999) & (elevation < 30.001)).all()
    assert ((distance > 1.4999) & (distance < 1.6001)).all()
    bins = ((azimuth + 90) / 180 * 64).floor().sort().values
    torch.testing.assert_close(bins, torch.arange(64.0), atol=0, rtol=0)


def test_the_same_seed_gives_the_same_views():
    rig = CameraRig(OrbitRange(), orbit_views(torch.zeros(2), torch.zeros(2)), (1.0, 2.0), ("", ", top"), 0.1)
    first, second = (sample_views(rig, 9, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first[0].camera_to_world, second[0].camera_to_world)
    assert torch.equal(first[0].lens, second[0].lens)
    assert first[1] == second[1]
    other = sample_views(rig, 9, torch.Generator().manual_seed(4))
    assert not torch.equal(first[0].camera_to_world, other[0].camera_to_world)


def test_cameras_are_drawn_in_proportion_to_their_weights_with_their_suffixes(generator):
    cameras = orbit_views(torch.tensor([0.0, 90.0, 180.0]), torch.zeros(3))
    rig = CameraRig(OrbitRange(weight=2.0), cameras, (1.0, 0.0, 5.0), (", face", ", never", ", back"))
    views, suffixes = sample_views(rig, 8000, generator)
    share = {suffix: suffixes.count(suffix) / 8000 for suffix in ("", ", face", ", never", ", back")}
    assert share[", never"] == 0
    # Four standard errors of a share over 8,000 draws are at most 0.0224.
    for suffix, expected in (("", 2 / 8), (", face", 1 / 8), (", back", 5 / 8)):
        assert share[suffix] == pytest.approx(expected, abs=0.0224)
    face = [row for row, suffix in enumerate(suffixes) if suffix == ", face"]
    assert torch.equal(views.camera_to_world[face], cameras.camera_to_world[:1].expand(len(face), 4, 4))


def test_explicit_cameras_jitter_by_the_asked_deviation(generator):
    rig = CameraRig(None, orbit_views(torch.zeros(1), torch.zeros(1)), (1.0,), ("",), position_jitter=0.05)
    views, _ = sample_views(rig, 4000, generator)
    offsets = views.positions - torch.tensor([0.0, -2.05, 0.0])
    assert float(offsets.std()) == pytest.approx(0.05, abs=4 * 0.05 / math.sqrt(2 * 12000))
    torch.testing.assert_close(views.camera_to_world[:, :3, :3], views.camera_to_world[:1, :3, :3].expand(4000, 3, 3))


def test_a_camera_of_no_weight_leaves_the_orbit_as_it_was():
    camera = orbit_views(torch.zeros(1), torch.zeros(1))
    alone, _ = sample_views(CameraRig(OrbitRange()), 6, torch.Generator().manual_seed(5))
    both, _ = sample_views(CameraRig(OrbitRange(), camera, (0.0,), ("",)), 6, torch.Generator().manual_seed(5))
    assert torch.equal(alone.camera_to_world, both.camera_to_world)


@pytest.mark.parametrize("rig", [CameraRig(), CameraRig(OrbitRange(weight=0.0))])
def test_a_rig_without_weight_is_refused(rig, generator):
    with pytest.raises(ValueError, match="weight above 0"):
        sample_views(rig, 1, generator)
