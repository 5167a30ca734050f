"""The mesh as plain arrays in one file: what Blender imports, readable with numpy alone.

An uncompressed .npz with the members `vertices` (n, 3) f4, `faces` (m, 3) i4 and, where the mesh has them, `normals`
(n, 3) f4, `vertex_colours` (n, 3) f4, `corner_uv` (m, 3, 2) f4, `texture` (h, w, 3) u1; all little-endian, in the
world's frame. numpy stamps every member 1980-01-01, so equal meshes give equal bytes.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from limbeck_server.meshing.mesh import Mesh, check_mesh

DTYPES = {
    "vertices": "<f4",
    "faces": "<i4",
    "normals": "<f4",
    "vertex_colours": "<f4",
    "corner_uv": "<f4",
    "texture": "|u1",
}


def write_mesh_arrays(path: str | Path, mesh: Mesh) -> None:
    """Write the mesh's arrays under `path`, whole or not at all.

    Raises:
        ValueError: the mesh is malformed.
        OSError: the place cannot be written.
    """
    check_mesh(mesh)
    path = Path(path)
    arrays = {
        name: np.ascontiguousarray(getattr(mesh, name), dtype=dtype)
        for name, dtype in DTYPES.items()
        if getattr(mesh, name) is not None
    }
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)
    part.replace(path)


def read_mesh_arrays(path: str | Path) -> Mesh:
    """Return the mesh that `write_mesh_arrays` wrote.

    Raises:
        ValueError: the file is no mesh file, or its arrays do not agree with each other.
        OSError: the file cannot be read.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, ValueError, EOFError, AttributeError) as error:
        raise ValueError(f"{path} is not a mesh file (.npz as Limbeck writes it): {error}") from error
    unknown, missing = sorted(set(arrays) - set(DTYPES)), sorted({"vertices", "faces"} - set(arrays))
    if unknown or missing:
        raise ValueError(f"{path} is not a mesh file: it lacks {missing} and holds the unknown {unknown}")
    mesh = Mesh(**arrays)
    check_mesh(mesh)
    return mesh
