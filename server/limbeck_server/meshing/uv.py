"""A flat layout of the surface for its texture."""

from __future__ import annotations

import numpy as np
import xatlas

from limbeck_server.meshing.mesh import Array, Mesh

MAX_FACES = 15_000
"""xatlas takes about 2 s for 14,000 triangles, but 20-32 s for 55,000."""
PADDING_PX = 4
"""Texels kept free around each chart, for `texture.dilate` to fill; the atlas is then scaled down, to about 3."""
MAX_COST = 0.5
"""How much a chart may bend (xatlas: 2). Measured on 12,000 faces: 0.6-1.0 s, not 1.7-3.3 s; no more charts."""


def unwrap(mesh: Mesh, texture_size: int) -> Array:
    """Return corner UVs (m, 3, 2) float32 in 0..1, v upwards: charts that do not overlap, a few texels apart.

    Args:
        mesh: at most MAX_FACES faces; its own topology is not touched.
        texture_size: side of the square texture, in texels, that the charts are packed for.

    Raises:
        ValueError: the mesh has no faces or more than MAX_FACES.
    """
    if not 0 < len(mesh.faces) <= MAX_FACES:
        raise ValueError(f"unwrapping takes 1..{MAX_FACES} faces; {len(mesh.faces)} came: decimate to that first")
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices, mesh.faces.astype(np.uint32))
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_cost = MAX_COST
    packing.resolution = texture_size
    packing.padding = PADDING_PX
    packing.bilinear = True
    atlas.generate(chart_options=charts, pack_options=packing)
    sources, corners, uv = atlas.get_mesh(0)
    if not np.array_equal(sources[corners], mesh.faces):
        raise RuntimeError("xatlas returned the faces in another order than they came: its version is not supported")
    corner_uv = np.clip(uv[corners], 0.0, 1.0).astype(np.float32)
    return _place_uncharted(mesh.faces, corner_uv)


def _place_uncharted(faces: Array, corner_uv: Array) -> Array:
    """Return the UVs with faces that xatlas left out (almost no area; all corners at 0, 0) put on a neighbour.

    All three corners take the place of one corner's vertex in another face's chart: no texel of their own, the right
    colour.
    """
    missing = ~corner_uv.any(axis=(1, 2))
    if missing.any():
        charted = np.full((faces.max() + 1, 2), 0.0, dtype=np.float32)
        charted[faces[~missing].ravel()] = corner_uv[~missing].reshape(-1, 2)
        corner_uv[missing] = charted[faces[missing, 0]][:, None, :]
    return corner_uv
