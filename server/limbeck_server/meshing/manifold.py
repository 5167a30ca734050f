"""Taking apart what touches itself: edges that join four faces become two edges that join two each.

Edge collapses pinch: where a thin tunnel or bridge shrinks to nothing, two sheets of the surface come to share an
edge. The surface is still closed, but no longer a manifold, and programs that ask "which face is next?" have no
answer. Here the solid's own wedges decide: around such an edge, faces that bound the same wedge of solid stay
together.
"""

from __future__ import annotations

import numpy as np

from limbeck_server.meshing.mesh import Array, edge_keys, half_edges

APART = 1e-3
"""Copies of a vertex move this share of the way to their own neighbours, or merging equal places would join them."""


def connected(a: Array, b: Array, count: int) -> Array:
    """Return (count,) int64: the lowest node that each of `count` nodes is connected to by the links a[i] - b[i]."""
    parent: Array = np.arange(count)
    while True:  # every root takes the lowest root it is linked to, then every node jumps to its root's root
        before = parent
        lowest = np.minimum(parent[a], parent[b])
        parent = parent.copy()
        for linked in (before[a], before[b], a, b):
            np.minimum.at(parent, linked, lowest)
        parent = parent[parent]
        if np.array_equal(parent, before):
            return parent


def cancel_folds(faces: Array) -> Array:
    """Return the faces without those that use a vertex twice and without faces that lie back to back."""
    while True:
        distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        faces = faces[distinct]
        lowest = faces.argmin(axis=1)
        turned = np.take_along_axis(faces, (lowest[:, None] + np.arange(3)) % 3, axis=1)
        side = np.where(turned[:, 1] < turned[:, 2], 1, -1)
        _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
        group = group.reshape(-1)
        # One face of each side goes in each round, so that three copies leave one.
        doomed = np.zeros(len(faces), dtype=bool)
        firsts = []
        for sign in (1, -1):
            rows = np.flatnonzero(side == sign)
            groups, first = np.unique(group[rows], return_index=True)
            firsts.append(dict(zip(groups.tolist(), rows[first].tolist(), strict=True)))
        for key in firsts[0].keys() & firsts[1].keys():
            doomed[[firsts[0][key], firsts[1][key]]] = True
        if not doomed.any():
            return faces
        faces = faces[~doomed]


def _matched_around_edge(vertices: Array, faces: Array, halves: Array, edges: Array) -> list[tuple[int, int]]:
    """Return the half-edges of one edge in pairs: each that runs backwards with the one that ends its wedge of solid.

    Seen along the edge from its lower to its higher vertex, a face that contains the edge in this direction has the
    solid just before it (counter-clockwise), one in the other direction just behind it: wedges open and close like
    brackets.
    """
    low, high = int(edges[halves[0]].min()), int(edges[halves[0]].max())
    axis = vertices[high].astype(np.float64) - vertices[low]
    axis /= max(float(np.linalg.norm(axis)), 1e-30)
    helper = np.eye(3)[np.abs(axis).argmin()]
    across = np.cross(axis, helper)
    across /= np.linalg.norm(across)
    up = np.cross(axis, across)
    corners = faces[halves % len(faces)]
    third = np.array([next(v for v in row if v not in (low, high)) for row in corners.tolist()])
    reach = vertices[third].astype(np.float64) - vertices[low]
    angle = np.arctan2(reach @ up, reach @ across)
    forward = edges[halves, 0] == low
    order = np.lexsort((forward, angle))
    # Start behind the deepest point, so that every bracket closes.
    depth = np.cumsum(np.where(forward[order], -1, 1))
    order = np.roll(order, -(int(depth.argmin()) + 1))
    opened: list[int] = []
    pairs = []
    for place in order:
        if forward[place]:
            pairs.append((int(halves[opened.pop()]), int(halves[place])))
        else:
            opened.append(int(place))
    return pairs


def _pair_half_edges(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Return the half-edges (see `mesh.half_edges`) that lie opposite each other: two arrays (k,)."""
    edges = half_edges(faces)
    keys = edge_keys(edges, len(vertices), directed=False)
    order = np.argsort(keys, kind="stable")
    _, first, uses = np.unique(keys[order], return_index=True, return_counts=True)
    plain = first[uses == 2]
    one, two = [order[plain]], [order[plain + 1]]
    for start, count in zip(first[uses > 2], uses[uses > 2], strict=True):
        pairs = np.array(_matched_around_edge(vertices, faces, order[start : start + count], edges))
        one.append(pairs[:, 0])
        two.append(pairs[:, 1])
    return np.concatenate(one), np.concatenate(two)


def _split_vertices(vertices: Array, faces: Array, one: Array, two: Array) -> tuple[Array, Array]:
    """Return vertices and faces where each vertex has one fan of faces: corners are joined across paired half-edges."""
    count = len(faces)
    tail_one, tail_two = (half % count * 3 + half // count for half in (one, two))  # corner = 3 * face + place
    head_one, head_two = (half % count * 3 + (half // count + 1) % 3 for half in (one, two))
    labels = connected(np.concatenate([tail_one, head_one]), np.concatenate([head_two, tail_two]), 3 * count)
    groups, new_faces = np.unique(labels, return_inverse=True)
    return vertices[faces.ravel()[groups]], new_faces.reshape(-1, 3)


def _split_edge(
    vertices: Array, faces: Array, face_pair: tuple[int, int], ends: tuple[int, int]
) -> tuple[Array, Array]:
    """Return vertices and faces with a new vertex in the middle of one edge, for the two given faces only."""
    middle = len(vertices)
    vertices = np.concatenate([vertices, vertices[list(ends)].mean(axis=0, keepdims=True, dtype=np.float64)])
    faces = faces.copy()
    added = []
    for face in face_pair:
        row = faces[face].copy()
        place = next(k for k in range(3) if {int(row[k]), int(row[(k + 1) % 3])} == set(ends))
        a, b, c = row[place], row[(place + 1) % 3], row[(place + 2) % 3]
        faces[face] = a, middle, c
        added.append([middle, b, c])
    return vertices, np.concatenate([faces, np.array(added, dtype=faces.dtype)])


def make_manifold(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Return vertices (n, 3) float32 and faces (m, 3) int32 of the same surface with every edge between two faces.

    Args:
        vertices: (n, 3).
        faces: (m, 3), closed: along every edge as many faces run one way as the other.

    Raises:
        ValueError: the surface is open.
    """
    faces = cancel_folds(faces)
    edges = half_edges(faces)
    there, back = (np.sort(edge_keys(way, len(vertices), directed=True)) for way in (edges, edges[:, ::-1]))
    if not np.array_equal(there, back):
        raise ValueError("only a closed surface can be made a manifold; one with a border came: close it first")
    count = len(vertices)
    one, two = _pair_half_edges(vertices, faces)
    split, faces = _split_vertices(vertices.astype(np.float64), faces, one, two)
    # Sheets that meet again further on still share both ends of an edge: give one of them a vertex of its own between.
    while True:
        keys = edge_keys(half_edges(faces), len(split), directed=True)
        order = np.argsort(keys, kind="stable")
        again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
        if not len(again):
            break
        half = int(order[again[0] + 1])
        one, two = _pair_half_edges(split, faces)
        partner = int(two[one == half][0]) if (one == half).any() else int(one[two == half][0])
        ends = half_edges(faces)[half]
        pair = (half % len(faces), partner % len(faces))
        split, faces = _split_edge(split, faces, pair, (int(ends[0]), int(ends[1])))
    if len(split) != count:
        split = _move_copies_apart(split, faces)
    return split.astype(np.float32), faces.astype(np.int32)


def _move_copies_apart(vertices: Array, faces: Array) -> Array:
    """Return the vertices (n, 3), those at the same place as another moved a little towards their own neighbours."""
    _, group, uses = np.unique(vertices, axis=0, return_inverse=True, return_counts=True)
    copies = np.flatnonzero(uses[group.reshape(-1)] > 1)
    a, b = half_edges(faces).T
    degree = np.maximum(np.bincount(a, minlength=len(vertices)), 1)
    around = (
        np.stack([np.bincount(a, vertices[b, axis], len(vertices)) for axis in range(3)], axis=-1) / degree[:, None]
    )
    moved = vertices.copy()
    moved[copies] += APART * (around - vertices)[copies]
    return moved
