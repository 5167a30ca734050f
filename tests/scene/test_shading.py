from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.scene.shading import SHADINGS, Shading, choose_shading, lambert, sample_lights, shade, textureless

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


@pytest.mark.parametrize("kind", SHADINGS)
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_named_shading_is_chosen_always_and_draws_nothing(kind, share, generator):
    before = generator.get_state()
    assert choose_shading(kind, share, 0.2, 0.75, 0.5, generator) == kind
    assert torch.equal(before, generator.get_state())


def test_mixed_shading_begins_with_albedo_and_then_mixes_as_threestudio_does(generator):
    steps = 20_000
    kinds = [choose_shading("mixed", step / steps, 0.2, 0.75, 0.5, generator) for step in range(steps)]
    first, rest = kinds[: steps // 5], kinds[steps // 5 :]
    assert set(first) == {"albedo"}
    for kind, probability in (("albedo", 0.25), ("lambert", 0.375), ("textureless", 0.375)):
        error = math.sqrt(probability * (1 - probability) / len(rest))
        assert rest.count(kind) / len(rest) == pytest.approx(probability, abs=4 * error), kind


@pytest.mark.parametrize(
    ("lit_share", "textureless_share", "expected"),
    [(0.0, 0.5, {"albedo"}), (1.0, 0.0, {"lambert"}), (1.0, 1.0, {"textureless"}), (1.0, 0.5, set(SHADINGS[1:]))],
)
def test_the_ends_of_the_probabilities_are_certain(lit_share, textureless_share, expected, generator):
    kinds = {choose_shading("mixed", 0.5, 0.2, lit_share, textureless_share, generator) for _ in range(200)}
    assert kinds == expected


def test_mixed_shading_takes_one_draw_whatever_the_phase():
    generators = [torch.Generator().manual_seed(5) for _ in range(3)]
    torch.rand((), generator=generators[0])
    choose_shading("mixed", 0.1, 0.2, 0.75, 0.5, generators[1])
    choose_shading("mixed", 0.9, 0.2, 0.75, 0.5, generators[2])
    states = [generator.get_state() for generator in generators]
    assert torch.equal(states[0], states[1])
    assert torch.equal(states[0], states[2])


def test_an_unknown_shading_is_refused_with_the_names(generator):
    with pytest.raises(ValueError, match="unknown shading 'toon': expected one of albedo, lambert, textureless, mixed"):
        choose_shading("toon", 0.5, 0.2, 0.75, 0.5, generator)
