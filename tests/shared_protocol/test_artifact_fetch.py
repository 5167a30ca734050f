"""Artifacts over the wire: whole, checked, and resumed after whatever happened in between."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limbeck_protocol import messages as m
from limbeck_protocol.client import Patience
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.replies import error_reply

LONG = Patience(timeout_s=2.5, tries=3)
JOB = "abcdefgh"


def not_found(name: str) -> m.Reply:
    return error_reply(LimbeckError(ErrorCode.ARTIFACT_NOT_FOUND, f"There is no {name}."))


class Shelf:
    """Serves one artifact, and can drop requests or lie."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.digest = hashlib.blake2b(content, digest_size=32).hexdigest()
        self.reads = 0
        self.drop: set[int] = set()

    def answer(self, message: m.Request) -> m.Reply | None:
        if isinstance(message, m.StatArtifact):
            info = m.Artifact(name=message.name, size_bytes=len(self.content), digest=self.digest, media_type="x/y")
            return m.ArtifactInfo(artifact=info) if message.name == "mesh.glb" else not_found(message.name)
        assert isinstance(message, m.ReadArtifact)
        self.reads += 1
        if self.reads in self.drop:
            return None
        data = self.content[message.offset : message.offset + message.length]
        return m.ArtifactChunk(offset=message.offset, data=np.frombuffer(data, np.uint8))


def content_of(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


MIB = LIMITS.chunk_bytes


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 12 * MIB + 17])
def test_artifacts_of_any_size_arrive_whole(serve: Any, connect: Any, size: int) -> None:
    content = content_of(size)
    client = connect(serve(Shelf(content).answer).endpoint, patience=LONG)
    told: list[tuple[int, int]] = []
    assert client.fetch_artifact(JOB, "mesh.glb", progress=lambda done, total: told.append((done, total))) == content
    assert client.poll() == []
    assert told == sorted(told)
    assert not told or told[-1] == (size, size)


def test_artifacts_are_written_whole_or_not_at_all(serve: Any, connect: Any, tmp_path: Path) -> None:
    content = content_of(3 * MIB + 5)
    client = connect(serve(Shelf(content).answer).endpoint, patience=LONG)
    path = tmp_path / "duck.glb"
    path.write_bytes(b"old")
    assert client.fetch_artifact(JOB, "mesh.glb", path) == path
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_lost_chunks_are_asked_for_again(serve: Any, connect: Any) -> None:
    shelf = Shelf(content_of(10 * MIB))
    shelf.drop = {1, 3, 4, 9}
    client = connect(serve(shelf.answer).endpoint, patience=Patience(timeout_s=0.3, tries=5))
    assert client.fetch_artifact(JOB, "mesh.glb") == shelf.content


def test_a_fetch_goes_on_after_the_server_was_started_again(serve: Any, connect: Any) -> None:
    shelf = Shelf(content_of(20 * MIB))
    first = serve(shelf.answer)
    client = connect(first.endpoint, patience=LONG)
    servers = [first]

    def restart_once(done: int, total: int) -> None:
        if len(servers) == 1 and done > 6 * MIB:
            first.stop()
            servers.append(serve(shelf.answer, port=first.port))

    assert client.fetch_artifact(JOB, "mesh.glb", progress=restart_once) == shelf.content
    assert len(servers) == 2


def test_a_damaged_artifact_is_refused_and_leaves_nothing(serve: Any, connect: Any, tmp_path: Path) -> None:
    shelf = Shelf(content_of(2 * MIB))
    shelf.digest = "00" * 32
    client = connect(serve(shelf.answer).endpoint, patience=LONG)
    for path in (None, tmp_path / "duck.glb"):
        with pytest.raises(LimbeckError, match="digest") as caught:
            client.fetch_artifact(JOB, "mesh.glb", path)
        assert caught.value.code == ErrorCode.CANNOT_READ
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_of_the_wrong_size_is_refused(serve: Any, connect: Any) -> None:
    shelf = Shelf(content_of(100))
    whole = shelf.answer

    def short(message: m.Request) -> m.Reply | None:
        reply = whole(message)
        return m.ArtifactChunk(offset=0, data=reply.data[:-1]) if isinstance(reply, m.ArtifactChunk) else reply

    client = connect(serve(short).endpoint, patience=LONG)
    with pytest.raises(LimbeckError, match="expected 100 bytes"):
        client.fetch_artifact(JOB, "mesh.glb")


def test_a_place_that_cannot_be_written_is_a_sentence(serve: Any, connect: Any, tmp_path: Path) -> None:
    client = connect(serve(Shelf(b"abc").answer).endpoint, patience=LONG)
    for path in (tmp_path / "missing" / "duck.glb", tmp_path):
        with pytest.raises(LimbeckError) as caught:
            client.fetch_artifact(JOB, "mesh.glb", path)
        assert caught.value.code == ErrorCode.CANNOT_WRITE
        assert str(path) in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_that_is_not_there_is_the_servers_error(serve: Any, connect: Any) -> None:
    client = connect(serve(Shelf(b"").answer).endpoint, patience=LONG)
    with pytest.raises(LimbeckError) as caught:
        client.fetch_artifact(JOB, "texture.png")
    assert caught.value.code == ErrorCode.ARTIFACT_NOT_FOUND
