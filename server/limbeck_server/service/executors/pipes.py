"""Blobs over pipes: four bytes of length, little-endian, then the blob. Both ends of a worker's pipes speak this."""

from __future__ import annotations

from typing import BinaryIO

from limbeck_protocol.limits import LIMITS

MAX_BLOB_BYTES = LIMITS.reply_message_bytes + 4 * LIMITS.reply_payload_frames + 64 * 1024
"""The largest message that the codec lets through, and its packing."""

CANCEL = b"cancel"
"""What ends a job. Else a server says viewers' requests, packed; the end of the pipe says that the server is gone."""


class BadBlobError(Exception):
    """The other end wrote something that is no blob."""


def write_blob(pipe: BinaryIO, blob: bytes) -> None:
    """Write one blob, whole.

    Raises:
        OSError: the other end is gone.
    """
    pipe.write(len(blob).to_bytes(4, "little"))
    pipe.write(blob)
    pipe.flush()


def read_blob(pipe: BinaryIO) -> bytes | None:
    """Return the next blob; None at the end of the pipe, also when the other end died inside a blob.

    Raises:
        BadBlobError: the blob would be longer than any message.
    """
    head = pipe.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "little")
    if size > MAX_BLOB_BYTES:
        raise BadBlobError(f"expected a blob of at most {MAX_BLOB_BYTES} bytes; its head says {size}")
    blob = pipe.read(size)
    return blob if len(blob) == size else None
