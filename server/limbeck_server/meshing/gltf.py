"""Binary glTF. The only place of the whole project that converts axes.

World (Z up, front -Y) becomes glTF's frame (Y up, front +Z): (x, y, z) -> (x, z, -y), a rotation, so winding stays.

A GLB carries the texture *or* vertex colours, never both: glTF multiplies the base colour by COLOR_0, so a textured
object would be coloured twice. Vertex colours of a textured mesh travel in the array file (`arrays.py`) instead. glTF
reads COLOR_0 as linear light and base-colour textures as display-coded (sRGB); ours are display-coded, so vertex
colours are decoded on the way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image

from limbeck_server.meshing.mesh import Array, Mesh, check_mesh
from limbeck_server.meshing.normals import vertex_normals

METALLIC = 0.0
ROUGHNESS = 0.9
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF 2.0, section 5.11 (bufferView.target)


def to_gltf_frame(vectors: Array) -> Array:
    """Return positions or directions (n, 3), turned from the world's frame into glTF's."""
    return np.ascontiguousarray(np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], axis=-1))


def linear_from_srgb(colours: Array) -> Array:
    """Return linear light in 0..1 for display-coded colours in 0..1 (IEC 61966-2-1)."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def split_at_seams(faces: Array, corner_uv: Array) -> tuple[Array, Array, Array]:
    """Return what formats without corner UVs need: one vertex for each pair of vertex and UV in use.

    Returns:
        sources (k,) int64, each new vertex's place in the mesh's; uv (k, 2) float32; faces (m, 3) int64 over the new
        vertices.
    """
    uv = corner_uv.reshape(-1, 2)
    bits = np.ascontiguousarray(uv, dtype=np.float32).view(np.int32).astype(np.int64)
    keys = np.stack([faces.ravel().astype(np.int64), bits[:, 0], bits[:, 1]], axis=-1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return faces.ravel()[first].astype(np.int64), uv[first], inverse.reshape(-1, 3)


def _name_buffer_targets(tree: dict[str, Any]) -> None:
    """Say of each buffer view whether it holds vertices or indices, as glTF recommends; trimesh leaves it out."""
    for description in tree["meshes"]:
        for primitive in description["primitives"]:
            for accessor in primitive["attributes"].values():
                tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]["target"] = ARRAY_BUFFER
            index_view = tree["accessors"][primitive["indices"]]["bufferView"]
            tree["bufferViews"][index_view]["target"] = ELEMENT_ARRAY_BUFFER


def glb_bytes(mesh: Mesh, name: str) -> bytes:
    """Return the mesh as binary glTF: the same bytes for the same mesh and name.

    With UVs and a texture: positions, normals, UVs and an embedded PNG. Else with vertex colours: COLOR_0. Else plain.

    Raises:
        ValueError: the mesh is malformed or has no faces.
    """
    check_mesh(mesh)
    if not len(mesh.faces):
        raise ValueError("a GLB needs at least one face; an empty mesh came")
    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else mesh.normals
    material = trimesh.visual.material.PBRMaterial(
        name=name, metallicFactor=METALLIC, roughnessFactor=ROUGHNESS, baseColorFactor=[255, 255, 255, 255]
    )
    vertices, faces = mesh.vertices, mesh.faces
    if mesh.corner_uv is not None and mesh.texture is not None:
        sources, uv, faces = split_at_seams(mesh.faces, mesh.corner_uv)
        vertices, normals = vertices[sources], normals[sources]
        material.baseColorTexture = Image.fromarray(mesh.texture)  # embedded as PNG
        visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    elif mesh.vertex_colours is not None:
        linear = (linear_from_srgb(np.clip(mesh.vertex_colours, 0.0, 1.0)) * 255 + 0.5).astype(np.uint8)
        opaque = np.full((len(linear), 1), 255, dtype=np.uint8)
        visual = trimesh.visual.ColorVisuals(vertex_colors=np.hstack([linear, opaque]))
    else:
        visual = trimesh.visual.TextureVisuals(material=material)
    body = trimesh.Trimesh(
        to_gltf_frame(vertices),
        faces,
        vertex_normals=to_gltf_frame(normals),
        visual=visual,
        process=False,
        validate=False,
    )
    scene = trimesh.Scene()
    scene.add_geometry(body, node_name=name, geom_name=name)
    data: bytes = trimesh.exchange.gltf.export_glb(scene, include_normals=True, tree_postprocessor=_name_buffer_targets)
    return data


def write_glb(path: str | Path, mesh: Mesh, name: str) -> None:
    """Write the mesh as binary glTF under `path`, whole or not at all.

    Raises:
        ValueError: the mesh is malformed or has no faces.
        OSError: the place cannot be written.
    """
    path = Path(path)
    data = glb_bytes(mesh, name)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)
