"""Fewer triangles, and smoother ones, without opening the surface."""

from __future__ import annotations

import fast_simplification
import numpy as np

from limbeck_server.meshing.clean import component_labels, keep_faces
from limbeck_server.meshing.manifold import make_manifold
from limbeck_server.meshing.mesh import Mesh, edge_keys, euler_number, face_volumes, half_edges, is_watertight, volume

MAX_VOLUME_CHANGE = 0.02
"""A decimated mesh whose volume differs by more than this share is not taken."""
AGGRESSIVENESS = (5.0, 3.0)
"""Tried in turn; lower is gentler and slower."""
CRUMB = 1e-4
"""Pieces that come off at a pinch are dropped below this share of the volume."""
# A step inwards, then a slightly longer one outwards: waves longer than about 10 edges keep their height.
SHRINK, GROW = 0.5, -0.53


def _same_volume(candidate: Mesh, original: Mesh) -> bool:
    """Return whether the candidate is closed and its volume within MAX_VOLUME_CHANGE of the original's."""
    if len(candidate.faces) < 4 or not np.isfinite(candidate.vertices).all() or not is_watertight(candidate):
        return False
    before, after = volume(original), volume(candidate)
    return abs(after - before) <= MAX_VOLUME_CHANGE * abs(before)


def _taken_apart(candidate: Mesh) -> Mesh:
    """Return the pinched candidate as a manifold, without the crumbs that came off."""
    vertices, faces = make_manifold(candidate.vertices, candidate.faces)
    labels = component_labels(faces, len(vertices))
    volumes = np.bincount(labels, face_volumes(vertices, faces))
    return keep_faces(Mesh(vertices, faces), (np.abs(volumes) > CRUMB * np.abs(volumes).sum())[labels])


def decimate(mesh: Mesh, face_budget: int) -> Mesh:
    """Return the bare mesh with at most `face_budget` faces where that is possible without harm.

    Quadric edge collapses (Garland & Heckbert 1997) may pinch a surface. A result is taken only if it is watertight
    and has the same volume within 2 %. One with the same Euler number (pieces and handles) is preferred; if none has,
    because tunnels or bridges thinner than a face pinched off, it is taken apart there. Then twice the budget is
    tried, and at last the mesh comes back as it is: a surface that is too fine beats one with holes.

    Args:
        mesh: watertight.
        face_budget: 4 or more.

    Raises:
        ValueError: the budget is below 4, the faces of a tetrahedron.
    """
    if face_budget < 4:
        raise ValueError(f"a closed surface needs at least 4 faces; a budget of {face_budget} came")
    bare = Mesh(mesh.vertices, mesh.faces)
    for budget in (face_budget, 2 * face_budget):
        if len(mesh.faces) <= budget:
            return bare
        for aggressiveness in AGGRESSIVENESS:
            candidate = _collapsed(mesh, budget, aggressiveness)
            same_topology = euler_number(candidate) == euler_number(mesh)
            if len(candidate.faces) <= budget and same_topology and _same_volume(candidate, mesh):
                return candidate
        # Taking apart adds a few faces: leave room for them.
        apart = _taken_apart(_collapsed(mesh, int(0.98 * budget), AGGRESSIVENESS[0]))
        if len(apart.faces) <= budget and _same_volume(apart, mesh):
            return apart
    return bare


def _collapsed(mesh: Mesh, face_budget: int, aggressiveness: float) -> Mesh:
    """Return the mesh after edge collapses, whatever they did to it."""
    points, triangles = fast_simplification.simplify(
        mesh.vertices.astype(np.float64), mesh.faces, target_count=face_budget, agg=aggressiveness
    )
    return Mesh(points.astype(np.float32), triangles.astype(np.int32))


def smooth(mesh: Mesh, rounds: int) -> Mesh:
    """Return the bare mesh after `rounds` of Taubin smoothing: ripples of a few edges' length go, the volume stays.

    Each vertex moves towards the mean of its neighbours, then a little further away from it (Taubin, "A signal
    processing approach to fair surface design", SIGGRAPH 1995). Faces stay as they are, so a closed surface stays
    closed.
    """
    count = len(mesh.vertices)
    pairs = np.unique(edge_keys(half_edges(mesh.faces), count, directed=False))
    a, b = pairs // count, pairs % count
    degree = np.maximum(np.bincount(a, minlength=count) + np.bincount(b, minlength=count), 1)
    position = mesh.vertices.astype(np.float64)
    for _ in range(rounds):
        for factor in (SHRINK, GROW):
            around = [
                np.bincount(a, position[b, axis], count) + np.bincount(b, position[a, axis], count) for axis in range(3)
            ]
            position = position + factor * (np.stack(around, axis=-1) / degree[:, None] - position)
    return Mesh(position.astype(np.float32), mesh.faces)
