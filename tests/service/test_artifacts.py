"""Files are described and read in chunks; no name leads out of the job's own folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_server.service.artifacts import describe, job_folder, read_chunk

CONTENT = bytes(range(256)) * 5000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    job = tmp_path / "jobs" / "job-0001"
    (job / "artifacts").mkdir(parents=True)
    (job / "artifacts" / "mesh.glb").write_bytes(CONTENT)
    (job / "recipe.json").write_text("secret")
    return job


def test_size_and_digest_are_those_of_the_file(folder: Path) -> None:
    artifact = describe(folder, "mesh.glb", "model/gltf-binary")
    assert artifact.size_bytes == len(CONTENT)
    assert artifact.digest == hashlib.blake2b(CONTENT, digest_size=32).hexdigest()
    assert artifact.media_type == "model/gltf-binary"


def test_chunks_make_up_the_file(folder: Path) -> None:
    parts = [read_chunk(folder, "mesh.glb", offset, 100_000) for offset in range(0, len(CONTENT), 100_000)]
    assert b"".join(parts) == CONTENT
    assert read_chunk(folder, "mesh.glb", len(CONTENT), 10) == b""


def test_reading_beyond_the_end_is_an_error(folder: Path) -> None:
    with pytest.raises(LimbeckError, match="cannot be read from byte") as caught:
        read_chunk(folder, "mesh.glb", len(CONTENT) + 1, 10)
    assert caught.value.code == ErrorCode.INVALID_FIELD


@pytest.mark.parametrize(
    "name",
    [
        "../recipe.json",
        "..",
        ".",
        "",
        "/etc/passwd",
        "mesh.glb\n",
        "mesh.glb\x00",
        "Mesh.glb",
        "a/b",
        "a\\b",
        "\u202emesh",
        ".hidden",
        "x" * 65,
    ],
)
def test_names_that_are_none_are_refused(folder: Path, name: str) -> None:
    for look in (lambda: read_chunk(folder, name, 0, 10), lambda: describe(folder, name, "text/plain")):
        with pytest.raises(LimbeckError) as caught:
            look()
        assert caught.value.code == ErrorCode.INVALID_FIELD


@pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")
@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "nothing"])
def test_only_regular_files_are_read(folder: Path, kind: str) -> None:
    place = folder / "artifacts" / "thing"
    if kind == "link":
        place.symlink_to(folder / "recipe.json")
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    with pytest.raises(LimbeckError) as caught:
        read_chunk(folder, "thing", 0, 10)
    assert caught.value.code == ErrorCode.ARTIFACT_NOT_FOUND


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_linked_artifacts_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / "artifacts").rename(elsewhere)
    (folder / "artifacts").symlink_to(elsewhere)
    with pytest.raises(LimbeckError) as caught:
        read_chunk(folder, "mesh.glb", 0, 10)
    assert caught.value.code == ErrorCode.ARTIFACT_NOT_FOUND


@pytest.mark.parametrize("job_id", ["..", "short", "a/b/c/d/e/f", "job-0001\n", "x" * 65])
def test_job_ids_lead_nowhere_else(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(LimbeckError):
        job_folder(tmp_path, job_id)
    assert job_folder(tmp_path, "job-0001") == tmp_path / "job-0001"
