"""Pictures of the known world, as buffers that are linear in the main colour and the background."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.known_world.degradations import degrade
from limbeck_server.known_world.shape import Shape, normals
from limbeck_server.known_world.tracing import trace
from limbeck_server.scene.cameras import Views

__all__ = ["CHANNELS", "Lights", "compose_picture", "degrade", "jittered_lights", "render_buffers", "standard_lights"]

CHANNELS = 5
_VIEWS_AT_ONCE = 48  # enough to spread the cost of small tensor operations, few enough for tens of megabytes
_EDGE_CONTRAST = 0.05
# The rotated grid: four samples in a pixel, no two in one row or column, so that upright edges get five grey levels.
_SUBSAMPLES = ((-0.125, -0.375), (0.375, -0.125), (-0.375, 0.125), (0.125, 0.375))
_LIGHT_DIRECTION = (0.28, -0.42, 0.86)
_AMBIENT = 0.55


@dataclass(frozen=True)
class Lights:
    """One light per view: from above, the front and the left, so that no two sides of a cube look the same.

    Attributes:
        directions: (views, 3), of length 1, towards the light, in the world.
        ambient: (views,), the shade of a surface that faces away from it, 0..1.
    """

    directions: Tensor
    ambient: Tensor

    def __getitem__(self, index: slice | Tensor) -> Lights:
        return Lights(self.directions[index], self.ambient[index])

    def shade(self, normals: Tensor) -> Tensor:
        """Return the brightness (n,) of surfaces with unit normals (n, 3): Lambert's law over an ambient floor.

        Needs one light, or as many as there are normals.
        """
        facing = (normals * self.directions).sum(dim=-1).clamp(min=0.0)
        return self.ambient + (1.0 - self.ambient) * facing


def standard_lights(count: int) -> Lights:
    """Return `count` times the light that truth is scored under."""
    direction = torch.nn.functional.normalize(torch.tensor(_LIGHT_DIRECTION), dim=0)
    return Lights(direction.expand(count, 3), torch.full((count,), _AMBIENT))


def jittered_lights(count: int, generator: torch.Generator) -> Lights:
    """Return `count` lights around the standard one: about 8 degrees off, ambient 0.50 to 0.60."""
    standard = standard_lights(count)
    directions = standard.directions + 0.1 * torch.randn(count, 3, generator=generator)
    ambient = standard.ambient + 0.1 * (torch.rand(count, generator=generator) - 0.5)
    return Lights(torch.nn.functional.normalize(directions, dim=-1), ambient)


def _rays_through(views: Views, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return origins and unit directions, columns (3, views * points), of rays through points of the pictures.

    Args:
        views: the cameras.
        x: (views or 1, points) across, as a share of the picture's height from its middle.
        y: (views or 1, points) the same, upwards.
    """
    focal, shift_x, shift_y = views.lens.T[:, :, None]
    local_x, local_y = (x + shift_x) / focal, (y + shift_y) / focal
    # Component by component: the products of small matrices with every ray cost three times as much.
    right, up, back = views.camera_to_world[:, :3, :3].permute(2, 1, 0)[..., None]
    directions = torch.stack([right[k] * local_x + up[k] * local_y - back[k] for k in range(3)])
    origins = views.positions.T[:, :, None].expand_as(directions)
    return origins.reshape(3, -1), (directions / directions.square().sum(dim=0).sqrt()).reshape(3, -1)


def _sample(shape: Shape, views: Views, lights: Lights, x: Tensor, y: Tensor) -> Tensor:
    """Return the five channels (views * points, 5) that rays through points of the pictures see."""
    origins, directions = _rays_through(views, x, y)
    view = torch.arange(len(views)).repeat_interleave(x.shape[1])
    travelled, part = trace(shape, origins, directions)
    seen = torch.zeros(travelled.shape[0], CHANNELS, dtype=x.dtype)
    for index, piece in enumerate(shape.parts):
        hit = torch.nonzero(part == index).squeeze(1)
        points = torch.addcmul(origins[:, hit], directions[:, hit], travelled[hit]).T
        brightness = lights[view[hit]].shade(normals(piece.solid, points))
        if piece.colour is None:
            seen[hit, 0] = brightness
        else:
            seen[hit, 1:4] = brightness[:, None] * torch.tensor(piece.colour, dtype=x.dtype)
        seen[hit, 4] = 1.0
    return seen


def _near_edges(pictures: Tensor) -> Tensor:
    """Return which pixels (v, h, w) differ visibly from one of their four neighbours in any channel (v, h, w, 5)."""
    edge = torch.zeros(pictures.shape[:3], dtype=torch.bool)
    across = (pictures[:, :, 1:] - pictures[:, :, :-1]).abs().amax(dim=-1) > _EDGE_CONTRAST
    down = (pictures[:, 1:] - pictures[:, :-1]).abs().amax(dim=-1) > _EDGE_CONTRAST
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge


def _render_chunk(shape: Shape, views: Views, lights: Lights, size: int) -> Tensor:
    """Return (v, size, size, 5): one ray per pixel, then four more where neighbours differ."""
    count = len(views)
    ticks = (torch.arange(size, dtype=views.lens.dtype) + 0.5) / size - 0.5
    y, x = (grid.reshape(1, -1) for grid in torch.meshgrid(-ticks, ticks, indexing="ij"))
    pictures = _sample(shape, views, lights, x, y)
    edge = torch.nonzero(_near_edges(pictures.reshape(count, size, size, CHANNELS)).reshape(-1)).squeeze(1)
    view, pixel = edge // (size * size), edge % (size * size)
    offsets = torch.tensor(_SUBSAMPLES, dtype=x.dtype) / size
    fine_x, fine_y = x[0, pixel, None] + offsets[:, 0], y[0, pixel, None] + offsets[:, 1]
    fine = _sample(shape, views[view], lights[view], fine_x, fine_y)
    pictures[edge] = fine.reshape(-1, len(_SUBSAMPLES), CHANNELS).mean(dim=1)
    return pictures.reshape(count, size, size, CHANNELS)


@torch.no_grad()
def render_buffers(shape: Shape, views: Views, size: int, lights: Lights | None = None) -> Tensor:
    """Return what cameras see of a shape, as the five channels of `ViewLibrary`.

    Args:
        shape: what to look at.
        views: the cameras, on the CPU.
        size: side of the pictures in pixels.
        lights: one per view; the standard light if left out.

    Returns:
        (views, 5, size, size) float32 in 0..1: shade of the main colour, red, green and blue of the fixed parts, all
        premultiplied by coverage and light, then alpha. Edges are antialiased with four samples a pixel.
    """
    lights = lights if lights is not None else standard_lights(len(views))
    chunks = [
        _render_chunk(shape, views[part], lights[part], size).permute(0, 3, 1, 2)
        for part in (slice(start, start + _VIEWS_AT_ONCE) for start in range(0, len(views), _VIEWS_AT_ONCE))
    ]
    return torch.cat(chunks).contiguous() if chunks else torch.zeros(0, CHANNELS, size, size)


def compose_picture(buffers: Tensor, main_colour: Tensor, background: Tensor) -> Tensor:
    """Return pictures (n, 3, h, w) in 0..1 of buffers (n, 5, h, w) under a main colour and a background.

    Args:
        buffers: floats in 0..1.
        main_colour: (3,), or (n, 3) for one per picture.
        background: (3,), or (n, 3).
    """
    shade, fixed, alpha = buffers[:, :1], buffers[:, 1:4], buffers[:, 4:]
    main, behind = (colour.to(buffers).reshape(-1, 3, 1, 1) for colour in (main_colour, background))
    return fixed + main * shade + behind * (1.0 - alpha)
