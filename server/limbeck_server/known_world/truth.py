"""Exact answers: how far a generated object is from the shape that its prompt names.

Objects are compared as they stand, in the world's own frame: nothing is turned, moved or scaled to fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from limbeck_server.known_world.mesh_distance import closest_points
from limbeck_server.known_world.pictures import Lights, standard_lights
from limbeck_server.known_world.shape import Shape
from limbeck_server.known_world.tracing import WORLD_RADIUS, trace
from limbeck_server.scene.cameras import Views, orbit_views, rays

GRID_HALF_EXTENT = 0.72
"""The cube that occupancy is compared in reaches from minus this to this along each axis."""

_LINE_SAMPLES = 256
_BISECTIONS = 14
_OCCLUSION_SLACK = 5e-3
Inside = Callable[[Tensor], Tensor]


def grid_points(resolution: int, half_extent: float = GRID_HALF_EXTENT) -> Tensor:
    """Return the centres (resolution^3, 3) of the cells of the comparison grid, x slowest, z fastest."""
    ticks = (torch.arange(resolution) + 0.5) * (2 * half_extent / resolution) - half_extent
    return torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1).reshape(-1, 3)


def occupancy_iou(inside: Inside | Tensor, shape: Shape, resolution: int = 128) -> float:
    """Return the intersection over union, 0..1, of an object with a shape, on a grid.

    Args:
        inside: a function of points (n, 3) that returns whether they are inside, (n,) bool; or a bool grid (r, r, r) of
            its answers at `grid_points(r)`.
        shape: the truth.
        resolution: cells along each side; a grid brings its own.
    """
    if isinstance(inside, Tensor):
        if inside.dim() != 3 or len(set(inside.shape)) != 1:
            raise ValueError(f"an occupancy grid is a cube (r, r, r); came {tuple(inside.shape)}")
        points = grid_points(inside.shape[0])
        found = inside.reshape(-1).bool().cpu()
    else:
        points = grid_points(resolution)
        found = torch.cat([inside(chunk).reshape(-1).bool().cpu() for chunk in torch.split(points, 65_536)])
    true = torch.cat([shape.signed_distance(chunk) < 0.0 for chunk in torch.split(points, 65_536)])
    return _iou(found, true)


def _iou(found: Tensor, true: Tensor) -> float:
    """Return intersection over union of two masks; 1 where both are empty."""
    union = int((found | true).sum())
    return int((found & true).sum()) / union if union else 1.0


def mean_abs_signed_distance(vertices: Tensor, shape: Shape) -> float:
    """Return the mean |signed distance| of vertices (n, 3) to the shape: exact outside, a lower bound inside."""
    return float(shape.signed_distance(vertices).abs().mean())


def surface_points(shape: Shape, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` points (count, 3) spread evenly over a shape's whole surface, inner walls included.

    They are the crossings of random straight lines with the surface: lines that are uniform in direction and offset
    cross equal areas equally often (Cauchy and Crofton), whatever the surface looks like.
    """
    found: list[Tensor] = []
    missing = count
    while missing > 0:
        lines = max(256, missing)
        direction = torch.nn.functional.normalize(torch.randn(lines, 3, generator=generator), dim=1)
        other = torch.nn.functional.normalize(torch.randn(lines, 3, generator=generator), dim=1)
        side = torch.nn.functional.normalize(torch.linalg.cross(direction, other), dim=1)
        offset = WORLD_RADIUS * torch.rand(lines, 1, generator=generator).sqrt() * side
        ticks = torch.linspace(-WORLD_RADIUS, WORLD_RADIUS, _LINE_SAMPLES)
        points = offset[:, None] + ticks[None, :, None] * direction[:, None]
        inside = shape.signed_distance(points.reshape(-1, 3)).reshape(lines, -1) < 0.0
        line, cell = torch.nonzero(inside[:, 1:] != inside[:, :-1], as_tuple=True)
        # In random order, since only the last batch is cut.
        order = torch.randperm(line.numel(), generator=generator)[:missing]
        line, cell = line[order], cell[order]
        low, high, starts_inside = ticks[cell], ticks[cell + 1], inside[line, cell]
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            same = (shape.signed_distance(offset[line] + middle[:, None] * direction[line]) < 0.0) == starts_inside
            low, high = torch.where(same, middle, low), torch.where(same, high, middle)
        found.append(offset[line] + (0.5 * (low + high))[:, None] * direction[line])
        missing -= found[-1].shape[0]
    return torch.cat(found)


def truth_to_mesh_distance(points: Tensor, vertices: Tensor, faces: Tensor) -> float:
    """Return the mean distance from points (n, 3) of the true surface to a mesh."""
    return float(closest_points(points, vertices, faces, torch.Generator().manual_seed(0)).distance.mean())


def silhouette_iou(masks: Tensor, shape: Shape, views: Views) -> float:
    """Return the mean over views of the intersection over union of silhouettes.

    Args:
        masks: (v, size, size), opacity in 0..1 or bool; above 0.5 counts as the object.
        shape: the truth.
        views: the v cameras.
    """
    if masks.dim() != 3 or masks.shape[0] != len(views) or masks.shape[1] != masks.shape[2]:
        raise ValueError(f"silhouettes need one square mask per view; came {tuple(masks.shape)} for {len(views)} views")
    origins, directions = rays(views.to("cpu", torch.float32), masks.shape[1])
    found = masks.to("cpu", torch.float32) > 0.5
    scores = []
    for index in range(len(views)):
        travelled, _ = trace(shape, origins[index].reshape(-1, 3).T.contiguous(), directions[index].reshape(-1, 3).T)
        scores.append(_iou(found[index].reshape(-1), travelled.isfinite()))
    return math.fsum(scores) / len(scores)


def scoring_views() -> Views:
    """Return 24 cameras inside the default orbit: 8 azimuths at elevations -10, 20 and 50 degrees."""
    azimuth, elevation = torch.meshgrid(torch.arange(8) * 45.0, torch.tensor([-10.0, 20.0, 50.0]), indexing="ij")
    return orbit_views(azimuth.reshape(-1), elevation.reshape(-1))


def visible(points: Tensor, shape: Shape, views: Views | None = None) -> Tensor:
    """Return which points (n,) of the surface (n, 3) any of the cameras sees; `scoring_views()` if none are given."""
    seen = torch.zeros(points.shape[0], dtype=torch.bool)
    for camera in (views if views is not None else scoring_views()).positions:
        away = points - camera
        distance = away.norm(dim=1)
        origins = camera[:, None].expand(3, points.shape[0])
        travelled, _ = trace(shape, origins, (away / distance[:, None]).T.contiguous())
        seen |= travelled >= distance - _OCCLUSION_SLACK
    return seen


def shaded_colour(points: Tensor, shape: Shape, main_colour: Tensor, lights: Lights | None = None) -> Tensor:
    """Return the RGB (n, 3) that pictures show at points (n, 3) of the surface, under the standard light."""
    lights = lights if lights is not None else standard_lights(1)
    return shape.albedo(points, main_colour) * lights.shade(shape.normals(points))[:, None]


def colour_error(points: Tensor, rgb: Tensor, shape: Shape, main_colour: Tensor, lights: Lights | None = None) -> float:
    """Return the mean Euclidean RGB distance of shown colours to the truth's own shaded colours.

    Args:
        points: (n, 3) on the true surface; pass the visible ones.
        rgb: (n, 3) in 0..1, the colours that the generated object shows there.
        shape: the truth.
        main_colour: (3,) its main colour.
        lights: one light; the standard one if left out.
    """
    return float((rgb - shaded_colour(points, shape, main_colour, lights)).norm(dim=1).mean())


def score(
    shape: Shape,
    main_colour: Tensor,
    *,
    vertices: Tensor,
    faces: Tensor,
    vertex_colours: Tensor,
    inside: Inside | Tensor,
    masks: Tensor,
    mask_views: Views,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Return how far a generated object is from the truth.

    Args:
        shape: the truth.
        main_colour: (3,) RGB in 0..1, the colour that the prompt names.
        vertices: (v, 3) of the generated mesh, in the world's frame.
        faces: (f, 3) int64.
        vertex_colours: (v, 3) RGB in 0..1, as shown: shading included.
        inside: a function of points (n, 3), or a bool grid at `grid_points(r)`, as `occupancy_iou` takes it.
        masks: (k, size, size) opacities of the generated object from views that were not trained on.
        mask_views: those k cameras.
        samples: how many points of the true surface are looked at.
        seed: spreads them.

    Returns:
        `iou` and `silhouette_iou`, 1 is best; `mean_abs_signed_distance`, `truth_to_mesh` (lengths in a world where the
        object's radius is at most 0.6) and `colour_error` (RGB distance over visible points), 0 is best.

    Raises:
        ValueError: the mesh has no triangle, or shapes do not fit together.
    """
    generator = torch.Generator().manual_seed(seed)
    vertices, vertex_colours = vertices.float(), vertex_colours.float()
    points = surface_points(shape, samples, generator)
    closest = closest_points(points, vertices, faces, generator)
    rgb = torch.einsum("nk,nkc->nc", closest.weights, vertex_colours[faces[closest.face]])
    seen = visible(points, shape)
    return {
        "iou": occupancy_iou(inside, shape),
        "mean_abs_signed_distance": mean_abs_signed_distance(vertices, shape),
        "truth_to_mesh": float(closest.distance.mean()),
        "silhouette_iou": silhouette_iou(masks, shape, mask_views),
        "colour_error": colour_error(points[seen], rgb[seen], shape, main_colour),
    }
