"""What a shape of the known world is: solids in space, each of the caption's colour or of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.known_world.primitives import Solid, mirrored

Colour = tuple[float, float, float]


def normals(solid: Callable[[Tensor, Tensor, Tensor], Tensor], points: Tensor, step: float = 1e-3) -> Tensor:
    """Return unit normals (n, 3) of a solid at points (n, 3) near its surface: the gradient of the distance.

    Differences over a tetrahedron of size `step`: four evaluations, and edges come out softly.
    """
    corners = torch.tensor(
        [(1.0, -1.0, -1.0), (-1.0, -1.0, 1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0)],
        dtype=points.dtype,
        device=points.device,
    )
    x, y, z = (points.T[:, None] + step * corners.T[:, :, None]).reshape(3, -1)
    distance = solid(x, y, z).reshape(4, -1)
    return torch.nn.functional.normalize(torch.einsum("cn,ck->nk", distance, corners), dim=-1)


@dataclass(frozen=True)
class Part:
    """A solid and its colour.

    Attributes:
        solid: an exact signed distance function.
        colour: display RGB in 0..1, or None for the main colour: the one that a caption names.
    """

    solid: Solid
    colour: Colour | None = None


def pair(solid: Solid, colour: Colour | None = None) -> tuple[Part, Part]:
    """Return a part and its mirror image at the plane x = 0."""
    return Part(solid, colour), Part(mirrored(solid), colour)


@dataclass(frozen=True)
class Shape:
    """A union of parts. Centred, its front faces -Y, Z is up, and it lies within 0.6 of the origin."""

    name: str
    parts: tuple[Part, ...]

    def signed_distance(self, points: Tensor) -> Tensor:
        """Return the signed distance (n,) at points (n, 3), negative inside.

        It is the minimum over the parts: exact outside; inside it is a lower bound of the depth, since the surface of a
        part may lie within another part.
        """
        x, y, z = points.T.contiguous()
        return self.signed_distance_xyz(x, y, z)

    def signed_distance_xyz(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Return the same for coordinates that come apart (equally shaped, contiguous): the fast way."""
        distance = self.parts[0].solid(x, y, z)
        for part in self.parts[1:]:
            distance = torch.minimum(distance, part.solid(x, y, z))
        return distance

    def nearest_part(self, points: Tensor) -> Tensor:
        """Return the index (n,) int64 of the part whose surface is nearest to, or deepest around, each point (n, 3)."""
        x, y, z = points.T.contiguous()
        return torch.stack([part.solid(x, y, z) for part in self.parts]).argmin(dim=0)

    def paint(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the main colour's share (n,), 0 or 1, and the fixed colour (n, 3), black where the share is 1."""
        own = [part.colour for part in self.parts]
        table = torch.tensor([colour or (0.0, 0.0, 0.0) for colour in own], dtype=points.dtype, device=points.device)
        main = torch.tensor([float(colour is None) for colour in own], dtype=points.dtype, device=points.device)
        part = self.nearest_part(points)
        return main[part], table[part]

    def main_share(self, points: Tensor) -> Tensor:
        """Return 1 (n,) where the nearest part of points (n, 3) has the main colour, 0 elsewhere."""
        return self.paint(points)[0]

    def albedo(self, points: Tensor, main_colour: Tensor) -> Tensor:
        """Return the nearest part's unshaded RGB (n, 3) at points (n, 3) under a main colour (3,)."""
        share, fixed = self.paint(points)
        return fixed + share[:, None] * main_colour.to(points)

    def normals(self, points: Tensor) -> Tensor:
        """Return unit normals (n, 3) of the shape at points (n, 3) near its surface."""
        return normals(self.signed_distance_xyz, points)
