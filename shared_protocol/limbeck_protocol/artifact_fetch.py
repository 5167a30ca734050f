"""Artifacts over the wire: asked for in chunks, several at once, whole and digested before anybody sees them."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from limbeck_protocol import messages
from limbeck_protocol.connection import Connection
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.tickets import Ticket

OUTAGE_CODES = frozenset({ErrorCode.NO_SERVER, ErrorCode.SERVER_LOST, ErrorCode.TIMEOUT})
"""Errors that pass when the server comes back."""

_MAX_BYTES_IN_MEMORY = 1 << 32

OnBytes = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""
_Put = Callable[[int, bytes], None]


def fetch_bytes(
    connection: Connection, job_id: str, artifact: messages.Artifact, progress: OnBytes | None, outage_s: float
) -> bytes:
    """Return the whole artifact, its digest checked.

    Raises:
        LimbeckError: the server refuses, stays away longer than `outage_s`, or sends something else than it announced.
    """
    if not 0 <= artifact.size_bytes <= _MAX_BYTES_IN_MEMORY:
        raise _damaged(artifact, f"it is said to have {artifact.size_bytes} bytes")
    content = bytearray(artifact.size_bytes)

    def put(offset: int, data: bytes) -> None:
        content[offset : offset + len(data)] = data

    _fetch_chunks(connection, job_id, artifact, put, progress, outage_s)
    _check_digest(hashlib.blake2b(content, digest_size=32).hexdigest(), artifact)
    return bytes(content)


def fetch_file(
    connection: Connection,
    job_id: str,
    artifact: messages.Artifact,
    path: Path,
    progress: OnBytes | None,
    outage_s: float,
) -> None:
    """Write the whole artifact to `path`, its digest checked; until then, nothing stands under that name.

    Raises:
        LimbeckError: as `fetch_bytes`, or CANNOT_WRITE.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb+") as file:

            def put(offset: int, data: bytes) -> None:
                file.seek(offset)
                file.write(data)

            _fetch_chunks(connection, job_id, artifact, put, progress, outage_s)
            file.flush()
            _check_digest(_digest_of(file), artifact)
        temporary.replace(path)
    except OSError as error:
        sentence = f"{path} cannot be written: {error.strerror or error}."
        raise LimbeckError(ErrorCode.CANNOT_WRITE, sentence) from error
    finally:
        with contextlib.suppress(OSError):  # it was never made, or has its final name
            temporary.unlink()


def _fetch_chunks(
    connection: Connection,
    job_id: str,
    artifact: messages.Artifact,
    put: _Put,
    progress: OnBytes | None,
    outage_s: float,
) -> None:
    """Keep up to 8 chunks on their way; a chunk that an outage swallowed is asked for again."""
    waiting = list(range(0, artifact.size_bytes, LIMITS.chunk_bytes))[::-1]
    on_their_way: dict[int, Ticket] = {}
    done_bytes, last_success = 0, time.monotonic()
    try:
        while waiting or on_their_way:
            while waiting and len(on_their_way) < LIMITS.chunks_in_flight:
                offset = waiting.pop()
                length = min(LIMITS.chunk_bytes, artifact.size_bytes - offset)
                on_their_way[offset] = connection.request(
                    messages.ReadArtifact(job_id=job_id, name=artifact.name, offset=offset, length=length),
                    listed=False,
                )
            connection.wait(0.1)
            for offset in [offset for offset, ticket in on_their_way.items() if ticket.done]:
                try:
                    data = _chunk_of(on_their_way.pop(offset), offset, artifact)
                except LimbeckError as error:
                    if error.code not in OUTAGE_CODES or time.monotonic() - last_success > outage_s:
                        raise
                    waiting.append(offset)
                    continue
                put(offset, data)
                last_success = time.monotonic()
                done_bytes += len(data)
                if progress is not None:
                    progress(done_bytes, artifact.size_bytes)
    finally:
        for ticket in on_their_way.values():
            connection.abandon(ticket)


def _chunk_of(ticket: Ticket, offset: int, artifact: messages.Artifact) -> bytes:
    reply = ticket.result()
    expected = min(LIMITS.chunk_bytes, artifact.size_bytes - offset)
    if not isinstance(reply, messages.ArtifactChunk) or reply.offset != offset or reply.data.nbytes != expected:
        raise _damaged(artifact, f"expected {expected} bytes from {offset} on, and something else came")
    return reply.data.tobytes()


def _digest_of(file: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=32)
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _check_digest(found: str, artifact: messages.Artifact) -> None:
    if found != artifact.digest:
        raise _damaged(artifact, f"expected the digest {artifact.digest[:16]}..., it is {found[:16]}...")


def _damaged(artifact: messages.Artifact, what: str) -> LimbeckError:
    remedy = Remedy(action=RemedyAction.RETRY, label="Fetch it again; if that does not help, run the job again.")
    return LimbeckError(ErrorCode.CANNOT_READ, f"The artifact {artifact.name} did not arrive whole: {what}.", remedy)
