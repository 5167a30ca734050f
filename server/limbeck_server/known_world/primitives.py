"""Exact signed distance functions of simple solids, as functions of three coordinate tensors.

A solid is called with x, y, z (equally shaped tensors) and returns the signed distance to its surface: negative
inside. All of these are exact inside and outside, so their gradients have length 1. Coordinates come apart because
contiguous columns are several times faster on a CPU than one (n, 3) tensor. The formulas for capsule, torus, dome,
arch and polygon follow Inigo Quilez's list of distance functions; the others are worked out where they stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Point = tuple[float, float, float]
Corner = tuple[float, float]


@dataclass(frozen=True)
class Solid:
    """A signed distance function, and whether the solid is convex.

    Along a ray, the distance to a convex solid is a convex function: rays can then take secant steps, which are many
    times longer than sphere tracing's and still never step over the surface.
    """

    distance: Callable[[Tensor, Tensor, Tensor], Tensor]
    convex: bool

    def __call__(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return self.distance(x, y, z)


def _norm(*components: Tensor) -> Tensor:
    """Return the Euclidean length, component by component: faster than stacking."""
    total = components[0] * components[0]
    for component in components[1:]:
        total = torch.addcmul(total, component, component)
    return total.sqrt_()


def sphere(centre: Point, radius: float) -> Solid:
    """Return a ball."""
    cx, cy, cz = centre
    return Solid(lambda x, y, z: _norm(x - cx, y - cy, z - cz) - radius, convex=True)


def box(centre: Point, half: Point, rounding: float = 0.0) -> Solid:
    """Return a box with half extents `half`, its edges rounded by `rounding` (within those extents)."""
    cx, cy, cz = centre
    hx, hy, hz = (extent - rounding for extent in half)

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        qx, qy, qz = (x - cx).abs_() - hx, (y - cy).abs_() - hy, (z - cz).abs_() - hz
        inside = torch.maximum(torch.maximum(qx, qy), qz).clamp_(max=0.0)
        return _norm(qx.clamp_(min=0.0), qy.clamp_(min=0.0), qz.clamp_(min=0.0)) + (inside - rounding)

    return Solid(distance, convex=True)


def _stack_distance(across: Tensor, along: Tensor) -> Tensor:
    """Return the signed distance to {across <= 0, along <= 0} of two signed distances in orthogonal directions."""
    inside = torch.maximum(across, along).clamp_(max=0.0)
    return _norm(across.clamp(min=0.0), along.clamp(min=0.0)) + inside


def _local(x: Tensor, y: Tensor, z: Tensor, centre: Point, axis: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return (u, v, w), w along `axis`, so that (u, v, w) is right-handed."""
    cx, cy, cz = centre
    x, y, z = x - cx, y - cy, z - cz
    return {"x": (y, z, x), "y": (z, x, y), "z": (x, y, z)}[axis]


def cylinder(centre: Point, radius: float, half_height: float, axis: str = "z", rounding: float = 0.0) -> Solid:
    """Return a cylinder about `axis`, its rims rounded by `rounding`."""

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        u, v, w = _local(x, y, z, centre, axis)
        flat = _stack_distance(_norm(u, v) - (radius - rounding), w.abs_() - (half_height - rounding))
        return flat - rounding

    return Solid(distance, convex=True)


def torus(centre: Point, major: float, minor: float, axis: str = "z") -> Solid:
    """Return a torus about `axis`: a tube of radius `minor` around a circle of radius `major`."""

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        u, v, w = _local(x, y, z, centre, axis)
        return _norm(_norm(u, v) - major, w) - minor

    return Solid(distance, convex=False)


def dome(centre: Point, radius: float, cut: float) -> Solid:
    """Return the part of a ball that lies above `centre[2] + cut`."""
    cx, cy, cz = centre
    rim = math.sqrt(radius * radius - cut * cut)

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        across, up = _norm(x - cx, y - cy), z - cz
        # The nearest point is on the ball, on the flat face, or on the rim between them.
        on_ball = torch.maximum(
            (cut - radius) * across * across + rim * rim * (cut + radius - 2.0 * up), cut * across - rim * up
        )
        flat_or_rim = torch.where(across < rim, cut - up, _norm(across - rim, up - cut))
        return torch.where(on_ball < 0.0, _norm(across, up) - radius, flat_or_rim)

    return Solid(distance, convex=True)


def arch(centre: Point, major: float, minor: float, half_angle_deg: float, direction: float = 1.0) -> Solid:
    """Return a bow of tube in the plane y = `centre[1]`, open on one side: a mug's handle.

    Args:
        centre: middle of the circle that the tube follows.
        major: that circle's radius.
        minor: the tube's radius.
        half_angle_deg: how far the bow reaches to either side of its middle, 0..180.
        direction: 1 if its middle lies towards +X, -1 towards -X.
    """
    cx, cy, cz = centre
    sine, cosine = math.sin(math.radians(half_angle_deg)), math.cos(math.radians(half_angle_deg))

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        px, py, pz = (x - cx) * direction, y - cy, (z - cz).abs_()
        # Within the bow's angle the nearest point of the circle is straight out; beyond, it is the bow's end.
        reach = torch.where(cosine * pz > sine * px, pz * sine + px * cosine, _norm(px, pz))
        return (px * px + py * py + pz * pz + major * major - 2.0 * major * reach).clamp_(min=0.0).sqrt_() - minor

    return Solid(distance, convex=False)


def capsule(start: Point, end: Point, radius: float) -> Solid:
    """Return all points within `radius` of a segment."""
    (ax, ay, az), (dx, dy, dz) = start, tuple(e - s for s, e in zip(start, end, strict=True))
    length_squared = dx * dx + dy * dy + dz * dz

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        px, py, pz = x - ax, y - ay, z - az
        share = ((px * dx + py * dy + pz * dz) / length_squared).clamp_(0.0, 1.0)
        return _norm(px - share * dx, py - share * dy, pz - share * dz) - radius

    return Solid(distance, convex=True)


def round_cone(start: Point, end: Point, start_radius: float, end_radius: float) -> Solid:
    """Return the convex hull of two balls, neither of which holds the other."""
    (ax, ay, az), (dx, dy, dz) = start, tuple(e - s for s, e in zip(start, end, strict=True))
    length = math.sqrt(dx * dx + dy * dy + dz * dz)
    slope = (start_radius - end_radius) / length
    if not abs(slope) < 1.0:
        raise ValueError("a round cone needs two balls of which neither holds the other; use a sphere")
    lean = math.sqrt(1.0 - slope * slope)

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        px, py, pz = x - ax, y - ay, z - az
        along = (px * dx + py * dy + pz * dz) / length
        across = (px * px + py * py + pz * pz - along * along).clamp_(min=0.0).sqrt_()
        # In the half plane (across, along) the outline is arc, straight side, arc; `foot` says over which we stand.
        foot = along * lean - across * slope
        side = across * lean + along * slope - start_radius
        return torch.where(
            foot <= 0.0,
            _norm(across, along) - start_radius,
            torch.where(foot >= length * lean, _norm(across, along - length) - end_radius, side),
        )

    return Solid(distance, convex=True)


def _polygon_distance(u: Tensor, v: Tensor, corners: Sequence[Corner], skip_last_edge: bool = False) -> Tensor:
    """Return the signed distance to a simple polygon; the last edge (back to the first corner) may carry no surface."""
    squared = torch.full_like(u, math.inf)
    crossings = torch.zeros_like(u, dtype=torch.bool)
    for index, (au, av) in enumerate(corners):
        bu, bv = corners[(index + 1) % len(corners)]
        eu, ev = bu - au, bv - av
        pu, pv = u - au, v - av
        if ev != 0.0:
            # An upward ray from (u, v) in +u direction meets this edge: the even-odd rule.
            straddles = (pv >= 0.0) != (v >= bv)
            crossings ^= straddles & (pu < pv * (eu / ev))
        if skip_last_edge and index == len(corners) - 1:
            continue
        share = ((pu * eu + pv * ev) / (eu * eu + ev * ev)).clamp_(0.0, 1.0)
        pu, pv = pu.sub_(share, alpha=eu), pv.sub_(share, alpha=ev)
        squared = torch.minimum(squared, torch.addcmul(pu * pu, pv, pv))
    distance = squared.sqrt_()
    return torch.where(crossings, -distance, distance)


def _is_convex(corners: Sequence[Corner]) -> bool:
    """Return whether a simple polygon turns the same way at every corner."""
    turns = []
    for index, (bu, bv) in enumerate(corners):
        (au, av), (cu, cv) = corners[index - 1], corners[(index + 1) % len(corners)]
        turns.append((bu - au) * (cv - bv) - (bv - av) * (cu - bu))
    return all(turn >= -1e-9 for turn in turns) or all(turn <= 1e-9 for turn in turns)


def prism(
    corners: Sequence[Corner],
    half_depth: float,
    centre: Point = (0.0, 0.0, 0.0),
    axis: str = "z",
    rounding: float = 0.0,
) -> Solid:
    """Return a simple polygon drawn along `axis`.

    Args:
        corners: the polygon as it is drawn on paper: (x, y) for axis z, (y, z) for axis x, (x, z) for axis y.
        half_depth: half its thickness.
        centre: where the polygon's origin goes.
        axis: "x", "y" or "z".
        rounding: all edges are rounded by this much, and the solid grows by it.
    """

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        u, v, w = _local(x, y, z, centre, axis)
        if axis == "y":
            u, v = v, u
        return _stack_distance(_polygon_distance(u, v, corners), w.abs_() - half_depth) - rounding

    return Solid(distance, convex=_is_convex(corners))


def lathe(profile: Sequence[Corner], centre: Point = (0.0, 0.0, 0.0), axis: str = "z", rounding: float = 0.0) -> Solid:
    """Return a solid of revolution about `axis`; it may be hollow, like a mug.

    Args:
        profile: corners (radius, height) of a simple polygon with radius >= 0. Where it starts and ends on the axis,
            the edge between the two ends lies inside the solid and is no surface.
        centre: where (0, 0) goes.
        axis: "x", "y" or "z", the direction of growing height.
        rounding: all corners are rounded by this much, and the solid grows by it.
    """
    on_axis = profile[0][0] == 0.0 and profile[-1][0] == 0.0

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        u, v, w = _local(x, y, z, centre, axis)
        return _polygon_distance(_norm(u, v), w, profile, skip_last_edge=on_axis) - rounding

    return Solid(distance, convex=on_axis and _is_convex([*profile, *((-r, h) for r, h in reversed(profile[1:-1]))]))


def cone(centre: Point, base_radius: float, top_radius: float, half_height: float, axis: str = "z") -> Solid:
    """Return a cone or a frustum about `axis`; `centre` is the middle of its height."""
    top = [(top_radius, half_height)] if top_radius > 0.0 else []
    return lathe([(0.0, -half_height), (base_radius, -half_height), *top, (0.0, half_height)], centre, axis)


def pyramid(base_centre: Point, half_base: float, height: float) -> Solid:
    """Return a square pyramid that stands on the plane z = `base_centre[2]`."""
    cx, cy, cz = base_centre
    slant = math.hypot(half_base, height)
    face = [(-half_base, 0.0), (half_base, 0.0), (0.0, slant)]

    def distance(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        # By symmetry the nearest side face is the one of our own quarter: fold everything onto +x.
        px, py, pz = (x - cx).abs_(), (y - cy).abs_(), z - cz
        px, py = torch.maximum(px, py), torch.minimum(px, py)
        out = ((px - half_base) * height + pz * half_base) / slant
        up = (pz * height - (px - half_base) * half_base) / slant
        to_side = _norm(_polygon_distance(py, up, face).clamp_(min=0.0), out)
        to_base = _norm((px - half_base).clamp_(min=0.0), (py - half_base).clamp_(min=0.0), pz)
        unsigned = torch.minimum(to_side, to_base)
        return torch.where((pz > 0.0) & (out < 0.0), -unsigned, unsigned)

    return Solid(distance, convex=True)


def mirrored(solid: Solid) -> Solid:
    """Return a solid's mirror image at the plane x = 0."""
    return Solid(lambda x, y, z: solid(-x, y, z), solid.convex)
