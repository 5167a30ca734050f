from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.scene.shading import Shading, lambert, sample_lights, shade, textureless

UP = torch.tensor([[0.0, 0.0, 1.0]])


@pytest.mark.parametrize(("angle_deg", "expected"), [(0, 1.0), (60, 0.55), (90, 0.1), (150, 0.1)])
def test_lambert_is_ambient_plus_cosine(angle_deg, expected):
    angle = math.radians(angle_deg)
    light = torch.tensor([[math.sin(angle), 0.0, math.cos(angle)]])
    colour = torch.tensor([[1.0, 0.5, 0.2]])
    torch.testing.assert_close(lambert(colour, UP, light), colour * expected)
    torch.testing.assert_close(textureless(UP, light), torch.full((1, 3), expected))


def test_shade_looks_from_each_point_to_its_own_views_light():
    shading = Shading("lambert", torch.tensor([[0.0, 0.0, 3.0], [3.0, 0.0, 1.0]]), ambient=0.0, diffuse=1.0)
    points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    shaded = shade(shading, torch.ones(2, 3), UP.expand(2, 3), points, torch.tensor([0, 1]))
    torch.testing.assert_close(shaded, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))


def test_albedo_changes_nothing_and_needs_no_normals():
    colours = torch.rand(4, 3)
    assert shade(Shading(), colours, None, torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)) is colours
    assert not Shading().needs_normals


def test_camera_lights_stand_near_the_camera_and_lights_above_above(generator):
    cameras = torch.tensor([[0.0, -20.0, 0.0]]).expand(500, 3)
    near, above = sample_lights("camera", cameras, generator), sample_lights("above", cameras, generator)
    for lights in (near, above):
        assert ((lights.norm(dim=-1) > 0.7999) & (lights.norm(dim=-1) < 1.5001)).all()
    assert (torch.nn.functional.normalize(near, dim=-1)[:, 1] < -0.9).all()
    assert float(above[:, 2].mean()) > 0.7


def test_wrong_names_and_missing_lights_are_refused(generator):
    with pytest.raises(ValueError, match="unknown shading 'phong'"):
        Shading("phong")
    with pytest.raises(ValueError, match="needs light_positions"):
        Shading("lambert")
    with pytest.raises(ValueError, match="unknown light 'sun'"):
        sample_lights("sun", torch.zeros(1, 3), generator)
    with pytest.raises(ValueError, match="needs normals"):
        shade(Shading("lambert", UP), torch.ones(1, 3), None, UP, torch.zeros(1, dtype=torch.int64))
