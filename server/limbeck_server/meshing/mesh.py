"""The mesh that every step of this package takes and returns, and the exact checks on it.

World frame: right-handed, Z up, the object's front faces -Y. Faces wind counter-clockwise seen from outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""A numpy array; shapes and dtypes stand in the docstrings."""

Density = Callable[[Array], Array]
"""(n, 3) float32 world positions -> (n,) densities >= 0, per unit of length."""
Colour = Callable[[Array], Array]
"""(n, 3) float32 world positions -> (n, 3) colours in 0..1, as seen on a display (sRGB-coded)."""


class NoSurfaceError(ValueError):
    """The field holds nothing that a surface could be drawn around; the sentence says what was found and what to do."""


class NotFiniteError(ValueError):
    """The field holds NaN or infinity: the optimisation that made it has diverged."""


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh, welded: texture seams live on face corners, so that they never open the surface.

    Attributes:
        vertices: (n, 3) float32, world units.
        faces: (m, 3) int32, counter-clockwise seen from outside.
        normals: (n, 3) float32, unit length, or None.
        vertex_colours: (n, 3) float32 in 0..1, display-coded (sRGB), or None.
        corner_uv: (m, 3, 2) float32 in 0..1, or None; u grows to the right, v upwards (Blender's convention).
        texture: (h, w, 3) uint8, display-coded base colour, first row on top (v = 1), or None.
    """

    vertices: Array
    faces: Array
    normals: Array | None = None
    vertex_colours: Array | None = None
    corner_uv: Array | None = None
    texture: Array | None = None


def check_mesh(mesh: Mesh) -> None:
    """Return nothing if shapes, dtypes and indices agree.

    Raises:
        ValueError: an array has the wrong shape or dtype, a face points past the vertices, a coordinate is not finite.
    """
    n, m = len(mesh.vertices), len(mesh.faces)
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "vertices": ((n, 3), np.float32),
        "faces": ((m, 3), np.int32),
        "normals": ((n, 3), np.float32),
        "vertex_colours": ((n, 3), np.float32),
        "corner_uv": ((m, 3, 2), np.float32),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(mesh, name)
        if array is None:
            continue
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"a mesh's {name} must be {shape} {np.dtype(dtype)}; {array.shape} {array.dtype} came: convert it first"
            )
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"a mesh's {name} must be finite; NaN or infinity came: check the field it was made from")
    if m and (mesh.faces.min() < 0 or mesh.faces.max() >= n):
        raise ValueError(f"faces must index vertices 0..{n - 1}; {mesh.faces.min()}..{mesh.faces.max()} came")
    texture = mesh.texture
    if texture is not None and (texture.ndim != 3 or texture.shape[2] != 3 or texture.dtype != np.uint8):
        raise ValueError(f"a mesh's texture must be (h, w, 3) uint8; {texture.shape} {texture.dtype} came")


def half_edges(faces: Array) -> Array:
    """Return the directed edges (3 m, 2) int64: rows 0..m-1 are the faces' first edges, then the second, the third."""
    edges: Array = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    return edges


def edge_keys(edges: Array, count: int, directed: bool) -> Array:
    """Return one int64 per edge (k, 2), equal for equal edges; undirected keys ignore the edge's direction."""
    if not directed:
        edges = np.sort(edges, axis=1)
    keys: Array = edges[:, 0] * count + edges[:, 1]
    return keys


def is_watertight(mesh: Mesh) -> bool:
    """Return whether the surface is closed and wound alike: every edge joins two faces, once each way."""
    if len(mesh.faces) == 0:
        return False
    edges, count = half_edges(mesh.faces), len(mesh.vertices)
    if (edges[:, 0] == edges[:, 1]).any():
        return False
    directed = np.sort(edge_keys(edges, count, directed=True))
    if (directed[1:] == directed[:-1]).any():
        return False
    return bool(np.array_equal(directed, np.sort(edge_keys(edges[:, ::-1], count, directed=True))))


def euler_number(mesh: Mesh) -> int:
    """Return V - E + F over the vertices in use: 2 for each sphere-like piece, less 2 for each handle (torus: 0)."""
    edges = np.unique(edge_keys(half_edges(mesh.faces), len(mesh.vertices), directed=False))
    return len(np.unique(mesh.faces)) - len(edges) + len(mesh.faces)


def face_volumes(vertices: Array, faces: Array) -> Array:
    """Return the signed volumes (m,) float64 of the tetrahedra between each face and the origin."""
    a, b, c = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    volumes: Array = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0
    return volumes


def volume(mesh: Mesh) -> float:
    """Return the enclosed volume by the divergence theorem: exact if watertight, positive if outward."""
    return float(face_volumes(mesh.vertices, mesh.faces).sum())


def bounds(mesh: Mesh) -> tuple[Array, Array]:
    """Return the lowest and the highest corner (3,), (3,) of the box around the mesh, in world units."""
    return mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)


def mesh_digest(mesh: Mesh) -> str:
    """Return 64 hex digits (blake2b-256) over all arrays, names, dtypes and shapes: equal for equal meshes."""
    digest = hashlib.blake2b(digest_size=32)
    for name in ("vertices", "faces", "normals", "vertex_colours", "corner_uv", "texture"):
        array = getattr(mesh, name)
        if array is None:
            continue
        little_endian = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        digest.update(f"{name} {little_endian.dtype.str} {little_endian.shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()
