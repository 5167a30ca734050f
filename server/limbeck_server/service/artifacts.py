"""Files of finished jobs: described once, then read in chunks.

Path safety: a name matches the wire's pattern (no separator, no leading dot), the last component is opened without
following links, and what was opened must be a regular file in the job's own `artifacts` folder, itself no link.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.messages import Artifact

FOLDER_NAME = "artifacts"
_NAME = re.compile(r"\A[a-z0-9][a-z0-9_.-]{0,63}\Z")
_JOB_ID = re.compile(r"\A[A-Za-z0-9_-]{8,64}\Z")


def job_folder(jobs: Path, job_id: str) -> Path:
    """Return the job's own folder under `jobs`; nothing is made.

    Raises:
        LimbeckError: `INVALID_FIELD`: the id holds anything but 8 to 64 letters, digits, hyphens and underscores.
    """
    if not _JOB_ID.match(job_id):
        raise LimbeckError(
            ErrorCode.INVALID_FIELD, "Expected a job id of 8 to 64 letters, digits, hyphens or underscores."
        )
    return jobs / job_id


def describe(folder: Path, name: str, media_type: str) -> Artifact:
    """Return size and blake2b-256 digest of the file `name` in the job's `folder`.

    Raises:
        LimbeckError: `INVALID_FIELD` for a name that is none, `ARTIFACT_NOT_FOUND` when no such regular file exists.
    """
    with _open(folder, name) as file:
        digest = hashlib.blake2b(digest_size=32)
        size = 0
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    return Artifact(name=name, size_bytes=size, digest=digest.hexdigest(), media_type=media_type)


def read_chunk(folder: Path, name: str, offset: int, length: int) -> bytes:
    """Return up to `length` bytes of the file from `offset`; fewer at its end, none at exactly its end.

    Raises:
        LimbeckError: as `describe`; `INVALID_FIELD` when `offset` lies beyond the end.
    """
    with _open(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        if offset > size:
            raise LimbeckError(
                ErrorCode.INVALID_FIELD, f"Artifact {name} has {size} bytes; it cannot be read from byte {offset}."
            )
        file.seek(offset)
        return file.read(length)


@contextmanager
def _open(folder: Path, name: str) -> Iterator[BinaryIO]:
    if not _NAME.match(name):
        raise LimbeckError(
            ErrorCode.INVALID_FIELD,
            "Expected an artifact's name of up to 64 lower-case letters, digits, dots, hyphens or underscores.",
        )
    missing = LimbeckError(ErrorCode.ARTIFACT_NOT_FOUND, f"The file {name} of job {folder.name} is not there.")
    place = folder / FOLDER_NAME
    if place.is_symlink() or folder.is_symlink():
        raise missing
    try:
        # O_NONBLOCK, so that a named pipe cannot hold the server up; it has no effect on regular files.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(place / name, flags)
    except OSError as error:
        raise missing from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or (place / name).resolve().parent != place.resolve():
        os.close(descriptor)
        raise missing
    with os.fdopen(descriptor, "rb") as file:
        yield file
