from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.scene.background import (
    BACKGROUNDS,
    EnvironmentMap,
    environment_background,
    sample_background,
    spherical_harmonics,
    views_background,
)
from limbeck_server.scene.cameras import orbit_views, rays
from limbeck_server.scene.renderer import RenderSettings, render


@pytest.fixture
def environment():
    return EnvironmentMap(torch.Generator().manual_seed(3))


@pytest.fixture
def four_views():
    return orbit_views(torch.tensor([0.0, 90.0, 180.0, 270.0]), torch.tensor([0.0, 20.0, -30.0, 60.0]))


def directions(count, generator):
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)


@pytest.mark.parametrize(("name", "level"), [("black", 0.0), ("grey", 0.5), ("white", 1.0)])
def test_fixed_backgrounds_draw_nothing(name, level, generator):
    before = generator.get_state()
    assert torch.equal(sample_background(name, 3, generator), torch.full((3, 3), level))
    assert torch.equal(before, generator.get_state())


def test_random_backgrounds_are_uniform_and_independent(generator):
    colours = sample_background("random", 4000, generator)
    assert colours.shape == (4000, 3)
    assert ((colours >= 0) & (colours < 1)).all()
    # Four standard errors: of the mean 4 x 0.2887 / sqrt(4000), of a correlation 4 / sqrt(4000).
    assert (colours.mean(0) - 0.5).abs().max() < 0.0183
    assert (torch.corrcoef(colours.t()) - torch.eye(3)).abs().max() < 0.0633


def test_the_same_seed_gives_the_same_backgrounds():
    first, second = (sample_background("random", 5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)


def test_an_unknown_background_is_refused_by_name(generator):
    with pytest.raises(ValueError, match="unknown background 'pink': expected one of random, black, grey, white"):
        sample_background("pink", 1, generator)


def test_the_spherical_harmonics_are_orthonormal(generator):
    # An exact quadrature for products of degree 4: Gauss-Legendre in z, evenly spaced in azimuth.
    z = torch.tensor([-0.9061798459386640, -0.5384693101056831, 0.0, 0.5384693101056831, 0.9061798459386640])
    z_weights = torch.tensor([0.2369268850561891, 0.4786286704993665, 0.5688888888888889, 0.4786286704993665])
    z_weights = torch.cat([z_weights, z_weights[:1]]).double()
    azimuth = torch.arange(8).double() * (2 * math.pi / 8)
    z = z.double()[:, None].expand(5, 8)
    radius = (1 - z.square()).sqrt()
    points = torch.stack([radius * azimuth.cos(), radius * azimuth.sin(), z], dim=-1).reshape(-1, 3)
    weights = (z_weights[:, None] * (2 * math.pi / 8)).expand(5, 8).reshape(-1)
    basis = spherical_harmonics(points)
    torch.testing.assert_close(basis.t() @ (weights[:, None] * basis), torch.eye(9).double(), rtol=0, atol=1e-7)


def test_an_environments_colours_are_colours_and_differ_by_direction(environment, generator):
    colours = environment(directions(500, generator)).detach()
    assert colours.shape == (500, 3)
    assert ((colours > 0) & (colours < 1)).all()
    assert float(colours.std(0).min()) > 0


def test_an_environment_starts_from_its_generator_alone():
    first = EnvironmentMap(torch.Generator().manual_seed(3))
    torch.rand(5)
    second, other = (EnvironmentMap(torch.Generator().manual_seed(seed)) for seed in (3, 4))
    up = torch.tensor([[0.0, 0.0, 1.0]])
    assert torch.equal(first(up), second(up))
    assert not torch.equal(first(up), other(up))
    before = torch.get_rng_state()
    EnvironmentMap(torch.Generator())
    assert torch.equal(before, torch.get_rng_state())


def test_an_environment_learns_ten_times_slower_than_the_field(environment):
    (group,) = environment.parameter_groups(0.05)
    assert group["lr"] == pytest.approx(0.005)
    assert sum(p.numel() for p in group["params"]) == 9 * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3


def test_an_environment_learns_a_sky_of_two_colours(environment, generator):
    optimizer = torch.optim.Adam(environment.parameters(), lr=0.02)
    blue, brown = torch.tensor([0.2, 0.4, 0.9]), torch.tensor([0.4, 0.3, 0.1])

    def sky(towards):
        return torch.where(towards[:, 2:] > 0, blue, brown)

    for _ in range(300):
        towards = directions(256, generator)
        optimizer.zero_grad()
        (environment(towards) - sky(towards)).square().mean().backward()
        optimizer.step()
    towards = directions(2000, generator)
    away = towards[:, 2].abs() > 0.2
    errors = (environment(towards) - sky(towards)).detach().abs()[away]
    assert float(errors.mean()) < 0.03
    assert float(errors.quantile(0.95)) < 0.1


def test_each_pixel_has_the_colour_of_its_rays_direction(environment, four_views):
    picture = environment_background(environment, four_views, 6)
    assert picture.shape == (4, 3, 6, 6)
    _, towards = rays(four_views, 6)
    torch.testing.assert_close(picture[2, :, 1, 4], environment(towards[2, 1, 4][None])[0])


def test_a_background_far_away_does_not_depend_on_where_the_camera_stands(environment):
    angles = torch.tensor([30.0]), torch.tensor([10.0])
    near, far = (environment_background(environment, orbit_views(*angles, distance=d), 5) for d in (1.5, 4.0))
    torch.testing.assert_close(near, far)


def test_solid_backgrounds_of_views_are_drawn_as_before(four_views):
    for name in ("random", "grey", "white", "black"):
        drawn = views_background(name, four_views, 8, None, torch.Generator().manual_seed(2))
        assert torch.equal(drawn, sample_background(name, 4, torch.Generator().manual_seed(2)))


def test_a_learned_background_draws_nothing_and_can_be_learned(environment, four_views, generator):
    before = generator.get_state()
    picture = views_background("learned", four_views, 5, environment, generator)
    assert torch.equal(before, generator.get_state())
    assert torch.equal(picture, environment_background(environment, four_views, 5))
    picture.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in environment.parameters())


def test_alternating_shows_each_view_a_solid_colour_half_the_time(environment, generator):
    views = orbit_views(torch.linspace(-180, 180, 1000), torch.zeros(1000))
    picture = views_background("alternating", views, 2, environment, generator)
    assert picture.shape == (1000, 3, 2, 2)
    learned = environment_background(environment, views, 2)
    is_learned = (picture == learned).flatten(1).all(1)
    solid = picture[~is_learned]
    assert torch.equal(solid, solid[:, :, :1, :1].expand_as(solid))
    # Four standard errors of a half of 1000, and of the mean of 500 uniform colours.
    assert abs(int(is_learned.sum()) - 500) < 64
    assert (solid[:, :, 0, 0].mean(0) - 0.5).abs().max() < 0.052


def test_a_learned_background_without_a_map_and_unknown_names_are_refused(four_views, generator):
    for name in ("learned", "alternating"):
        with pytest.raises(ValueError, match=f"'{name}' needs an environment map"):
            views_background(name, four_views, 4, None, generator)
    with pytest.raises(ValueError, match=f"unknown background 'pink': expected one of {', '.join(BACKGROUNDS)}"):
        views_background("pink", four_views, 4, None, generator)


def test_a_background_of_pixels_lies_behind_each_pixel(torus_field, four_views, generator):
    field, behind = torus_field(), torch.rand(4, 3, 16, 16, generator=generator)
    seen = render(field, four_views, 16, behind, RenderSettings())
    assert 0 < (seen.opacity > 0.5).float().mean() < 1
    torch.testing.assert_close(seen.image, seen.colour + (1 - seen.opacity) * behind)
    one_colour = torch.rand(4, 3, generator=generator)
    solid = render(field, four_views, 16, one_colour, RenderSettings())
    spread = render(field, four_views, 16, one_colour[:, :, None, None].expand(4, 3, 16, 16), RenderSettings())
    assert torch.equal(solid.image, spread.image)


def test_the_environment_learns_where_the_object_lets_it_be_seen(torus_field, environment, four_views, generator):
    learned = views_background("learned", four_views, 12, environment, generator)
    seen = render(torus_field(), four_views, 12, learned, RenderSettings())
    seen.image.sum().backward()
    assert all(bool(p.grad.any()) for p in environment.parameters())
    behind = environment_background(environment, four_views, 12).detach().requires_grad_(True)
    image = render(torus_field(), four_views, 12, behind, RenderSettings()).image
    (gradient,) = torch.autograd.grad(image.sum(), behind)
    torch.testing.assert_close(gradient, (1 - seen.opacity.detach()).expand_as(gradient))


def test_a_background_of_pixels_of_another_size_is_refused(torus_field, four_views):
    with pytest.raises(ValueError, match=r"each pixel, shape \(4, 3, 8, 8\), .*; got \(4, 3, 9, 9\)"):
        render(torus_field(), four_views, 8, torch.zeros(4, 3, 9, 9), RenderSettings())
