"""From a field to a finished mesh: level, surface, cleaning, decimation, normals and colours, UVs, texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from limbeck_server.meshing.appearance import seen_colour
from limbeck_server.meshing.clean import drop_components, repair
from limbeck_server.meshing.mesh import Colour, Mesh, euler_number, is_watertight, volume
from limbeck_server.meshing.normals import vertex_normals
from limbeck_server.meshing.preparation import MeshSettings, Surface
from limbeck_server.meshing.simplify import decimate, smooth
from limbeck_server.meshing.surface import extract_surface
from limbeck_server.meshing.texture import bake_texture
from limbeck_server.meshing.uv import MAX_FACES, unwrap

Progress = Callable[[str, float], None]
"""Told (phase, share done 0..1); phases are `mesh`, then `texture`."""


@dataclass(frozen=True)
class MeshReport:
    """What was done on the way from the field to the mesh.

    Attributes:
        level: density of the surface.
        silhouette_iou: mean over the views of the IoU between the level's silhouettes and the outlines seen; None
            without views.
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


def build_mesh(
    surface: Surface,
    colour: Colour,
    settings: MeshSettings,
    progress: Progress | None = None,
) -> tuple[Mesh, MeshReport]:
    """Return the finished mesh of a surface and what was done: the same arrays for the same surface and settings.

    Args:
        surface: what is drawn, asked inside [-bound, bound]^3.
        colour: of the field.
        settings: how the field becomes a mesh.
        progress: told (phase, share done); phases are `mesh`, then `texture`.

    Raises:
        NoSurfaceError: the field holds nothing that a surface could be drawn around.
        ValueError: the field is not finite, or a setting is out of range.
    """
    tell = progress or (lambda phase, share: None)
    notes: list[str] = []
    field, level = surface.field, surface.level
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
        silhouette_iou=surface.silhouette_iou,
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
