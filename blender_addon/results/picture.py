"""The server's `image.png` as a checked picture, and which file of a job is its result.

Rules of this file: it knows nothing of Blender. What comes in was sent by another
program, so the file's frame is checked here, chunk by chunk, before Blender's own reader sees it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.recipe import Recipe

from .mesh_arrays import MeshArrays, read_mesh_arrays
from .png import SIGNATURE

MESH_NAME, IMAGE_NAME = "mesh.npz", "image.png"
LIMIT_SIDE = 16_384
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Of PNG's colour types without a palette: grey, RGB, and both with opacity."""
_BITS = (8, 16)
_LAST_FILTER = 4


@dataclass(frozen=True)
class Picture:
    """A PNG file whose frame was checked.

    Attributes:
        content: the whole file.
        width: in pixels, 1 to `LIMIT_SIDE`.
        height: likewise.
    """

    content: bytes
    width: int
    height: int


Result = MeshArrays | Picture


def result_name(recipe: Recipe) -> str:
    """Return the name of the artifact that a finished job's result is."""
    return IMAGE_NAME if recipe.image else MESH_NAME


def result_word(recipe: Recipe) -> str:
    """Return what a person calls that result: `picture` or `mesh`."""
    return "picture" if recipe.image else "mesh"


def read_result(recipe: Recipe, content: bytes) -> Result:
    """Return a finished job's result from the bytes of that artifact.

    Raises:
        LimbeckError: the bytes are not what they should be.
    """
    return read_picture(content) if recipe.image else read_mesh_arrays(content)


def read_picture(content: bytes) -> Picture:
    """Return a PNG file as one that may be shown: each chunk whole, as many pixels as it says, none interlaced.

    Source: W3C, Portable Network Graphics, third edition, sections 5 (chunks), 9 (filters) and 11 (IHDR).

    Raises:
        LimbeckError: the bytes are no such file, or the picture is larger than 16,384 pixels a side.
    """
    if not content.startswith(SIGNATURE):
        raise refusal("it is no PNG file.")
    chunks = list(_chunks(content))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise refusal("it does not say how large it is.")
    width, height, bits, kind, *methods = struct.unpack(">IIBBBBB", chunks[0][1])
    if not (1 <= width <= LIMIT_SIDE and 1 <= height <= LIMIT_SIDE):
        raise refusal(f"it measures {width} x {height} pixels.")
    if bits not in _BITS or kind not in _CHANNELS or methods != [0, 0, 0]:
        raise refusal(f"its pixels are of an unusual kind ({bits} bits, type {kind}).")
    row = 1 + width * _CHANNELS[kind] * bits // 8
    _check_rows(b"".join(data for name, data in chunks if name == b"IDAT"), row, height)
    return Picture(content, width, height)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (name, data) up to the end mark; what comes after that counts for nothing."""
    at = len(SIGNATURE)
    while at + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, at)
        end = at + 8 + length
        if end + 4 > len(content):
            break
        data = content[at + 8 : end]
        if struct.unpack_from(">I", content, end)[0] != zlib.crc32(data, zlib.crc32(name)):
            raise refusal("one of its parts is damaged.")
        if name == b"IEND":
            return
        yield name, data
        at = end + 4
    raise refusal("it ends too early.")


def _check_rows(packed: bytes, row: int, height: int) -> None:
    """See that so many rows are there, and no more: whatever else is packed is never unpacked."""
    unpacker = zlib.decompressobj()
    try:
        rows = unpacker.decompress(packed, row * height + 1)
    except zlib.error as error:
        raise refusal(f"its pixels cannot be unpacked ({error}).") from error
    if len(rows) != row * height or not unpacker.eof:
        raise refusal("it does not have as many pixels as it says.")
    if max(rows[::row]) > _LAST_FILTER:
        raise refusal("its rows are packed in an unknown way.")


def refusal(sentence: str) -> LimbeckError:
    """Return the error for a picture that cannot be used."""
    remedy = Remedy(action=RemedyAction.UPDATE, label="Update the server, and run the job again.")
    return LimbeckError(ErrorCode.BAD_FRAME, f"The picture that came from the server is not usable: {sentence}", remedy)
