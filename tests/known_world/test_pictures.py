"""Pictures agree with closed forms and with each other."""

import math

import pytest
import torch
from limbeck_server.known_world.degradations import blur, coarsen, degrade, scale_towards
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import (
    _rays_through,
    compose_picture,
    jittered_lights,
    render_buffers,
    standard_lights,
)
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.known_world.tracing import trace
from limbeck_server.scene.cameras import Views, focal_from_field_of_view, orbit_views, rays


def some_views(count):
    generator = torch.Generator().manual_seed(count)
    azimuth, elevation = 360.0 * torch.rand(count, generator=generator), 60.0 * torch.rand(count, generator=generator)
    return orbit_views(azimuth, elevation - 10.0)


def test_rays_are_the_camera_models_own():
    views = some_views(3)
    views = Views(views.camera_to_world, views.lens + torch.tensor([0.0, 0.1, -0.2]))
    ticks = (torch.arange(8) + 0.5) / 8 - 0.5
    y, x = (grid.reshape(1, -1) for grid in torch.meshgrid(-ticks, ticks, indexing="ij"))
    origins, directions = _rays_through(views, x, y)
    expected_origins, expected_directions = rays(views, 8)
    torch.testing.assert_close(origins, expected_origins.reshape(-1, 3).T)
    torch.testing.assert_close(directions, expected_directions.reshape(-1, 3).T)


@pytest.mark.parametrize("elevation_deg", [-10.0, 0.0, 50.0])
def test_a_spheres_silhouette_has_the_area_of_the_disc(elevation_deg):
    radius, distance = 0.5, 2.05
    views = orbit_views(torch.tensor([30.0]), torch.tensor([elevation_deg]), distance)
    # The cone that touches the ball cuts the picture plane in a disc of this radius, in picture heights.
    disc = focal_from_field_of_view(torch.tensor(41.0)).item() * radius / math.sqrt(distance**2 - radius**2)
    alpha = render_buffers(SHAPES["sphere"], views, 64)[0, 4]
    assert alpha.mean().item() == pytest.approx(math.pi * disc**2, rel=3e-3)
    assert ((alpha > 0.0) & (alpha < 1.0)).any(), "edges are antialiased"


def test_a_spheres_shade_is_lamberts_law():
    views = orbit_views(torch.tensor([0.0]), torch.tensor([20.0]))
    buffers = render_buffers(SHAPES["sphere"], views, 33)
    towards = torch.nn.functional.normalize(views.positions[0], dim=0)
    lights = standard_lights(1)
    facing = (towards * lights.directions[0]).sum()
    assert buffers[0, 0, 16, 16].item() == pytest.approx((0.55 + 0.45 * facing).item(), abs=2e-3)
    assert buffers[0, 1:4].abs().max() == 0.0


def naive_trace(shape, origins, directions):
    """Small fixed steps and the union's distance: slow, and sure not to miss what is thicker than a step."""
    ticks = torch.arange(1.4, 2.7, 0.003)
    result = torch.full((origins.shape[1],), torch.inf)
    for tick in reversed(ticks):
        result[shape.signed_distance((origins + tick * directions).T) < 0.0] = tick
    return result


@pytest.mark.parametrize("name", ["duck", "mug", "torus", "car", "star"])
def test_tracing_finds_what_small_steps_find(name):
    origins, directions = (column.reshape(-1, 3).T.contiguous() for column in rays(some_views(2), 18))
    travelled, part = trace(SHAPES[name], origins, directions)
    expected = naive_trace(SHAPES[name], origins, directions)
    hit = expected.isfinite()
    assert (travelled.isfinite() != hit).float().mean() < 0.004, "rays that graze may differ"
    both = hit & travelled.isfinite()
    assert (travelled - expected)[both].abs().quantile(0.98) < 5e-3
    assert ((part >= 0) == travelled.isfinite()).all()
    points = (origins + travelled * directions).T[both]
    assert SHAPES[name].signed_distance(points).abs().max() < 5e-3


@pytest.mark.parametrize("name", SHAPE_NAMES)
def test_buffers_are_premultiplied_shares(name):
    buffers = render_buffers(SHAPES[name], some_views(3), 32)
    assert buffers.shape == (3, 5, 32, 32)
    assert buffers.dtype == torch.float32
    assert buffers.min() >= 0.0
    assert (buffers[:, :4] <= buffers[:, 4:] + 1e-6).all()
    assert (buffers[:, 4] > 0.5).float().mean() > 0.05, "something is seen"
    assert buffers[:, 4, 0].max() == 0.0, "nothing is cropped"


def test_the_duck_shows_its_beak_in_front_and_not_behind():
    views = orbit_views(torch.tensor([0.0, 180.0, 90.0]), torch.tensor([10.0, 10.0, 10.0]))
    fixed = render_buffers(SHAPES["duck"], views, 64)[:, 1]
    assert fixed[0].sum() > 20.0
    assert fixed[1].sum() == 0.0
    # From the object's left side, its front is to the left of the picture.
    columns = torch.nonzero(fixed[2])[:, 1]
    assert columns.float().mean() < 20.0


def test_a_picture_is_linear_in_its_colours():
    buffers = render_buffers(SHAPES["duck"], some_views(2), 16)
    main, background = torch.tensor(COLOURS["yellow"]), torch.tensor([0.2, 0.3, 0.4])
    picture = compose_picture(buffers, main, background)
    expected = buffers[:, 1:4] + main[:, None, None] * buffers[:, :1] + background[:, None, None] * (1 - buffers[:, 4:])
    torch.testing.assert_close(picture, expected)
    each = compose_picture(buffers, main.expand(2, 3), background.expand(2, 3))
    torch.testing.assert_close(picture, each)
    torch.testing.assert_close(picture[:, :, 0, 0], background.expand(2, 3))


DEGRADATIONS = {
    "blur": lambda x: blur(x, 1.5),
    "coarse": lambda x: coarsen(x, 4),
    "flat": lambda x: scale_towards(x, 0.4, 0.5),
    "dark": lambda x: scale_towards(x, 0.3, 0.0),
}


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degraded_views_picture_is_the_degraded_picture(name):
    generator = torch.Generator().manual_seed(0)
    buffers = render_buffers(SHAPES["duck"], some_views(2), 32)
    main, background = torch.rand(2, 3, generator=generator)
    degraded = compose_picture(DEGRADATIONS[name](buffers), main, background)
    picture = compose_picture(buffers, main, background)
    if name == "blur":  # what lies outside the picture is background
        surround = background[:, None, None].expand(3, 44, 44).clone().repeat(2, 1, 1, 1)
        surround[:, :, 6:-6, 6:-6] = picture
        ticks = torch.arange(-4, 5).float()
        kernel = torch.exp(-0.5 * (ticks / 1.5) ** 2)
        kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
        expected = torch.nn.functional.conv2d(surround, kernel.expand(3, 1, 9, 9), padding=4, groups=3)
        expected = expected[:, :, 6:-6, 6:-6]
        torch.testing.assert_close(degraded, expected, atol=2e-6, rtol=0.0)
    elif name == "coarse":
        small = torch.nn.functional.avg_pool2d(picture, 4)
        torch.testing.assert_close(degraded[:, :, ::4, ::4], small)
    else:
        keep, level = (0.4, 0.5) if name == "flat" else (0.3, 0.0)
        torch.testing.assert_close(degraded, keep * picture + (1 - keep) * level)


def test_degrading_is_repeatable_stays_in_range_and_changes_every_view():
    buffers = render_buffers(SHAPES["duck"], some_views(12), 32)
    degraded = degrade(buffers, torch.Generator().manual_seed(1))
    assert torch.equal(degraded, degrade(buffers, torch.Generator().manual_seed(1)))
    assert degraded.shape == buffers.shape
    assert degraded.min() >= 0.0
    assert degraded.max() <= 1.0 + 1e-6
    assert ((degraded - buffers).abs().amax(dim=(1, 2, 3)) > 0.05).all()


def test_lights_vary_around_the_standard_one():
    lights = jittered_lights(500, torch.Generator().manual_seed(0))
    standard = standard_lights(1)
    assert (lights.directions.norm(dim=1) - 1.0).abs().max() < 1e-6
    assert (lights.directions * standard.directions).sum(dim=1).min() > 0.85
    assert 0.5 <= lights.ambient.min() < 0.51 < 0.59 < lights.ambient.max() <= 0.6
