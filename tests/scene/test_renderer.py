from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from limbeck_server.scene.cameras import OrbitRange, Views, orbit_views, rays, sample_orbit
from limbeck_server.scene.field import FieldSettings, build_field
from limbeck_server.scene.marching import intersect_ball
from limbeck_server.scene.occupancy import OccupancyGrid, OccupancySettings
from limbeck_server.scene.renderer import RenderSettings, render
from limbeck_server.scene.shading import Shading

ALL = RenderSettings(samples_per_ray=32, weight_threshold=0.0)


def some_views(count: int, dtype: torch.dtype = torch.float32) -> Views:
    azimuth = torch.linspace(10, 300, count, dtype=dtype)
    return orbit_views(azimuth, torch.linspace(-5, 60, count, dtype=dtype))


def grey(views: Views) -> torch.Tensor:
    return torch.full((len(views), 3), 0.5, dtype=views.lens.dtype)


def test_ball_intersections_by_hand():
    origins = torch.tensor([[0.0, 0, 3], [0, 0, 0], [0, 0.6, 3], [0, 2, 3], [0, 0, -3]])
    directions = torch.tensor([[0.0, 0, -1]]).expand(5, 3)
    near, far = intersect_ball(origins, directions, 1.0)
    torch.testing.assert_close(near[:3], torch.tensor([2.0, 0.0, 2.2]))
    torch.testing.assert_close(far[:3], torch.tensor([4.0, 1.0, 3.8]))
    assert (far[3:] <= near[3:]).all(), "missed, and behind"


@pytest.mark.parametrize("jittered", [False, True])
def test_a_homogeneous_ball_has_the_closed_form_opacity_and_colour(closed_form_field, jittered, generator):
    sigma, albedo = 1.7, torch.tensor([0.9, 0.4, 0.1])
    field = closed_form_field(lambda p: torch.full((len(p),), sigma), lambda p: albedo.expand(len(p), 3))
    views, size = some_views(2), 24
    background = torch.tensor([[0.2, 0.3, 0.8], [1.0, 1.0, 1.0]])
    seen = render(field, views, size, background, ALL, generator if jittered else None)
    origins, directions = rays(views, size)
    middle = -(origins * directions).sum(-1)
    miss = (origins + middle[..., None] * directions).norm(dim=-1)
    chord = 2 * (0.72**2 - miss**2).clamp_min(0).sqrt()
    opacity = (1 - torch.exp(-sigma * chord))[:, None]
    assert 0 < (chord == 0).float().mean() < 1, "some rays hit, some miss"
    torch.testing.assert_close(seen.opacity, opacity, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.colour, opacity * albedo[:, None, None], atol=1e-4, rtol=0)
    expected = opacity * albedo[:, None, None] + (1 - opacity) * background[:, :, None, None]
    torch.testing.assert_close(seen.image, expected, atol=1e-4, rtol=0)


def test_a_homogeneous_slab_has_the_closed_form_opacity(closed_form_field):
    sigma, half = 1.0, 0.3
    field = closed_form_field(lambda p: sigma * (p[:, 2].abs() < half).to(p.dtype), lambda p: torch.ones_like(p))
    # From steeply above with a long lens: every ray crosses both faces of the slab inside the ball.
    views = orbit_views(torch.tensor([30.0]), torch.tensor([70.0]), 2.05, 15.0)
    size = 4
    seen = render(field, views, size, grey(views), RenderSettings(samples_per_ray=16_384, weight_threshold=0.0))
    _, directions = rays(views, size)
    expected = 1 - torch.exp(-sigma * 2 * half / directions[..., 2].abs())
    torch.testing.assert_close(seen.opacity[:, 0], expected, atol=1e-4, rtol=0)


def test_depth_of_an_opaque_ball_is_where_its_surface_is(closed_form_field):
    field = closed_form_field(lambda p: 2000.0 * (p.norm(dim=-1) < 0.5), lambda p: torch.ones_like(p))
    views = orbit_views(torch.zeros(1), torch.zeros(1), 2.05, 41.0)
    seen = render(field, views, 33, grey(views), RenderSettings(samples_per_ray=512))
    assert seen.depth[0, 0, 16, 16].item() == pytest.approx(2.05 - 0.5, abs=0.005)
    assert seen.depth[0, 0, 0, 0].item() == 0


def test_the_top_of_the_object_is_on_top_of_the_picture(closed_form_field):
    field = closed_form_field(lambda p: 50.0 * (p[:, 2] > 0.1), lambda p: torch.ones_like(p))
    views = orbit_views(torch.tensor([40.0]), torch.tensor([0.0]))
    opacity = render(field, views, 16, grey(views), ALL).opacity[0, 0]
    assert opacity[5, 8] > 0.99
    assert opacity[10, 8] < 0.01


def test_weights_are_positive_and_add_up_to_the_opacity(torus_field, generator):
    views, size = some_views(2), 16
    seen = render(torus_field(), views, size, grey(views), ALL, generator)
    totals = torch.zeros(seen.rays).index_add(0, seen.samples.ray_index, seen.samples.weights.detach())
    assert (seen.samples.weights >= 0).all()
    assert (totals <= 1 + 1e-6).all()
    assert ((seen.opacity >= 0) & (seen.opacity <= 1)).all()
    assert seen.opacity.max() > 0.999
    torch.testing.assert_close(totals, seen.opacity.detach().reshape(-1), atol=1e-5, rtol=0)
    assert ((seen.image >= 0) & (seen.image <= 1 + 1e-6)).all()


@pytest.mark.parametrize("jittered", [False, True])
def test_skipping_empty_space_changes_nothing_where_it_is_empty(torus_field, jittered, generator):
    field, views = torus_field(), some_views(3)
    occupancy = OccupancyGrid(OccupancySettings())
    occupancy.refresh(field, generator)
    pictures, gradients = [], []
    for skipping in (None, occupancy):
        field.zero_grad()
        jitter = torch.Generator().manual_seed(4) if jittered else None
        seen = render(field, views, 20, grey(views), ALL, jitter, skipping)
        seen.image.square().sum().backward()
        pictures.append(seen)
        gradients.append(field.grid.values.grad.clone())
    assert len(pictures[1].samples.weights) < 0.5 * len(pictures[0].samples.weights)
    torch.testing.assert_close(pictures[1].image, pictures[0].image, atol=1e-5, rtol=0)
    torch.testing.assert_close(pictures[1].depth, pictures[0].depth, atol=1e-4, rtol=0)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-4)


def test_skipping_thin_fog_changes_opacity_by_no_more_than_its_bound(generator):
    field = build_field(FieldSettings(resolution=16), "cpu", generator)
    threshold, views = 0.05, some_views(2)
    occupancy = OccupancyGrid(OccupancySettings(threshold=threshold))
    occupancy.refresh(field, generator)
    assert not occupancy.occupied.all()
    whole = render(field, views, 24, grey(views), ALL).opacity
    skipped = render(field, views, 24, grey(views), ALL, occupancy=occupancy).opacity
    assert (whole - skipped).abs().max() <= 1 - math.exp(-threshold * 2 * 0.72)


def test_leaving_out_faint_samples_changes_opacity_by_no_more_than_its_bound(generator):
    field, views = build_field(FieldSettings(resolution=16), "cpu", generator), some_views(2)
    whole = render(field, views, 24, grey(views), ALL)
    partial = render(field, views, 24, grey(views), RenderSettings(samples_per_ray=32, weight_threshold=1e-3))
    assert len(partial.samples.weights) < len(whole.samples.weights)
    assert (whole.opacity - partial.opacity).abs().max() <= 32 * 1e-3


@pytest.mark.parametrize("threshold", [0.0, 1e-3])
def test_gradients_pass_finite_differences(threshold):
    generator = torch.Generator().manual_seed(11)
    field = build_field(FieldSettings(resolution=5), "cpu", generator).double()
    with torch.no_grad():
        field.grid.values.add_(0.3 * torch.randn(field.grid.values.shape, generator=generator, dtype=torch.float64))
    views = some_views(2, torch.float64)
    settings = RenderSettings(samples_per_ray=12, weight_threshold=threshold)
    mix = torch.randn(2, 5, 4, 4, generator=generator, dtype=torch.float64)

    def value() -> torch.Tensor:
        seen = render(field, views, 4, grey(views), settings)
        return (torch.cat([seen.image, seen.opacity, seen.depth], dim=1) * mix).sum()

    value().backward()
    flat, grad, step = field.grid.values.detach().view(-1), field.grid.values.grad.view(-1), 1e-6
    checked = grad.abs().topk(60).indices.tolist() + list(range(0, flat.numel(), 25))
    for entry in checked:
        flat[entry] += step
        up = value().item()
        flat[entry] -= 2 * step
        down = value().item()
        flat[entry] += step
        assert (up - down) / (2 * step) == pytest.approx(grad[entry].item(), rel=1e-4, abs=1e-6)


def test_gradients_through_lambert_shading_pass_finite_differences():
    generator = torch.Generator().manual_seed(12)
    field = build_field(FieldSettings(resolution=5), "cpu", generator).double()
    views = some_views(1, torch.float64)
    shading = Shading("lambert", torch.tensor([[1.0, -1.0, 1.0]], dtype=torch.float64))
    mix = torch.randn(1, 3, 4, 4, generator=generator, dtype=torch.float64)

    def value() -> torch.Tensor:
        return (render(field, views, 4, grey(views), ALL, shading=shading).image * mix).sum()

    value().backward()
    flat, grad, step = field.grid.values.detach().view(-1), field.grid.values.grad.view(-1), 1e-6
    for entry in grad.abs().topk(30).indices.tolist():
        flat[entry] += step
        up = value().item()
        flat[entry] -= 2 * step
        down = value().item()
        flat[entry] += step
        assert (up - down) / (2 * step) == pytest.approx(grad[entry].item(), rel=1e-4, abs=1e-6)


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("settings", [FieldSettings(resolution=16), FieldSettings("hash_grid", 64, hash_levels=4)])
def test_two_runs_with_the_same_seed_and_thread_count_agree_in_every_bit(settings, threads):
    found = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(9)
        field = build_field(settings, "cpu", generator)
        views = sample_orbit(OrbitRange(), 2, generator)
        seen = render(field, views, 48, grey(views), RenderSettings(samples_per_ray=40), generator)
        seen.image.square().sum().backward()
        found.append([seen.image.detach(), *(parameter.grad for parameter in field.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_jitter_moves_the_samples_and_not_the_mean(torus_field):
    field, views, generator = torus_field(), some_views(1), torch.Generator().manual_seed(2)
    coarse = RenderSettings(samples_per_ray=16, weight_threshold=0.0)
    with torch.no_grad():
        many = torch.stack([render(field, views, 12, grey(views), coarse, generator).depth for _ in range(100)])
        exact = render(field, views, 12, grey(views), RenderSettings(512, weight_threshold=0.0))
    sure = exact.opacity > 0.999
    # The first sample inside a hard surface lies at most a step behind it, half a step on average.
    assert many.std(0)[sure].min() > 1e-3
    assert (many.mean(0) - exact.depth)[sure].abs().max() < coarse.step / 2


def test_two_views_in_a_batch_equal_each_alone(torus_field):
    field, views = torus_field(), some_views(2)
    background = torch.tensor([[0.1, 0.5, 0.9], [1.0, 0.0, 0.3]])
    lights = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, 0.5]])
    both = render(field, views, 16, background, ALL, shading=Shading("lambert", lights))
    for k in range(2):
        one = slice(k, k + 1)
        alone = render(field, views[one], 16, background[one], ALL, shading=Shading("lambert", lights[one]))
        for name in ("image", "colour", "opacity", "depth"):
            torch.testing.assert_close(getattr(both, name)[one], getattr(alone, name), atol=1e-6, rtol=1e-6)


def test_chunks_of_rays_change_nothing(torus_field):
    field, views = torus_field(), some_views(2)
    pictures = [
        render(
            field, views, 16, grey(views), RenderSettings(32, rays_per_chunk=chunk), torch.Generator().manual_seed(3)
        ).image
        for chunk in (10_000, 100)
    ]
    torch.testing.assert_close(*pictures, atol=1e-6, rtol=0)


def test_an_empty_field_shows_the_background_and_takes_gradients(generator):
    field, views = build_field(FieldSettings(resolution=8), "cpu", generator), some_views(2)
    with torch.no_grad():
        field.grid.values[..., 0] = -100.0
    background = torch.tensor([[0.1, 0.5, 0.9], [1.0, 0.0, 0.3]])
    occupancy = OccupancyGrid(OccupancySettings(resolution=8))
    occupancy.refresh(field, generator)
    for settings in (RenderSettings(), RenderSettings(weight_threshold=0.0)):
        seen = render(field, views, 8, background, settings, occupancy=occupancy, with_normals=True)
        assert torch.equal(seen.image, background[:, :, None, None].expand(2, 3, 8, 8))
        assert (seen.opacity == 0).all()
        assert (seen.depth == 0).all()
        seen.image.sum().backward()
        assert (field.grid.values.grad == 0).all()


def test_a_camera_that_looks_away_sees_the_background(torus_field):
    views = orbit_views(torch.zeros(1), torch.zeros(1), targets=torch.tensor([[0.0, -9.0, 0.0]]))
    assert torch.equal(render(torus_field(), views, 8, grey(views), ALL).image, torch.full((1, 3, 8, 8), 0.5))


def test_a_camera_inside_the_ball_sees_what_is_in_front_of_it(closed_form_field):
    field = closed_form_field(lambda p: torch.ones(len(p)), lambda p: torch.ones_like(p))
    views = orbit_views(torch.zeros(1), torch.zeros(1), 0.5)
    seen = render(field, views, 9, grey(views), ALL)
    assert seen.opacity[0, 0, 4, 4].item() == pytest.approx(1 - math.exp(-(0.5 + 0.72)), abs=1e-4)


def test_textureless_shading_hides_colour_and_normals_come_on_request(torus_field):
    field, views = torus_field(), some_views(1)
    light = views.positions
    seen = render(field, views, 16, torch.zeros(1, 3), ALL, shading=Shading("textureless", light))
    assert (seen.image.amax(1) - seen.image.amin(1)).abs().max() < 1e-6
    assert seen.samples.normals is not None
    assert render(field, views, 16, torch.zeros(1, 3), ALL).samples.normals is None


def test_normals_of_what_is_seen_face_the_camera(generator):
    hard_ball = build_field(FieldSettings(resolution=16, blob_scale=200.0), "cpu", generator)
    views = some_views(1)
    seen = render(hard_ball, views, 16, grey(views), RenderSettings(weight_threshold=0.5), with_normals=True).samples
    assert seen.normals is not None
    assert ((seen.normals * seen.directions).sum(-1) < 0).all()


def test_backgrounds_of_the_wrong_shape_are_refused(torus_field):
    with pytest.raises(ValueError, match=r"shape \(2, 3\); got \(1, 3\)"):
        render(torus_field(), some_views(2), 8, torch.zeros(1, 3), ALL)


@pytest.mark.parametrize("settings", [{"samples_per_ray": 1}, {"bound_radius": 0.0}, {"rays_per_chunk": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValueError, match="rendering needs"):
        RenderSettings(**settings)


NO_COMPILER = """
import sys, torch
from limbeck_server.scene.cameras import orbit_views
from limbeck_server.scene.field import FieldSettings, build_field
from limbeck_server.scene.occupancy import OccupancyGrid, OccupancySettings
from limbeck_server.scene.renderer import RenderSettings, render
generator = torch.Generator().manual_seed(0)
field = build_field(FieldSettings(resolution=8), "cpu", generator)
occupancy = OccupancyGrid(OccupancySettings(resolution=8))
occupancy.refresh(field, generator)
views = orbit_views(torch.zeros(1), torch.zeros(1))
render(field, views, 8, torch.zeros(1, 3), RenderSettings(), generator, occupancy).image.sum().backward()
assert field.grid.values.grad.abs().sum() > 0
assert "nerfacc.cuda._backend" not in sys.modules, "nerfacc's CUDA part was asked for"
"""


def test_no_compiler_is_started_on_the_cpu_even_where_nvcc_is_installed(tmp_path):
    marker, extensions = tmp_path / "compiler-was-started", tmp_path / "extensions"
    (tmp_path / "bin").mkdir()
    extensions.mkdir()
    for name in ("nvcc", "c++", "g++", "gcc", "ninja"):
        compiler = tmp_path / "bin" / name
        compiler.write_text(f'#!/bin/sh\necho {name} >> "{marker}"\n')
        compiler.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "CUDA_HOME": str(tmp_path),
        "TORCH_EXTENSIONS_DIR": str(extensions),
    }
    done = subprocess.run(
        [sys.executable, "-c", NO_COMPILER], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not marker.exists()
    assert list(Path(extensions).iterdir()) == []
