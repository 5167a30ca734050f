"""Every shape keeps the world's rules."""

import pytest
import torch
from limbeck_server.known_world.names import SHAPE_NAMES, SHAPE_SYNONYMS
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.known_world.truth import grid_points

NAMES = list(SHAPE_NAMES)


def test_there_are_at_least_24_shapes_and_12_colours_all_told_apart():
    assert len(SHAPES) >= 24
    assert len(COLOURS) == 12
    palette = torch.tensor(list(COLOURS.values()))
    assert torch.pdist(palette).min() > 0.3
    assert set(SHAPE_SYNONYMS.values()) <= set(SHAPE_NAMES)
    assert not set(SHAPE_SYNONYMS) & set(SHAPE_NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shape_lies_within_the_ball_and_is_of_a_good_size(name):
    directions = torch.randn(100_000, 3, generator=torch.Generator().manual_seed(0))
    on_ball = 0.6 * torch.nn.functional.normalize(directions, dim=1)
    assert SHAPES[name].signed_distance(on_ball).min() > 0.0
    points = grid_points(80, 0.62)
    inside = points[SHAPES[name].signed_distance(points) < 0.0]
    extent = inside.amax(dim=0) - inside.amin(dim=0)
    assert extent.max() > 0.65
    assert 0.03 < inside.shape[0] / points.shape[0] * 1.24**3 < 0.6
    assert ((inside.amax(dim=0) + inside.amin(dim=0)) / 2).abs().max() < 0.08, "not centred"


@pytest.mark.parametrize("name", NAMES)
def test_the_distance_is_exact_outside(name):
    points = 2.0 * torch.rand(3000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 1.0
    shape = SHAPES[name]
    distance = shape.signed_distance(points)
    points, distance = points[distance > 0.01], distance[distance > 0.01]
    step = 1e-5
    offsets = step * torch.eye(3, dtype=torch.float64)
    gradient = torch.stack(
        [(shape.signed_distance(points + o) - shape.signed_distance(points - o)) / (2 * step) for o in offsets], dim=1
    )
    assert (gradient.norm(dim=1) - 1.0).abs().quantile(0.99) < 1e-5
    landed = shape.signed_distance(points - distance[:, None] * gradient)
    assert landed.abs().quantile(0.99) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_inside_the_distance_never_exceeds_the_depth(name):
    points = grid_points(40, 0.6).double()
    shape = SHAPES[name]
    distance = shape.signed_distance(points)
    points, depth = points[distance < 0.0], -distance[distance < 0.0]
    assert points.shape[0] > 0
    directions = torch.nn.functional.normalize(
        torch.randn(points.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), dim=1
    )
    assert (shape.signed_distance(points + 0.999 * depth[:, None] * directions) < 0.0).all()


@pytest.mark.parametrize("name", NAMES)
def test_some_of_every_shape_has_the_main_colour(name):
    points = grid_points(60, 0.6)
    inside = points[SHAPES[name].signed_distance(points) < 0.0]
    assert SHAPES[name].main_share(inside).mean() > 0.25


def test_albedo_is_the_main_colour_or_the_parts_own():
    main = torch.tensor([0.9, 0.8, 0.1])
    points = torch.tensor([[0.0, 0.20, -0.4], [0.0, -0.53, 0.235], [0.12, -0.375, 0.36]])
    body, beak, eye = SHAPES["duck"].albedo(points, main)
    assert torch.equal(body, main)
    assert torch.equal(beak, torch.tensor([0.96, 0.48, 0.05]))
    assert eye.max() < 0.1
    assert SHAPES["duck"].main_share(points).tolist() == [1.0, 0.0, 0.0]


def test_normals_point_outwards():
    points = 0.5 * torch.nn.functional.normalize(torch.randn(100, 3, generator=torch.Generator().manual_seed(5)), dim=1)
    torch.testing.assert_close(SHAPES["sphere"].normals(points), points / 0.5, atol=2e-3, rtol=0.0)
