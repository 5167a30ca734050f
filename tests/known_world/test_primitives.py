"""Distances with known answers, and the property that makes a distance function exact."""

import math

import pytest
import torch
from limbeck_server.known_world import primitives as p

ORIGIN = (0.0, 0.0, 0.0)
SQUARE = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]
MUG = [(0.0, -0.4), (0.3, -0.4), (0.3, 0.4), (0.2, 0.4), (0.2, -0.3), (0.0, -0.3)]

KNOWN = [
    (p.sphere((1.0, 0.0, 0.0), 0.5), (3.0, 0.0, 0.0), 1.5),
    (p.sphere(ORIGIN, 0.5), (0.0, 0.1, 0.0), -0.4),
    (p.box(ORIGIN, (1.0, 2.0, 3.0)), (2.0, 3.0, 4.0), math.sqrt(3)),
    (p.box(ORIGIN, (1.0, 2.0, 3.0)), (0.8, 0.0, 0.0), -0.2),
    (p.box(ORIGIN, (1.0, 1.0, 1.0), rounding=0.25), (2.0, 2.0, 2.0), math.sqrt(3) * 1.25 - 0.25),
    (p.cylinder(ORIGIN, 1.0, 2.0), (4.0, 0.0, 6.0), 5.0),
    (p.cylinder(ORIGIN, 1.0, 2.0, axis="x"), (6.0, 4.0, 0.0), 5.0),
    (p.cylinder(ORIGIN, 1.0, 2.0), (0.0, 0.9, 0.0), -0.1),
    (p.torus(ORIGIN, 2.0, 0.5), (0.0, 0.0, 0.0), 1.5),
    (p.torus(ORIGIN, 2.0, 0.5, axis="y"), (0.0, 0.0, 2.0), -0.5),
    (p.capsule((0.0, 0.0, -1.0), (0.0, 0.0, 1.0), 0.5), (0.0, 3.0, 5.0), 4.5),
    (p.round_cone((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.5, 0.5), (2.0, 0.0, 0.5), 1.5),
    (p.round_cone((0.0, 0.0, 0.0), (0.0, 0.0, 2.0), 1.0, 0.5), (0.0, 0.0, 4.0), 1.5),
    (p.round_cone((0.0, 0.0, 0.0), (0.0, 0.0, 2.0), 1.0, 0.5), (0.0, 0.0, -3.0), 2.0),
    (p.dome(ORIGIN, 1.0, 0.0), (0.0, 0.0, 3.0), 2.0),
    (p.dome(ORIGIN, 1.0, 0.0), (0.0, 0.0, -0.5), 0.5),
    (p.dome(ORIGIN, 1.0, 0.6), (0.8 + 3.0, 0.0, 0.6 - 4.0), 5.0),
    (p.dome(ORIGIN, 1.0, 0.0), (0.0, 0.0, 0.3), -0.3),
    (p.arch(ORIGIN, 1.0, 0.1, 90.0), (2.0, 0.0, 0.0), 0.9),
    (p.arch(ORIGIN, 1.0, 0.1, 90.0), (-3.0, 0.0, 5.0), 4.9),
    (p.arch(ORIGIN, 1.0, 0.1, 90.0, direction=-1.0), (-2.0, 0.0, 0.0), 0.9),
    (p.prism(SQUARE, 0.5), (0.0, 4.0, 4.5), 5.0),
    (p.prism([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 2.0)], 0.5, axis="y"), (0.5, 0.0, 3.0), 1.0),
    (p.prism([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (0.0, 2.0)], 0.5, axis="x"), (0.0, 0.5, 3.0), 1.0),
    (p.prism(SQUARE, 0.5, rounding=0.1), (3.0, 0.0, 0.0), 1.9),
    (p.lathe(MUG), (0.0, 0.0, 0.0), 0.2),
    (p.lathe(MUG), (0.25, 0.0, 0.0), -0.05),
    (p.lathe(MUG), (0.0, 0.0, -0.35), -0.05),
    (p.cone(ORIGIN, 1.0, 0.0, 1.0), (0.0, 0.0, 2.0), 1.0),
    (p.cone(ORIGIN, 1.0, 0.0, 1.0), (0.0, 0.0, -2.5), 1.5),
    (p.cone(ORIGIN, 1.0, 1.0, 1.0), (3.0, 0.0, 0.0), 2.0),
    (p.pyramid(ORIGIN, 1.0, 1.0), (0.0, 0.0, 3.0), 2.0),
    (p.pyramid(ORIGIN, 1.0, 1.0), (2.0, 0.0, 1.0), math.sqrt(2)),
    (p.pyramid(ORIGIN, 1.0, 1.0), (0.0, 0.0, -2.0), 2.0),
    (p.pyramid(ORIGIN, 1.0, 1.0), (3.0, 3.0, -1.0), 3.0),
    (p.pyramid(ORIGIN, 1.0, 1.0), (0.0, 0.0, 0.2), -0.2),
    (p.mirrored(p.sphere((1.0, 0.0, 0.0), 0.5)), (-3.0, 0.0, 0.0), 1.5),
]


@pytest.mark.parametrize(("solid", "point", "expected"), KNOWN)
def test_distances_are_the_known_ones(solid, point, expected):
    x, y, z = torch.tensor(point, dtype=torch.float64)[:, None]
    assert solid(x, y, z).item() == pytest.approx(expected, abs=1e-9)


EXACT = {
    "sphere": p.sphere((0.1, 0.0, 0.0), 0.4),
    "box": p.box(ORIGIN, (0.3, 0.4, 0.2), rounding=0.05),
    "cylinder": p.cylinder(ORIGIN, 0.3, 0.4, axis="y", rounding=0.03),
    "torus": p.torus(ORIGIN, 0.4, 0.1, axis="x"),
    "capsule": p.capsule((0.1, 0.2, -0.3), (-0.2, 0.1, 0.3), 0.15),
    "round cone": p.round_cone((0.1, 0.2, -0.2), (-0.1, 0.0, 0.3), 0.25, 0.1),
    "dome": p.dome(ORIGIN, 0.4, 0.1),
    "arch": p.arch(ORIGIN, 0.4, 0.1, 70.0),
    "prism": p.prism([(-0.3, -0.3), (0.3, -0.2), (0.1, 0.0), (0.2, 0.4)], 0.2, axis="y"),
    "lathe": p.lathe(MUG, rounding=0.02),
    "cone": p.cone(ORIGIN, 0.4, 0.1, 0.3, axis="x"),
    "pyramid": p.pyramid((0.0, 0.0, -0.3), 0.4, 0.6),
}


@pytest.mark.parametrize("name", EXACT)
def test_walking_the_distance_down_the_gradient_lands_on_the_surface(name):
    points = 1.6 * torch.rand(4000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 0.8
    distance = EXACT[name](*points.unbind(1))
    step = 1e-6
    gradient = torch.stack(
        [
            (EXACT[name](*(points + offset).unbind(1)) - EXACT[name](*(points - offset).unbind(1))) / (2 * step)
            for offset in step * torch.eye(3, dtype=torch.float64)
        ],
        dim=1,
    )
    length = gradient.norm(dim=1)
    # A point within rounding of a kink (a medial axis) may have a shorter gradient; there are next to none.
    assert (length - 1.0).abs().quantile(0.995) < 1e-6
    landed = EXACT[name](*(points - distance[:, None] * gradient).unbind(1))
    assert landed.abs().quantile(0.995) < 1e-7


@pytest.mark.parametrize("name", [name for name in EXACT if EXACT[name].convex])
def test_a_solid_that_calls_itself_convex_is_convex(name):
    generator = torch.Generator().manual_seed(4)
    start, end = 1.6 * torch.rand(2, 5000, 3, dtype=torch.float64, generator=generator) - 0.8
    ends = 0.5 * (EXACT[name](*start.unbind(1)) + EXACT[name](*end.unbind(1)))
    assert (EXACT[name](*(0.5 * (start + end)).unbind(1)) <= ends + 1e-9).all()


def test_solids_that_are_not_convex_do_not_call_themselves_so():
    assert not any(EXACT[name].convex for name in ("torus", "arch", "prism", "lathe"))
    assert p.prism(SQUARE, 1.0).convex
    assert EXACT["cone"].convex


def test_a_round_cone_of_one_ball_within_the_other_is_refused():
    with pytest.raises(ValueError, match="use a sphere"):
        p.round_cone(ORIGIN, (0.0, 0.0, 0.1), 0.5, 0.1)
