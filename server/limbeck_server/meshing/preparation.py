"""From a distilled density to the surface in it: hollows filled, noise blurred away, a level chosen, pinholes closed.

Whatever asks "is this point inside the mesh?" asks the `Surface` that comes out of here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from limbeck_server.meshing.blur import blur_density
from limbeck_server.meshing.level import (
    CANDIDATES,
    choose_level,
    max_density_along_rays,
    silhouette_agreement,
    silhouettes_from,
    trilinear,
)
from limbeck_server.meshing.mesh import Array, Density
from limbeck_server.meshing.solidity import SOLID_DENSITY, fill_hollows, hollows_behind_pinholes
from limbeck_server.meshing.surface import density_grid

MIN_FIELD_RESOLUTION = 64
PINHOLE_RADIUS = 0.045
"""Of the ball that must be able to roll into a hollow, in world units: about a twentieth of an object's length. With it
the cubes distilled at 64 pixels have Euler number 2 (without: -6, -2, 0, 2; with 0.035 one keeps a tunnel); a mug's
handle and a chair's legs keep their holes."""


@dataclass(frozen=True)
class MeshSettings:
    """How a field becomes a mesh.

    Attributes:
        resolution: grid points along the longest side of the object.
        density_level: density of the surface; None chooses it by silhouettes.
        face_budget: most faces after decimation; kept above that only where the surface would open.
        texture_size: side of the texture in texels; 0 bakes none.
        bound: half the side of the cube that is searched.
        component_share: pieces with fewer than this share of the largest one's faces are dropped.
        density_blur: standard deviation of the blur that takes noise out of the density, in points of a grid with
            `resolution` points along the cube's side; 0 draws the density as it is.
        fill_hollows: whether what no light can reach becomes solid.
        smoothing_rounds: rounds of Taubin smoothing before decimation.
        colour_depth: how far below the surface colours are gathered, weighted as a ray that falls in from above sees
            them; 0 takes the colour at the surface alone.
        level_samples: samples on each ray for choosing the level.
    """

    resolution: int = 128
    density_level: float | None = None
    face_budget: int = 12_000
    texture_size: int = 1024
    bound: float = 0.8
    component_share: float = 0.02
    density_blur: float = 1.2
    fill_hollows: bool = True
    smoothing_rounds: int = 0
    colour_depth: float = 0.04
    level_samples: int = 128


@dataclass(frozen=True)
class LevelViews:
    """What the cameras saw, for choosing the density level.

    Attributes:
        opacity: (v, h, w) in 0..1, the NeRF's own renders.
        origins: (v, h, w, 3) world positions of the rays' starts.
        directions: (v, h, w, 3) of the same rays.
    """

    opacity: Array
    origins: Array
    directions: Array


@dataclass(frozen=True)
class Surface:
    """Where a field crosses a level.

    Attributes:
        field: density; inside is where it is `level` or more.
        level: density of the surface.
        silhouette_iou: mean over the views of the IoU between the level's silhouettes and the outlines seen; None
            without views.
    """

    field: Density
    level: float
    silhouette_iou: float | None = None


def find_surface(
    density: Density,
    views: LevelViews | None,
    settings: MeshSettings,
    progress: Callable[[float], None] | None = None,
) -> Surface:
    """Return the surface of a distilled density, as a field that is fast to ask.

    Args:
        density: asked inside [-bound, bound]^3.
        views: what the cameras saw; may be None if the settings give a density level.
        settings: resolution, bound, level, blur, and whether hollows are filled.
        progress: told the share done, 0..1.

    Raises:
        NoSurfaceError: no level finds anything.
        ValueError: the density is not finite, or there are neither views nor a level.
    """
    count = max(MIN_FIELD_RESOLUTION, settings.resolution)
    spacing = 2 * settings.bound / (count - 1)
    grid = density_grid(density, np.full(3, -settings.bound), spacing, (count, count, count), progress)
    if settings.fill_hollows:
        grid = fill_hollows(grid, spacing)
    grid = blur_density(grid, spacing, settings.density_blur)
    found = surface_at_level(trilinear(grid, settings.bound), views, settings)
    if not settings.fill_hollows:
        return found
    # The level must be known for this, and does not depend on it: what is filled lies behind what is seen.
    hollow = hollows_behind_pinholes(grid >= found.level, PINHOLE_RADIUS / spacing)
    closed = np.where(hollow, np.maximum(grid, np.float32(SOLID_DENSITY)), grid)
    return Surface(trilinear(closed, settings.bound), found.level, found.silhouette_iou)


def surface_at_level(field: Density, views: LevelViews | None, settings: MeshSettings) -> Surface:
    """Return the field as it is with the settings' density level, or else the one that the views choose.

    Raises:
        NoSurfaceError: no level finds anything.
        ValueError: there are neither views nor a level.
    """
    if views is None:
        if settings.density_level is None:
            raise ValueError("choosing the density level needs views; none came: give views or a density level")
        return Surface(field, settings.density_level)
    highest = max_density_along_rays(field, views.origins, views.directions, settings.bound, settings.level_samples)
    silhouette_of_level = silhouettes_from(highest)
    level = settings.density_level
    if level is None:
        level = choose_level(views.opacity, silhouette_of_level, CANDIDATES)
    agreement = float(silhouette_agreement(views.opacity, silhouette_of_level, (level,))[0])
    return Surface(field, level, agreement)
