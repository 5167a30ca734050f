"""From a field to a finished mesh: level, surface, cleaning, decimation, normals and colours, UVs, texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from limbeck_server.meshing.appearance import seen_colour
from limbeck_server.meshing.blur import blur_density
from limbeck_server.meshing.clean import drop_components, repair
from limbeck_server.meshing.level import (
    CANDIDATES,
    choose_level,
    max_density_along_rays,
    silhouette_agreement,
    silhouettes_from,
    trilinear,
)
from limbeck_server.meshing.mesh import Array, Colour, Density, Mesh, euler_number, is_watertight, volume
from limbeck_server.meshing.normals import vertex_normals
from limbeck_server.meshing.simplify import decimate, smooth
from limbeck_server.meshing.solidity import fill_hollows
from limbeck_server.meshing.surface import density_grid, extract_surface
from limbeck_server.meshing.texture import bake_texture
from limbeck_server.meshing.uv import MAX_FACES, unwrap

MIN_FIELD_RESOLUTION = 64
Progress = Callable[[str, float], None]
"""Told (phase, share done 0..1); phases are `mesh`, then `texture`."""


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
class MeshReport:
    """What was done on the way from the field to the mesh.

    Attributes:
        level: density of the surface.
        silhouette_iou: mean over the views of the IoU between the level's silhouettes and opacity > 0.5; None without
            views.
        components_found: shells before anything was dropped.
        components_dropped: small ones, cavities, and those inside another.
        inner_shells_dropped: the cavities and the shells inside another, among the dropped.
        faces_before_decimation: of the cleaned surface.
        faces: of the mesh.
        watertight: every edge joins two faces, wound alike.
        euler_number: 2 for each sphere-like piece less 2 for each handle.
        volume: enclosed, in cubic world units.
        texture_size: side in texels; 0 where there is none.
        notes: sentences on what could not be done as asked.
    """

    level: float
    silhouette_iou: float | None
    components_found: int
    components_dropped: int
    inner_shells_dropped: int
    faces_before_decimation: int
    faces: int
    watertight: bool
    euler_number: int
    volume: float
    texture_size: int
    notes: tuple[str, ...] = ()


def surface_field(density: Density, settings: MeshSettings, progress: Callable[[float], None] | None = None) -> Density:
    """Return the field whose level set is drawn: the density on a grid, hollows filled, cleared of noise; fast to ask.

    Whatever asks "is this point inside the mesh?" asks this field, at the report's level.
    """
    count = max(MIN_FIELD_RESOLUTION, settings.resolution)
    spacing = 2 * settings.bound / (count - 1)
    grid = density_grid(density, np.full(3, -settings.bound), spacing, (count, count, count), progress)
    if settings.fill_hollows:
        grid = fill_hollows(grid, spacing)
    return trilinear(blur_density(grid, spacing, settings.density_blur), settings.bound)


def _level_of(field: Density, views: LevelViews | None, settings: MeshSettings) -> tuple[float, float | None]:
    """Return the density level and the silhouettes' agreement with the pictures at it."""
    if views is None:
        if settings.density_level is None:
            raise ValueError("choosing the density level needs views; none came: give views or a density level")
        return settings.density_level, None
    highest = max_density_along_rays(field, views.origins, views.directions, settings.bound, settings.level_samples)
    silhouette_of_level = silhouettes_from(highest)
    level = settings.density_level
    if level is None:
        level = choose_level(views.opacity, silhouette_of_level, CANDIDATES)
    return level, float(silhouette_agreement(views.opacity, silhouette_of_level, (level,))[0])


def build_mesh(
    field: Density,
    colour: Colour,
    views: LevelViews | None,
    settings: MeshSettings,
    progress: Progress | None = None,
) -> tuple[Mesh, MeshReport]:
    """Return the finished mesh of a field and what was done: the same arrays for the same field, views and settings.

    Args:
        field: whose level set is drawn, asked inside [-bound, bound]^3: `surface_field` of a distilled one.
        colour: of the field.
        views: what the cameras saw; may be None if the settings give a density level.
        settings: how the field becomes a mesh.
        progress: told (phase, share done); phases are `mesh`, then `texture`.

    Raises:
        NoSurfaceError: the field holds nothing that a surface could be drawn around.
        ValueError: the field is not finite, a setting is out of range, or there are neither views nor a level.
    """
    tell = progress or (lambda phase, share: None)
    notes: list[str] = []
    level, agreement = _level_of(field, views, settings)
    tell("mesh", 0.3)
    found = extract_surface(
        field, level, settings.resolution, settings.bound, lambda share: tell("mesh", 0.3 + 0.5 * share)
    )
    cleaned, components = drop_components(found, settings.component_share)
    cleaned = repair(cleaned)
    if settings.smoothing_rounds:
        cleaned = smooth(cleaned, settings.smoothing_rounds)
    body = decimate(cleaned, settings.face_budget)
    if len(body.faces) > settings.face_budget:
        notes.append(
            f"The mesh has {len(body.faces)} faces instead of at most {settings.face_budget}: with fewer its surface "
            "would open or change. A lower mesh resolution gives fewer."
        )
    normals = vertex_normals(body.vertices, body.faces)
    surface_colour = seen_colour(field, colour, settings.colour_depth)
    vertex_colours = surface_colour(body.vertices, normals)
    mesh = replace(body, normals=normals, vertex_colours=np.clip(vertex_colours, 0.0, 1.0))
    tell("mesh", 1.0)

    texture_size = settings.texture_size
    if texture_size and len(mesh.faces) > MAX_FACES:
        notes.append(
            f"No texture was baked: {len(mesh.faces)} faces are too many to unwrap (at most {MAX_FACES}); the vertex "
            f"colours hold the colour. Set a face budget of {MAX_FACES} or less for a texture."
        )
        texture_size = 0
    if texture_size:
        tell("texture", 0.0)
        mesh = replace(mesh, corner_uv=unwrap(mesh, texture_size))
        tell("texture", 0.4)
        texture = bake_texture(mesh, surface_colour, texture_size, lambda share: tell("texture", 0.4 + 0.6 * share))
        mesh = replace(mesh, texture=texture)
    watertight = is_watertight(mesh)
    if not watertight:
        notes.append("The mesh is not watertight: some edges do not join exactly two faces.")
    report = MeshReport(
        level=level,
        silhouette_iou=agreement,
        components_found=components.found,
        components_dropped=components.dropped_small + components.dropped_inner,
        inner_shells_dropped=components.dropped_inner,
        faces_before_decimation=len(cleaned.faces),
        faces=len(mesh.faces),
        watertight=watertight,
        euler_number=euler_number(mesh),
        volume=volume(mesh),
        texture_size=texture_size,
        notes=tuple(notes),
    )
    return mesh, report
