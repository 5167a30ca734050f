"""Scores: perfect on the truth itself, and the closed form where there is one."""

import math

import pytest
import torch
from limbeck_server.known_world import truth as t
from limbeck_server.known_world.mesh_distance import closest_points, sample_mesh
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.primitives import sphere
from limbeck_server.known_world.shape import Part, Shape
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.scene.cameras import orbit_views

YELLOW = torch.tensor(COLOURS["yellow"])


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", ["duck", "mug", "house"])
def test_the_truth_scores_perfectly_against_itself(name, true_mesh):
    shape = SHAPES[name]
    vertices, faces = true_mesh(shape.signed_distance, resolution=72)
    views = orbit_views(torch.tensor([10.0, 130.0, -80.0]), torch.tensor([0.0, 30.0, 15.0]))
    masks = render_buffers(shape, views, 48)[:, 4]
    found = t.score(
        shape,
        YELLOW,
        vertices=vertices,
        faces=faces,
        vertex_colours=t.shaded_colour(vertices, shape, YELLOW),
        inside=lambda points: shape.signed_distance(points) < 0.0,
        masks=masks,
        mask_views=views,
    )
    assert found["iou"] == 1.0
    assert found["mean_abs_signed_distance"] < 3e-3
    assert found["truth_to_mesh"] < 4e-3
    assert found["silhouette_iou"] > 0.97
    assert found["colour_error"] < 0.03


@pytest.mark.parametrize("shift", [0.1, 0.3])
def test_a_shifted_sphere_has_the_iou_of_the_lens(shift):
    radius = 0.4
    still = Shape("ball", (Part(sphere((0.0, 0.0, 0.0), radius)),))
    moved = sphere((shift, 0.0, 0.0), radius)
    lens = math.pi * (4 * radius + shift) * (2 * radius - shift) ** 2 / 12
    expected = lens / (2 * 4 / 3 * math.pi * radius**3 - lens)

    def inside(points):
        return moved(*points.unbind(1)) < 0.0

    assert t.occupancy_iou(inside, still) == pytest.approx(expected, abs=6e-3)
    grid = inside(t.grid_points(48)).reshape(48, 48, 48)
    assert t.occupancy_iou(grid, still) == pytest.approx(expected, abs=1e-2)


def test_a_grown_sphere_is_off_by_its_growth(true_mesh):
    ball = SHAPES["sphere"]
    vertices, faces = true_mesh(lambda points: points.norm(dim=1) - 0.55)
    assert t.mean_abs_signed_distance(vertices, ball) == pytest.approx(0.05, abs=5e-4)
    points = t.surface_points(ball, 1000, generator())
    assert t.truth_to_mesh_distance(points, vertices, faces) == pytest.approx(0.05, abs=5e-4)


def test_a_missing_half_costs_distance_from_truth_to_mesh_only(true_mesh):
    vertices, faces = true_mesh(lambda points: torch.maximum(points.norm(dim=1) - 0.5, points[:, 0]))
    on_ball = vertices[vertices.norm(dim=1) > 0.499]
    assert t.mean_abs_signed_distance(on_ball, SHAPES["sphere"]) < 1e-3
    points = t.surface_points(SHAPES["sphere"], 4000, generator())
    # A point at angle a to the cut's plane is sin(a)/2 from the cut; the mean over the missing half is 1/4.
    assert t.truth_to_mesh_distance(points, vertices, faces) == pytest.approx(0.125, abs=6e-3)


def test_surface_points_lie_on_the_surface_evenly():
    points = t.surface_points(SHAPES["sphere"], 6000, generator())
    assert points.shape == (6000, 3)
    assert SHAPES["sphere"].signed_distance(points).abs().max() < 1e-5
    # Archimedes: equal heights of a sphere have equal areas.
    shares = torch.histc(points[:, 2], 5, -0.5, 0.5) / 6000
    assert (shares - 0.2).abs().max() < 0.025
    for name in ("mug", "duck", "chair"):
        assert SHAPES[name].signed_distance(t.surface_points(SHAPES[name], 500, generator())).abs().max() < 1e-4


def test_the_mugs_inner_wall_is_sampled_and_seen_from_above():
    mug = SHAPES["mug"]
    points = t.surface_points(mug, 4000, generator())
    # The floor's inner side lies 0.09 above its outer side; nobody looks from straight below.
    floor = (points[:, 2] < -0.28) & (points[:, 2] > -0.32) & ((points[:, 0] + 0.1).hypot(points[:, 1]) < 0.2)
    assert floor.sum() > 50
    seen = t.visible(points, mug)
    assert seen[floor].float().mean() < 0.7, "the wall hides most of the floor"
    assert seen.float().mean() > 0.5
    below = (points[:, 2] < -0.405) & ((points[:, 0] + 0.1).hypot(points[:, 1]) < 0.2)
    assert not seen[below].any(), "no camera of the default orbit stands below the underside"


def test_every_point_of_a_ball_but_its_poles_is_visible():
    points = t.surface_points(SHAPES["sphere"], 2000, generator())
    assert t.visible(points, SHAPES["sphere"]).float().mean() > 0.9
    front = orbit_views(torch.tensor([0.0]), torch.tensor([0.0]), 2.0)
    seen = t.visible(points, SHAPES["sphere"], front)
    # A camera at distance d sees what lies nearer to it than r^2 / d along the axis.
    expected = -points[:, 1] > 0.25 / 2.0
    assert (seen != expected).float().mean() < 0.03


def test_silhouettes_of_nothing_and_of_half_score_as_expected():
    views = orbit_views(torch.tensor([0.0, 90.0]), torch.tensor([0.0, 20.0]))
    full = render_buffers(SHAPES["sphere"], views, 64)[:, 4]
    assert t.silhouette_iou(full, SHAPES["sphere"], views) > 0.98
    assert t.silhouette_iou(torch.zeros_like(full), SHAPES["sphere"], views) == 0.0
    half = full.clone()
    half[:, :, 32:] = 0.0
    assert t.silhouette_iou(half, SHAPES["sphere"], views) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="one square mask per view"):
        t.silhouette_iou(full[:1], SHAPES["sphere"], views)


def test_the_colour_error_is_the_distance_of_colours():
    ball = SHAPES["sphere"]
    points = t.surface_points(ball, 300, generator())
    true = t.shaded_colour(points, ball, YELLOW)
    assert t.colour_error(points, true, ball, YELLOW) == 0.0
    shown = true + torch.tensor([0.03, 0.0, -0.04])
    assert t.colour_error(points, shown, ball, YELLOW) == pytest.approx(0.05, abs=1e-5)


def test_shaded_colours_are_those_of_the_pictures():
    views = orbit_views(torch.tensor([25.0]), torch.tensor([20.0]))
    picture = compose_picture(render_buffers(SHAPES["duck"], views, 65), YELLOW, torch.zeros(3))
    origins, directions = t.rays(views, 65)
    travelled, _ = t.trace(SHAPES["duck"], origins[0, 32, 32][:, None], directions[0, 32, 32][:, None])
    point = origins[0, 32, 32] + travelled * directions[0, 32, 32]
    shaded = t.shaded_colour(point[None], SHAPES["duck"], YELLOW)
    torch.testing.assert_close(picture[0, :, 32, 32], shaded[0], atol=5e-3, rtol=0.0)


def test_closest_points_agree_with_brute_force_over_all_triangles():
    random = generator()
    vertices = torch.rand(30, 3, generator=random)
    faces = torch.stack([torch.randperm(30, generator=random)[:3] for _ in range(12)])
    points = 2.0 * torch.rand(50, 3, generator=random) - 0.5
    found = closest_points(points, vertices, faces, random)
    grid = torch.tensor([(u, v) for u in torch.linspace(0, 1, 80) for v in torch.linspace(0, 1, 80) if u + v <= 1.0])
    weights = torch.cat([grid, 1.0 - grid.sum(dim=1, keepdim=True)], dim=1)
    dense = torch.einsum("wk,fkx->fwx", weights, vertices[faces]).reshape(-1, 3)
    # The grid's points are up to 0.02 apart, so the grid can only be further away, and by half of that at most.
    excess = torch.cdist(points, dense).amin(dim=1) - found.distance
    assert -1e-5 < excess.min() <= excess.max() < 0.01
    assert (found.weights.sum(dim=1) - 1.0).abs().max() < 1e-5
    places = torch.einsum("nk,nkx->nx", found.weights, vertices[faces[found.face]])
    torch.testing.assert_close((places - points).norm(dim=1), found.distance)


def test_mesh_samples_are_spread_by_area():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 0], [0, 3, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 4]])
    points, face = sample_mesh(vertices, faces, 20_000, generator())
    assert face.float().mean().item() == pytest.approx(0.9, abs=0.01)
    torch.testing.assert_close(points[face == 1].mean(dim=0), torch.tensor([1.0, 1.0, 0.0]), atol=0.03, rtol=0.0)


def test_a_mesh_without_triangles_is_refused():
    with pytest.raises(ValueError, match="the mesh has none"):
        closest_points(torch.zeros(1, 3), torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), generator())
    with pytest.raises(ValueError, match="is a cube"):
        t.occupancy_iou(torch.zeros(2, 3, 4, dtype=torch.bool), SHAPES["cube"])
