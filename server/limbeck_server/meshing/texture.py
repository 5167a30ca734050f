"""Baking: the base-colour texture, without a GPU rasteriser.

Every texel that a triangle covers in UV space gets the colour of the surface point it stands for; texels just outside
take their neighbours' colours, so that bilinear filtering finds no seam.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limbeck_server.meshing.appearance import SurfaceColour
from limbeck_server.meshing.mesh import Array, Mesh
from limbeck_server.meshing.normals import vertex_normals
from limbeck_server.meshing.surface import CHUNK

DILATION_PX = 4
"""Rings of texels added around each chart; at least as wide as half the gap between charts."""
CANDIDATES_AT_A_TIME = 1 << 21
"""Texel-triangle pairs tested together: bounds memory at about 200 MB."""
REACH_PX = 0.75
"""Texels whose centre lies this far outside a triangle are still baked from its plane: their area is partly covered."""


def texel_coverage(corner_uv: Array, size: int) -> tuple[Array, Array, Array]:
    """Return which texels the triangles cover in UV space.

    Args:
        corner_uv: (m, 3, 2) in 0..1, v upwards.
        size: side of the square texture.

    Returns:
        texels (k,) int64, flat indices row * size + column, first row on top, rising, each once; the faces (k,) int64
        that cover them; barycentric weights (k, 3) float32, all >= 0, summing to 1. Of several faces that reach a
        texel, the one in which its centre lies deepest is taken.
    """
    # Texel centres at whole numbers; rows grow downwards.
    x = corner_uv[..., 0].astype(np.float64) * size - 0.5
    y = (1.0 - corner_uv[..., 1].astype(np.float64)) * size - 0.5
    left = np.clip(np.ceil(x.min(axis=1) - REACH_PX), 0, size - 1).astype(np.int64)
    right = np.clip(np.floor(x.max(axis=1) + REACH_PX), 0, size - 1).astype(np.int64)
    top = np.clip(np.ceil(y.min(axis=1) - REACH_PX), 0, size - 1).astype(np.int64)
    bottom = np.clip(np.floor(y.max(axis=1) + REACH_PX), 0, size - 1).astype(np.int64)
    # Twice the signed area; a triangle without area in UV space covers nothing.
    area: Array = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    width, height = right - left + 1, bottom - top + 1
    pairs = np.where(np.abs(area) > 1e-9, np.maximum(width, 0) * np.maximum(height, 0), 0)

    depth_of = np.full(size * size, -np.inf)
    face_of = np.full(size * size, -1, dtype=np.int64)
    ends = np.cumsum(pairs)
    start = 0
    while start < len(pairs):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + CANDIDATES_AT_A_TIME, side="right")))
        faces = np.repeat(np.arange(start, stop), pairs[start:stop])
        offset = np.arange(len(faces)) - np.repeat(ends[start:stop] - pairs[start:stop] - done, pairs[start:stop])
        column, row = left[faces] + offset % width[faces], top[faces] + offset // width[faces]
        depth = _depth_inside(x, y, area, faces, column, row)
        near = depth > -REACH_PX
        faces, depth, texel = faces[near], depth[near], (row * size + column)[near]
        # Deepest first, then the first of each texel: the winner within this batch; then against earlier batches.
        order = np.lexsort((faces, -depth, texel))
        texel, first = np.unique(texel[order], return_index=True)
        depth, faces = depth[order][first], faces[order][first]
        better = depth > depth_of[texel]
        depth_of[texel[better]], face_of[texel[better]] = depth[better], faces[better]
        start = stop

    texels = np.flatnonzero(face_of >= 0)
    faces = face_of[texels]
    row, column = np.divmod(texels, size)
    weights = np.stack([_edge(x, y, faces, (c + 1) % 3, (c + 2) % 3, column, row) for c in range(3)], axis=-1)
    weights = np.maximum(weights / area[faces, None], 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    return texels, faces, weights.astype(np.float32)


def _edge(x: Array, y: Array, faces: Array, a: int, b: int, column: Array, row: Array) -> Array:
    """Return twice the signed area between the edge a-b of each face and the texel's centre."""
    ax, ay = x[faces, a], y[faces, a]
    doubled: Array = (x[faces, b] - ax) * (row - ay) - (column - ax) * (y[faces, b] - ay)
    return doubled


def _depth_inside(x: Array, y: Array, area: Array, faces: Array, column: Array, row: Array) -> Array:
    """Return how many texels the centre lies inside the nearest edge of its face; negative outside."""
    depth = np.full(len(faces), np.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        length = np.maximum(np.hypot(x[:, b] - x[:, a], y[:, b] - y[:, a]), 1e-12)
        depth = np.minimum(depth, _edge(x, y, faces, a, b, column, row) * (np.sign(area) / length)[faces])
    return depth


def dilate(image: Array, covered: Array, rings: int) -> Array:
    """Return the image (h, w, c) float32 with `rings` rings of texels around the covered ones (h, w) filled.

    Each takes the mean of its filled neighbours among eight. What lies further out takes the mean of all covered
    texels, so that smaller copies of the texture do not darken at the seams.
    """
    if not covered.any():
        return image.copy()
    height, width, channels = image.shape
    filled = np.zeros((height + 2, width + 2), dtype=bool)
    filled[1:-1, 1:-1] = covered
    stride = width + 2
    flat_filled = filled.ravel()
    colours = np.zeros((height + 2, width + 2, channels), dtype=np.float32)
    colours[1:-1, 1:-1] = np.where(covered[..., None], image, image[covered].mean(axis=0))
    flat_colours = colours.reshape(-1, channels)
    inside = np.zeros_like(filled)
    inside[1:-1, 1:-1] = True
    around = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    frontier = np.flatnonzero(flat_filled)
    for _ in range(rings):
        touched = np.unique((frontier[:, None] + around).ravel())
        touched = touched[~flat_filled[touched] & inside.ravel()[touched]]
        if not len(touched):
            break
        neighbours = touched[:, None] + around
        weight = flat_filled[neighbours].astype(np.float32)
        flat_colours[touched] = np.einsum("kn,knc->kc", weight, flat_colours[neighbours]) / weight.sum(
            axis=1, keepdims=True
        )
        flat_filled[touched] = True
        frontier = touched
    return colours[1:-1, 1:-1]


def bake_texture(
    mesh: Mesh, colour: SurfaceColour, size: int, progress: Callable[[float], None] | None = None, chunk: int = CHUNK
) -> Array:
    """Return the base-colour texture (size, size, 3) uint8, display-coded, first row on top.

    Args:
        mesh: with `corner_uv`.
        colour: asked at surface points in world units, with the normals interpolated there.
        size: side in texels.
        progress: told the share done, 0..1.
        chunk: points given to the colour at a time.

    Raises:
        ValueError: the mesh has no UVs or a colour is not finite.
    """
    if mesh.corner_uv is None:
        raise ValueError("a texture needs UVs; a mesh without came: call unwrap first")
    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    texels, faces, weights = texel_coverage(mesh.corner_uv, size)
    image = np.zeros((size * size, 3), dtype=np.float32)
    for start in range(0, len(texels), chunk):
        part = slice(start, start + chunk)
        corners = mesh.faces[faces[part]]
        points = np.einsum("kc,kcd->kd", weights[part], mesh.vertices[corners])
        directions = np.einsum("kc,kcd->kd", weights[part], normals[corners])
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
        image[texels[part]] = colour(points, directions)
        if progress:
            progress(0.9 * min(1.0, (start + chunk) / len(texels)))
    covered = np.zeros(size * size, dtype=bool)
    covered[texels] = True
    image = dilate(image.reshape(size, size, 3), covered.reshape(size, size), DILATION_PX)
    if progress:
        progress(1.0)
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def sample_texture(texture: Array, uv: Array) -> Array:
    """Return the colours (n, 3) float32 in 0..1 that a renderer would read at uv (n, 2), bilinear, v upwards."""
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1.0 - uv[:, 1]) * height - 0.5, 0, height - 1)
    column, row = np.clip(x.astype(int), 0, width - 2), np.clip(y.astype(int), 0, height - 2)
    wx, wy = (x - column)[:, None], (y - row)[:, None]
    image = texture.astype(np.float32) / 255.0
    upper = image[row, column] * (1 - wx) + image[row, column + 1] * wx
    lower = image[row + 1, column] * (1 - wx) + image[row + 1, column + 1] * wx
    colours: Array = (upper * (1 - wy) + lower * wy).astype(np.float32)
    return colours
