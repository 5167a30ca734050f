"""The server's `mesh.npz` as checked arrays.

Rules of this file: it knows numpy and nothing of Blender. What comes in was sent by another program, so everything is
checked here, before Blender sees it: an index that points nowhere can crash Blender, a NaN breaks its bounding boxes.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction

LIMIT_BYTES = 2 << 30
LIMIT_VERTICES = 20_000_000
LIMIT_TEXTURE_SIDE = 16_384
LIMIT_COORDINATE = 1e4
"""In object units; the object itself fits into a ball of radius 0.6."""


@dataclass(frozen=True)
class MeshArrays:
    """A textured triangle mesh in the object's frame: origin at its centre, front -Y, up +Z.

    Attributes:
        vertices: (n, 3) float32, finite.
        faces: (m, 3) int32, each in 0..n-1, counter-clockwise seen from outside.
        vertex_colours: (n, 3) float32, sRGB, 0..1.
        corner_uv: (m, 3, 2) float32, finite; (0, 0) is the texture's lower left corner.
        texture: (h, w, 3) uint8, sRGB, first row on top.
    """

    vertices: np.ndarray
    faces: np.ndarray
    vertex_colours: np.ndarray
    corner_uv: np.ndarray
    texture: np.ndarray


_KINDS = {
    "vertices": np.float32,
    "faces": np.int32,
    "vertex_colours": np.float32,
    "corner_uv": np.float32,
    "texture": np.uint8,
}


def _refuse(sentence: str) -> LimbeckError:
    remedy = Remedy(action=RemedyAction.UPDATE, label="Update the server, and run the job again.")
    return LimbeckError(ErrorCode.BAD_FRAME, f"The mesh that came from the server is not usable: {sentence}", remedy)


def read_mesh_arrays(data: bytes) -> MeshArrays:
    """Return the checked arrays of an uncompressed `.npz` file, without ever unpickling.

    Raises:
        LimbeckError: the bytes are no such file, an array is missing, or `check_mesh_arrays` refuses them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_archive(archive)
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            missing = sorted(set(_KINDS) - set(file.files))
            if missing:
                raise _refuse(f"it lacks {', '.join(missing)}.")
            arrays = {name: file[name] for name in _KINDS}
    except LimbeckError:
        raise
    except Exception as error:  # zipfile, numpy and, for a damaged header, Python's tokenizer each have their own
        raise _refuse(f"it is no numpy archive ({type(error).__name__}).") from error
    mesh = MeshArrays(**arrays)
    check_mesh_arrays(mesh)
    return mesh


def _check_archive(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if sum(entry.file_size for entry in entries) > LIMIT_BYTES:
        raise _refuse(f"it would unpack to more than {LIMIT_BYTES >> 30} GiB.")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise _refuse("its arrays are compressed; stored ones were expected.")


def check_mesh_arrays(mesh: MeshArrays) -> None:
    """Return nothing, or raise.

    Raises:
        LimbeckError: a type, shape, index, coordinate, colour or size is not what `MeshArrays` promises.
    """
    for name, kind in _KINDS.items():
        value = getattr(mesh, name)
        if not isinstance(value, np.ndarray) or value.dtype != kind:
            raise _refuse(f"{name} should be {np.dtype(kind).name}, came as {getattr(value, 'dtype', type(value))}.")
    count = len(mesh.vertices) if mesh.vertices.ndim else 0
    _check_shape("vertices", mesh.vertices, (None, 3))
    _check_shape("faces", mesh.faces, (None, 3))
    _check_shape("vertex_colours", mesh.vertex_colours, (count, 3))
    _check_shape("corner_uv", mesh.corner_uv, (len(mesh.faces), 3, 2))
    _check_shape("texture", mesh.texture, (None, None, 3))
    if not 3 <= count <= LIMIT_VERTICES or not 1 <= len(mesh.faces) <= 2 * LIMIT_VERTICES:
        raise _refuse(f"it has {count} vertices and {len(mesh.faces)} faces.")
    if not 1 <= min(mesh.texture.shape[:2]) <= max(mesh.texture.shape[:2]) <= LIMIT_TEXTURE_SIDE:
        raise _refuse(f"its texture measures {mesh.texture.shape[1]} x {mesh.texture.shape[0]} pixels.")
    if mesh.faces.min() < 0 or mesh.faces.max() >= count:
        raise _refuse(f"its faces name vertices {mesh.faces.min()} to {mesh.faces.max()}, and it has {count}.")
    # Written so that a NaN fails: every comparison with it is false.
    if not (np.abs(mesh.vertices) <= LIMIT_COORDINATE).all():
        raise _refuse("a vertex is not finite, or lies absurdly far away.")
    if not (np.abs(mesh.corner_uv) <= LIMIT_COORDINATE).all():
        raise _refuse("a UV coordinate is not finite, or absurdly large.")
    if not ((mesh.vertex_colours >= -1e-3) & (mesh.vertex_colours <= 1.001)).all():
        raise _refuse("a vertex colour lies outside 0..1.")


def has_clean_faces(mesh: MeshArrays) -> bool:
    """Return whether no face names a vertex twice and no two faces have the same three vertices.

    Such faces are harmless to look at and fatal to some of Blender's tools. The arrays must have been checked. Above
    two million vertices the keys wrap around, which can only make a clean mesh look as if it were not.
    """
    first, second, third = (np.ascontiguousarray(mesh.faces[:, corner]) for corner in range(3))
    low, high = np.minimum(np.minimum(first, second), third), np.maximum(np.maximum(first, second), third)
    middle = first ^ second ^ third ^ low ^ high  # what is left of three when two of them are taken out
    if ((middle == low) | (middle == high)).any():
        return False
    count = len(mesh.vertices)
    # NumPy 1, which Blender has up to 5.0, would keep 32 bits, and take most clean meshes for unclean ones.
    keys = (low.astype(np.int64) * count + middle) * count + high
    keys.sort()
    return not (keys[1:] == keys[:-1]).any()


def _check_shape(name: str, value: np.ndarray, expected: tuple[int | None, ...]) -> None:
    fits = value.ndim == len(expected) and all(
        want is None or have == want for have, want in zip(value.shape, expected, strict=True)
    )
    if not fits:
        wanted = " x ".join("n" if side is None else str(side) for side in expected)
        raise _refuse(
            f"{name} should measure {wanted}, came as {' x '.join(map(str, value.shape)) or 'a single value'}."
        )
