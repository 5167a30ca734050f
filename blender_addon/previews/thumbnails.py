"""Small pictures of finished jobs, fetched one at a time and kept in memory as icons. No data-block, no file.

The server writes `thumbnail.npy` beside each mesh: raw pixels, so that nothing has to be decoded between two redraws.
One request of a purpose is on its way at a time; a job whose picture cannot be had is not asked for again.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import bpy
import bpy.utils.previews
import numpy as np
from limbeck_protocol import messages
from limbeck_protocol.artifact_fetch import OUTAGE_CODES
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.job_states import JobState

from ..connection.session import Session
from .preview_image import rgba_rows_from_bottom

THUMBNAIL_NAME = "thumbnail.npy"
LIMIT_BYTES = 200 * 1024
"""What is fetched at most: one request, enough for 256 x 256 pixels and a header."""
LIMIT_SIDE = 256
NEWEST = 20
KEPT = 40
ICON_SIDE = 32


class Thumbnails:
    """Icons by job id; `step` after each pump, `clear` at the end."""

    def __init__(self) -> None:
        self._previews: bpy.utils.previews.ImagePreviewCollection | None = None
        self._refused: set[str] = set()

    def __contains__(self, job_id: str) -> bool:
        return self._previews is not None and job_id in self._previews

    def icon_id(self, job_id: str) -> int:
        """Return the icon for `layout.template_icon`; 0 while there is none, or no window to draw it."""
        return self._previews[job_id].icon_id if self._previews is not None and job_id in self._previews else 0

    def size(self, job_id: str) -> tuple[int, int]:
        """Return width and height in pixels; (0, 0) while there is none."""
        return tuple(self._previews[job_id].image_size) if job_id in self else (0, 0)

    def step(self, session: Session) -> bool:
        """Ask for the newest picture that is lacking; return whether one is being asked for."""
        wanted = self._wanted(session.jobs[:NEWEST])
        if wanted is None:
            return False
        job, artifact = wanted

        def take(reply: messages.Reply) -> None:
            image = _image_from(reply, artifact)
            if image is None:
                self._refused.add(job.job_id)
            else:
                self.show(job.job_id, image)
                session.changes += 1

        def refuse(error: LimbeckError) -> None:
            # A list without a picture is no error to be shown; one that a server's absence cost is asked for again.
            if error.code not in OUTAGE_CODES:
                self._refused.add(job.job_id)

        request = messages.ReadArtifact(job_id=job.job_id, name=artifact.name, offset=0, length=artifact.size_bytes)
        session.ask("thumbnail", request, take, refuse)
        return True

    def show(self, job_id: str, image: np.ndarray) -> None:
        """Keep (h, w, 3) uint8, first row on top, as the job's icon; the oldest makes room for it."""
        if self._previews is None:
            self._previews = bpy.utils.previews.new()
        if job_id in self._previews:
            del self._previews[job_id]
        while len(self._previews) >= KEPT:
            del self._previews[next(iter(self._previews))]
        icon = self._previews.new(job_id)
        icon.image_size = (image.shape[1], image.shape[0])
        icon.image_pixels_float.foreach_set(rgba_rows_from_bottom(image))
        small = _shrunk(image)
        icon.icon_size = (small.shape[1], small.shape[0])  # what a list's row shows
        icon.icon_pixels_float.foreach_set(rgba_rows_from_bottom(small))

    def clear(self) -> None:
        """Remove all icons from Blender."""
        if self._previews is not None:
            bpy.utils.previews.remove(self._previews)
            self._previews = None
        self._refused.clear()

    def _wanted(self, jobs: Sequence[messages.JobInfo]) -> tuple[messages.JobInfo, messages.Artifact] | None:
        for job in jobs:
            if job.state is not JobState.SUCCEEDED or job.job_id in self or job.job_id in self._refused:
                continue
            for artifact in job.artifacts:
                if artifact.name == THUMBNAIL_NAME and 0 < artifact.size_bytes <= LIMIT_BYTES:
                    return job, artifact
        return None


def _image_from(reply: messages.Reply, artifact: messages.Artifact) -> np.ndarray | None:
    """Return the picture, or None when something else came than was announced."""
    if not isinstance(reply, messages.ArtifactChunk):
        return None
    content = reply.data.tobytes()
    if hashlib.blake2b(content, digest_size=32).hexdigest() != artifact.digest:
        return None
    return read_thumbnail(content)


def read_thumbnail(content: bytes) -> np.ndarray | None:
    """Return (h, w, 3) uint8 from the bytes of a `.npy` file; None when they hold no such picture.

    The header is read first: another program wrote it, and numpy would set aside whatever memory it claims.
    """
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            return None
        shape, is_fortran, kind = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    is_picture = len(shape) == 3 and shape[2] == 3 and all(1 <= side <= LIMIT_SIDE for side in shape[:2])
    if not is_picture or is_fortran or kind != np.uint8:
        return None
    pixels = np.frombuffer(content, dtype=np.uint8, offset=stream.tell())
    return pixels.reshape(shape) if pixels.size == shape[0] * shape[1] * 3 else None


def _shrunk(image: np.ndarray) -> np.ndarray:
    """Return every n-th pixel of every n-th row, at most 32 a side."""
    every = -(-max(image.shape[:2]) // ICON_SIDE)
    return image[::every, ::every]
