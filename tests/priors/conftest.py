"""Synthetic views, small enough that every closed form can be checked against something slow and obvious."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from limbeck_server.known_world.library import ViewLibrary
from torch import Tensor

SHAPES = ("duck", "cube", "torus")


def make_buffers(views: int, size: int, seed: int) -> Tensor:
    """Soft shaded discs, every second one with a coloured fixed part; (views, 5, size, size) uint8."""
    generator = torch.Generator().manual_seed(seed)
    ys, xs = torch.meshgrid(*(torch.linspace(-1, 1, size),) * 2, indexing="ij")
    buffers = torch.zeros(views, 5, size, size)
    for view in range(views):
        x, y, radius, angle = (torch.rand(4, generator=generator) * torch.tensor([0.5, 0.5, 0.3, 6.28])).tolist()
        alpha = ((0.4 + radius - ((xs - x + 0.25) ** 2 + (ys - y + 0.25) ** 2).sqrt()) * size / 4).clamp(0, 1)
        light = 0.6 + 0.3 * (xs * torch.tensor(angle).cos() + ys * torch.tensor(angle).sin())
        part = alpha * (xs > x - 0.2) * (view % 2)
        colour = torch.rand(3, generator=generator)
        buffers[view, 0] = (alpha - part) * light.clamp(0, 1)
        buffers[view, 1:4] = part * light.clamp(0, 1) * colour[:, None, None]
        buffers[view, 4] = alpha
    return (buffers * 255).round().to(torch.uint8)


def make_library(views: int, size: int, seed: int, degraded: bool = False) -> ViewLibrary:
    """Views of three shapes in unequal numbers, from all sides; degraded ones have low contrast and fill the frame."""
    buffers = make_buffers(views, size, seed)
    if degraded:
        shade, fixed, alpha = (buffers.double() / 255).split([1, 3, 1], dim=1)
        buffers = torch.cat([0.4 * shade, 0.4 * fixed + 0.2, 1 - 0.4 * (1 - alpha)], dim=1)
    generator = torch.Generator().manual_seed(seed + 1000)
    shape_index = torch.tensor([0, 0, 1, 0, 2] * views)[:views]
    azimuth_deg = torch.rand(views, generator=generator) * 360
    elevation_deg = torch.rand(views, generator=generator) * 60 - 10
    return ViewLibrary(buffers, shape_index, SHAPES, azimuth_deg, elevation_deg, size)


@pytest.fixture
def library() -> Callable[..., ViewLibrary]:
    return make_library


@pytest.fixture
def random_buffers() -> Callable[[int, int, int], Tensor]:
    return make_buffers


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def training_views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the known world's views that all tests of training share."""
    return tmp_path_factory.mktemp("views")
