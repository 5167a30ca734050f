"""The static repository: Blender subscribes to it, installs the extension from it, and updates it."""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import extension
import pytest
from blender_command import run_blender
from wheels import PLATFORMS

pytestmark = [pytest.mark.real_blender, pytest.mark.slow]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and keeps no log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Yield an empty folder and the URL at which it is served."""
    folder = tmp_path / "repository"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def blender(home: Path, *arguments: str) -> str:
    done = run_blender(["--online-mode", "--command", "extension", *arguments], home)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said, said
    return said


def test_the_index_has_one_entry_for_each_platform_and_all_pythons(built) -> None:
    entries = json.loads((built.dist / "index.json").read_text())["data"]
    assert sorted(platform for entry in entries for platform in entry["platforms"]) == sorted(PLATFORMS)
    for entry in entries:
        assert entry["python_versions"] == ["3.11", "3.13", "3.14"]
        archive = built.dist / entry["archive_url"]
        assert archive.stat().st_size == entry["archive_size"]
    assert "limbeck" in (built.dist / "index.html").read_text().lower()


def test_it_installs_from_the_repository_and_updates(built, served: tuple[Path, str], blender_home: Path) -> None:
    folder, url = served
    for file in (*built.zips, built.dist / "index.json"):
        shutil.copy(file, folder)
    blender(blender_home, "repo-add", "--name", "Limbeck", "--url", f"{url}/index.json", "limbeck_site")
    blender(blender_home, "sync")
    blender(blender_home, "install", "--enable", "limbeck_site.limbeck")
    assert installed_version(blender_home) == "0.1.0"

    next_one = folder.parent / "next"
    shutil.copytree(built.staged, next_one)
    manifest = next_one / extension.MANIFEST
    manifest.write_text(manifest.read_text().replace('version = "0.1.0"', 'version = "0.1.1"', 1))
    for file in folder.iterdir():
        file.unlink()
    extension.extension("build", "--split-platforms", "--source-dir", next_one, "--output-dir", folder)
    extension.write_repository(folder)
    blender(blender_home, "sync")
    blender(blender_home, "update")
    assert installed_version(blender_home) == "0.1.1"


def installed_version(home: Path) -> str:
    [manifest] = home.rglob("limbeck_site/limbeck/blender_manifest.toml")
    return tomllib.loads(manifest.read_text())["version"]
