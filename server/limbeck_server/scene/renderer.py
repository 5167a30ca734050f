"""The renderer: a field, seen from views, as pictures that gradients flow through.

Emission and absorption (NeRF, Mildenhall et al. 2020, equation 3): along a ray, sample i of density sigma_i and length
delta_i weighs w_i = T_i (1 - exp(-sigma_i delta_i)), T_i = exp(-sum over j < i of sigma_j delta_j). nerfacc turns
densities into weights: its batched functions on the CPU (`renderer_batched.py`), packed rays on CUDA
(`renderer_packed.py`). The choice is by the device of the views alone.

What makes it fast is to evaluate little. Samples stand only where a ray crosses the bounding ball; those in empty cells
of the occupancy map are dropped; the densities of the rest are looked up without gradient; and only samples whose
weight exceeds `weight_threshold` are evaluated again, with colour and gradient. The picture is made of these alone, so
its gradient is exactly its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.scene import renderer_batched, renderer_packed
from limbeck_server.scene.cameras import Views, rays
from limbeck_server.scene.field import Field
from limbeck_server.scene.marching import Intervals, RenderSettings, intersect_ball
from limbeck_server.scene.occupancy import OccupancyGrid
from limbeck_server.scene.shading import Shading, shade

__all__ = ["RenderSettings", "Rendering", "Samples", "render"]


@dataclass(frozen=True)
class Samples:
    """What the pictures are made of, in one list for all rays of all views, sorted by ray and by distance.

    Attributes:
        ray_index: (samples,) int64; ray = (view x size + row) x size + column.
        points, directions: (samples, 3), where they are and where their rays go.
        lengths: (samples,) in object units.
        densities, weights: (samples,), differentiable.
        normals: (samples, 3) unit vectors out of the object, differentiable; None unless asked for.
    """

    ray_index: Tensor
    points: Tensor
    directions: Tensor
    lengths: Tensor
    densities: Tensor
    weights: Tensor
    normals: Tensor | None


@dataclass(frozen=True)
class Rendering:
    """Pictures of a batch of views, and what regularisers need. Row 0 is on top.

    Attributes:
        image: (views, 3, size, size), the object before its background, in 0..1.
        colour: (views, 3, size, size), the object alone, premultiplied: sum of weights x colours.
        opacity: (views, 1, size, size) in 0..1.
        depth: (views, 1, size, size), mean distance from the camera along the ray, weighted; 0 where nothing is seen.
        samples: the samples behind them.
        rays: how many rays there were, hits and misses.
    """

    image: Tensor
    colour: Tensor
    opacity: Tensor
    depth: Tensor
    samples: Samples
    rays: int


def render(
    field: Field,
    views: Views,
    size: int,
    background: Tensor,
    settings: RenderSettings,
    generator: torch.Generator | None = None,
    occupancy: OccupancyGrid | None = None,
    shading: Shading | None = None,
    with_normals: bool = False,
) -> Rendering:
    """Return pictures of a field, differentiable in its parameters.

    Args:
        field: what is seen.
        views: from where; their device and precision are the rendering's.
        size: side of the square pictures in pixels.
        background: (views, 3), a colour behind each view, or (views, 3, size, size), one behind each pixel (see
            `background.views_background`).
        settings: how rays are sampled.
        generator: shifts each ray's samples by a random share of a step, which turns banding into noise. None puts all
            samples at their mean places.
        occupancy: a map of where the field has density; None looks everywhere in the ball.
        shading: None is albedo.
        with_normals: whether `Rendering.samples.normals` is filled even if the shading needs none.

    Raises:
        ValueError: shapes do not fit together.
    """
    solid = (len(views), 3)
    if background.shape not in (solid, (*solid, size, size)):
        raise ValueError(
            f"expected a background colour for each pixel, shape {(*solid, size, size)}, or one for each view, shape "
            f"{solid}; got {tuple(background.shape)}"
        )
    marcher = renderer_packed if views.lens.is_cuda else renderer_batched
    origins, directions = (part.reshape(-1, 3) for part in rays(views, size))
    intervals = _visible_intervals(field, origins, directions, settings, generator, occupancy)

    points, ray_directions = intervals.points(origins, directions), intervals.along(directions)
    densities, colours = field.density_and_colour(points)
    normals = field.normals(points) if with_normals or (shading is not None and shading.needs_normals) else None
    if shading is not None:
        view_index = intervals.ray_index.div(size * size, rounding_mode="floor")
        colours = shade(shading, colours, normals, points, view_index)
    weights = marcher.compositing_weights(densities, intervals, origins.shape[0])
    lengths = intervals.ends - intervals.starts
    samples = Samples(intervals.ray_index, points, ray_directions, lengths, densities, weights, normals)

    # One pass adds up colours, optical depths and distances; a row each, which is the faster layout.
    terms = torch.cat([colours.t() * weights, (densities * lengths)[None], (weights * intervals.middles)[None]])
    sums = terms.new_zeros(5, origins.shape[0]).index_add(1, intervals.ray_index, terms)
    planes = sums.view(5, len(views), size, size).transpose(0, 1)
    colour = planes[:, :3]
    # The weights of a ray add up to 1 - exp(-optical depth); written so, rounding cannot lead out of 0..1.
    opacity = -torch.expm1(-planes[:, 3:4])
    depth = planes[:, 4:5] / opacity.clamp_min(torch.finfo(opacity.dtype).tiny)
    behind = background.to(colour)
    image = colour + (1 - opacity) * (behind[:, :, None, None] if behind.ndim == 2 else behind)
    return Rendering(image, colour, opacity, depth, samples, origins.shape[0])


@torch.no_grad()
def _visible_intervals(
    field: Field,
    origins: Tensor,
    directions: Tensor,
    settings: RenderSettings,
    generator: torch.Generator | None,
    occupancy: OccupancyGrid | None,
) -> Intervals:
    """Return the samples that the pictures are made of: in the ball, in occupied cells, above the weight threshold."""
    marcher = renderer_packed if origins.is_cuda else renderer_batched
    count = origins.shape[0]
    if generator is None:
        offsets = torch.full_like(origins[:, 0], 0.5)
    else:
        offsets = torch.rand(count, generator=generator, device=generator.device).to(origins)
    near, far = intersect_ball(origins, directions, settings.bound_radius)
    found = []
    for start in range(0, count, settings.rays_per_chunk):
        chunk = slice(start, start + settings.rays_per_chunk)
        origin, direction = origins[chunk], directions[chunk]
        intervals = marcher.find_intervals(
            origin, direction, near[chunk], far[chunk], offsets[chunk], settings, occupancy
        )
        if settings.weight_threshold > 0:
            densities = field.density(intervals.points(origin, direction))
            weights = marcher.compositing_weights(densities, intervals, origin.shape[0])
            intervals = intervals.keep(weights > settings.weight_threshold)
        found.append(Intervals(intervals.ray_index + start, intervals.starts, intervals.ends))
    return Intervals(
        *(torch.cat(parts) for parts in zip(*((i.ray_index, i.starts, i.ends) for i in found), strict=True))
    )
