"""One artifact, pulled in chunks without ever waiting, its digest checked before anybody sees a byte of it."""

from __future__ import annotations

import hashlib
from collections import deque

from limbeck_protocol import messages
from limbeck_protocol.client import Client, Ticket
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.limits import LIMITS

from ..results.mesh_arrays import LIMIT_BYTES

_CHUNKS_IN_FLIGHT = 4


class Download:
    """Ask on with `advance()` until it returns the bytes."""

    def __init__(self, client: Client, job_id: str, artifact: messages.Artifact) -> None:
        if not 0 <= artifact.size_bytes <= LIMIT_BYTES:
            raise _damaged(artifact, f"it is said to have {artifact.size_bytes} bytes")
        self.artifact = artifact
        self._client, self._job_id = client, job_id
        self._content = bytearray()
        self._digest = hashlib.blake2b(digest_size=32)
        self._asked = 0
        self._tickets: deque[Ticket] = deque()

    @property
    def share(self) -> float:
        """How much of it is here, 0..1."""
        return len(self._content) / max(1, self.artifact.size_bytes)

    def advance(self) -> bytes | None:
        """Take what has come, ask for more; return the whole artifact once it is here.

        Raises:
            LimbeckError: the server refuses or stays away, or sent something else than it announced.
        """
        # In order, so that the digest can follow along instead of being one long pause at the end.
        while self._tickets and self._tickets[0].done:
            self._take(self._tickets.popleft().result())
        while self._asked < self.artifact.size_bytes and len(self._tickets) < _CHUNKS_IN_FLIGHT:
            length = min(LIMITS.chunk_bytes, self.artifact.size_bytes - self._asked)
            request = messages.ReadArtifact(
                job_id=self._job_id, name=self.artifact.name, offset=self._asked, length=length
            )
            self._tickets.append(self._client.request(request))
            self._asked += length
        if len(self._content) < self.artifact.size_bytes:
            return None
        if self._digest.hexdigest() != self.artifact.digest:
            raise _damaged(self.artifact, "its digest is not the one announced")
        return bytes(self._content)

    def stop(self) -> None:
        """Take back what is still asked for."""
        for ticket in self._tickets:
            self._client.abandon(ticket)
        self._tickets.clear()

    def _take(self, reply: messages.Reply) -> None:
        expected = min(LIMITS.chunk_bytes, self.artifact.size_bytes - len(self._content))
        fits = isinstance(reply, messages.ArtifactChunk) and reply.offset == len(self._content)
        if not fits or reply.data.nbytes != expected:
            raise _damaged(self.artifact, f"{expected} bytes from {len(self._content)} on were expected")
        data = reply.data.tobytes()
        self._content += data
        self._digest.update(data)


def artifact_named(info: messages.JobInfo, name: str) -> messages.Artifact:
    """Return the artifact of that name.

    Raises:
        LimbeckError: ARTIFACT_NOT_FOUND; the job has made none.
    """
    for artifact in info.artifacts:
        if artifact.name == name:
            return artifact
    raise LimbeckError(ErrorCode.ARTIFACT_NOT_FOUND, f"The job has ended without the artifact {name}.")


def _damaged(artifact: messages.Artifact, what: str) -> LimbeckError:
    remedy = Remedy(action=RemedyAction.RETRY, label="Import it again; if that does not help, run the job again.")
    return LimbeckError(ErrorCode.CANNOT_READ, f"The artifact {artifact.name} did not arrive whole: {what}.", remedy)
