"""The frames of one message as one blob, for pipes that carry one run of bytes per message.

A worker process talks to its server this way: same messages, same codec, no socket.
"""

from __future__ import annotations

from collections.abc import Sequence

from limbeck_protocol.errors import CodecError, ErrorCode
from limbeck_protocol.limits import LIMITS, Limits

Frame = bytes | memoryview

_BLOB_MAGIC = b"LBK1"
_ALIGNMENT = 8
"""Frames start at multiples of it, so that arrays in them are aligned."""


def pack_frames(frames: Sequence[Frame]) -> bytes:
    """Return the frames of one message as one blob, for pipes that keep message boundaries.

    Layout: magic, number of frames, size of each (unsigned 32 bits, little-endian), then the frames, each padded with
    zeros to a multiple of 8 bytes.
    """
    views = [flat_view(frame) for frame in frames]
    head = _BLOB_MAGIC + b"".join(n.to_bytes(4, "little") for n in (len(views), *(view.nbytes for view in views)))
    parts: list[Frame] = [_padded(head)]
    for view in views:
        parts += [view, bytes(-view.nbytes % _ALIGNMENT)]
    return b"".join(parts)


def unpack_frames(blob: Frame, limits: Limits = LIMITS) -> list[memoryview]:
    """Return the frames that `pack_frames` packed, without a copy.

    Raises:
        CodecError: BAD_FRAME when the blob is not one, TOO_LARGE when it breaks a limit of replies.
    """
    view = flat_view(blob)
    if view.nbytes < 8 or bytes(view[:4]) != _BLOB_MAGIC:
        raise CodecError(ErrorCode.BAD_FRAME, "expected a blob of frames; its first bytes say that it is none")
    count = int.from_bytes(view[4:8], "little")
    if not 1 <= count <= limits.reply_payload_frames + 1:
        raise CodecError(ErrorCode.TOO_LARGE, f"expected 1 to {limits.reply_payload_frames + 1} frames, not {count}")
    table_end = 8 + 4 * count
    if view.nbytes < table_end:
        raise CodecError(ErrorCode.BAD_FRAME, "the blob ends inside its table of sizes")
    sizes = [int.from_bytes(view[8 + 4 * i : 12 + 4 * i], "little") for i in range(count)]
    starts, end = [], table_end + (-table_end % _ALIGNMENT)
    for size in sizes:
        starts.append(end)
        end += size + (-size % _ALIGNMENT)
    if end != view.nbytes:
        raise CodecError(ErrorCode.BAD_FRAME, f"expected a blob of {end} bytes; it has {view.nbytes}")
    return [view[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)


def flat_view(frame: Frame) -> memoryview:
    """Return the frame's bytes, flat and without a copy."""
    view = memoryview(frame)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
