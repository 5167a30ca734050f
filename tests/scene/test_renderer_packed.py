from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.scene.cameras import orbit_views
from limbeck_server.scene.occupancy import OccupancyGrid, OccupancySettings
from limbeck_server.scene.renderer import RenderSettings, render


@pytest.mark.gpu
def test_packed_rays_on_cuda_agree_with_batched_rays_on_the_cpu(torus_field, cuda_device, generator):
    views, found = orbit_views(torch.tensor([10.0, 200.0]), torch.tensor([0.0, 50.0])), []
    settings = RenderSettings(samples_per_ray=256)
    for device in (torch.device("cpu"), cuda_device):
        field = torus_field(24).to(device)
        occupancy = OccupancyGrid(OccupancySettings()).to(device)
        occupancy.refresh(field, torch.Generator().manual_seed(1))
        seen = render(field, views.to(device), 32, torch.full((2, 3), 0.5, device=device), settings, None, occupancy)
        seen.image.square().mean().backward()
        found.append((seen.image.detach().cpu(), seen.opacity.detach().cpu(), field.grid.values.grad.cpu()))
    # The two march from different places inside a cell, so they agree to the order of a step, not of a rounding.
    torch.testing.assert_close(found[1][0], found[0][0], atol=0.05, rtol=0)
    assert (found[1][1] - found[0][1]).abs().mean() < 0.005
    cosine = torch.nn.functional.cosine_similarity(found[0][2].view(-1), found[1][2].view(-1), dim=0)
    assert cosine > 0.98


@pytest.mark.gpu
def test_a_homogeneous_ball_on_cuda_has_the_closed_form_opacity(closed_form_field, cuda_device):
    field = closed_form_field(lambda p: torch.full((len(p),), 1.7, device=p.device), torch.ones_like)
    views = orbit_views(torch.zeros(1), torch.zeros(1)).to(cuda_device)
    seen = render(field, views, 9, torch.zeros(1, 3, device=cuda_device), RenderSettings(256, weight_threshold=0.0))
    assert seen.opacity[0, 0, 4, 4].item() == pytest.approx(1 - math.exp(-1.7 * 1.44), abs=0.005)
