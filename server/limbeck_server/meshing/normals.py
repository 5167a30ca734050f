"""Smooth shading: one normal per vertex."""

from __future__ import annotations

import numpy as np

from limbeck_server.meshing.mesh import Array


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Return unit normals (n, 3) float32: the mean of the faces around each vertex, weighted by their area.

    A vertex whose faces cancel or have no area, or that no face uses, gets +Z: file formats demand unit length.
    """
    corners = vertices.astype(np.float64)[faces]
    # The cross product's length is twice the face's area, so the plain sum is the area-weighted mean's direction.
    area_vectors = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.stack(
        [np.bincount(faces.ravel(), np.repeat(area_vectors[:, axis], 3), len(vertices)) for axis in range(3)], axis=-1
    )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    usable = length > 1e-18
    normals = np.where(usable, sums / np.where(usable, length, 1.0), np.array([0.0, 0.0, 1.0]))
    return normals.astype(np.float32)
