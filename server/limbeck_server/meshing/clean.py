"""From what marching cubes found to one clean, closed surface: which pieces stay, and repair.

Of the shells (connected surfaces) that a density field yields,
- small ones float around the object: dropped below a share of the largest one's faces. Faces, not volume: on an even
  grid they measure area, so a thin disc (a brim, a table top) is kept where a speck is not;
- *cavities*, surfaces that face inwards, and whatever floats inside another shell are hollows of a field whose inside
  no camera ever saw: dropped, always, since nobody can see them and printers and physics engines trip over them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from limbeck_server.meshing.manifold import connected
from limbeck_server.meshing.mesh import Array, Mesh, edge_keys, face_volumes, half_edges, is_watertight


@dataclass(frozen=True)
class ComponentReport:
    """What `drop_components` found.

    Attributes:
        found: shells before anything was dropped.
        dropped_small: shells below the share of the largest one.
        dropped_inner: cavities, and shells inside another shell.
    """

    found: int
    dropped_small: int
    dropped_inner: int


def component_labels(faces: Array, vertex_count: int) -> Array:
    """Return (m,) int64: which connected component each face belongs to, numbered by its first face."""
    a, b = half_edges(faces).T
    root = connected(a, b, vertex_count)
    _, first, labels = np.unique(root[faces[:, 0]], return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[labels]


def drop_unused_vertices(mesh: Mesh) -> Mesh:
    """Return the mesh without vertices that no face uses; the others keep their order."""
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces.ravel()] = True
    number = np.cumsum(used) - 1
    kept = {
        name: None if (array := getattr(mesh, name)) is None else array[used] for name in ("normals", "vertex_colours")
    }
    return replace(mesh, vertices=mesh.vertices[used], faces=number[mesh.faces].astype(np.int32), **kept)


def keep_faces(mesh: Mesh, keep: Array) -> Mesh:
    """Return the mesh with only the faces where `keep` (m,) is true, and the vertices that they use."""
    corner_uv = None if mesh.corner_uv is None else mesh.corner_uv[keep]
    return drop_unused_vertices(replace(mesh, faces=mesh.faces[keep], corner_uv=corner_uv))


def winding_number(points: Array, vertices: Array, faces: Array) -> Array:
    """Return how often the surface winds around each point (n, 3): 1 inside a closed outward surface, 0 outside.

    The sum of the faces' solid angles over 4 pi; solid angles by van Oosterom & Strackee (1983), eq. 8.
    """
    result = np.empty(len(points))
    corners = vertices.astype(np.float64)[faces]
    for row, point in enumerate(points.astype(np.float64)):
        a, b, c = (corners[:, corner] - point for corner in range(3))
        la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
        numerator = np.einsum("ij,ij->i", a, np.cross(b, c))
        dot_ab, dot_bc, dot_ca = (np.einsum("ij,ij->i", p, q) for p, q in ((a, b), (b, c), (c, a)))
        denominator = la * lb * lc + dot_ab * lc + dot_bc * la + dot_ca * lb
        result[row] = 2 * np.arctan2(numerator, denominator).sum() / (4 * np.pi)
    return result


def drop_components(mesh: Mesh, share: float = 0.02) -> tuple[Mesh, ComponentReport]:
    """Return the mesh without small shells, cavities and shells inside others, and what was found.

    Args:
        mesh: closed and outward-facing, as `extract_surface` returns it.
        share: shells with fewer than this share of the largest one's faces are dropped; 0 keeps all that can be seen.

    Raises:
        ValueError: the share is outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the component share must be in 0..1; {share} came")
    labels = component_labels(mesh.faces, len(mesh.vertices))
    counts = np.bincount(labels)
    volumes = np.bincount(labels, face_volumes(mesh.vertices, mesh.faces))
    outward = volumes > 0
    large = counts >= share * (counts[outward].max() if outward.any() else 0)
    first_vertex = mesh.vertices[mesh.faces[np.unique(labels, return_index=True)[1], 0]]
    inner = ~outward
    by_volume = np.argsort(-volumes)
    for place, component in enumerate(by_volume):
        if inner[component] or not large[component]:
            continue
        for other in by_volume[:place]:
            # Shells of one level never cross, so one vertex tells for all.
            if not inner[other] and large[other]:
                own = labels == other
                box_low, box_high = (f(mesh.vertices[mesh.faces[own]].reshape(-1, 3), axis=0) for f in (np.min, np.max))
                point = first_vertex[component]
                in_box = ((point >= box_low) & (point <= box_high)).all()
                if in_box and winding_number(point[None], mesh.vertices, mesh.faces[own])[0] > 0.5:
                    inner[component] = True
                    break
    keep = large & ~inner
    report = ComponentReport(len(counts), int((~large & ~inner).sum()), int(inner.sum()))
    return keep_faces(mesh, keep[labels]), report


def agree_on_winding(faces: Array, vertex_count: int) -> Array:
    """Return the faces (m, 3), turned so that neighbours run along their common edge in opposite directions.

    Each connected piece follows its first face; edges with more than two faces pass nothing on.
    """
    edges = half_edges(faces)
    keys = edge_keys(edges, vertex_count, directed=False)
    order = np.argsort(keys, kind="stable")
    _, first, uses = np.unique(keys[order], return_index=True, return_counts=True)
    pairs = first[uses == 2]
    one, two = order[pairs], order[pairs + 1]
    against = edges[one, 0] == edges[two, 0]  # both faces run along the edge the same way
    one, two = one % len(faces), two % len(faces)
    visited, flip = np.zeros(len(faces), dtype=bool), np.zeros(len(faces), dtype=bool)
    for seed in range(len(faces)):
        if visited[seed]:
            continue
        visited[seed] = True
        while True:  # a ring of faces wider each round
            for source, target in ((one, two), (two, one)):
                step = visited[source] & ~visited[target]
                flip[target[step]] = flip[source[step]] ^ against[step]
                visited[target[step]] = True
                if step.any():
                    break
            else:
                break
    return np.where(flip[:, None], faces[:, ::-1], faces)


def repair(mesh: Mesh) -> Mesh:
    """Return the bare mesh, vertices merged, useless faces dropped, wound alike, every piece facing outwards.

    Useless are faces that use a vertex twice and repeats of another face. A watertight mesh keeps its vertices and
    faces and is only turned. What this cannot close stays open: ask `is_watertight` afterwards.
    """
    vertices, faces = mesh.vertices, mesh.faces
    if not is_watertight(mesh):
        vertices, inverse = np.unique(vertices, axis=0, return_inverse=True)
        faces = inverse.reshape(-1)[faces]
        distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        faces = faces[distinct]
        faces = faces[np.sort(np.unique(np.sort(faces, axis=1), axis=0, return_index=True)[1])]
        faces = agree_on_winding(faces, len(vertices))
    labels = component_labels(faces, len(vertices))
    inverted = np.bincount(labels, face_volumes(vertices, faces)) < 0
    faces = np.where(inverted[labels][:, None], faces[:, ::-1], faces)
    return drop_unused_vertices(Mesh(vertices, np.ascontiguousarray(faces, dtype=np.int32)))
