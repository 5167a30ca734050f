"""`make extension`: one zip per platform in dist/, and the static repository that Blender installs and updates from.

Blender's own `extension build` makes the zips from a staged copy of `blender_addon/`, whose manifest is completed with
the platforms and the wheels; its own `extension validate` and `extension server-generate` do the rest.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from blender_command import NoBlenderError, install_blender, run_blender
from wheels import PLATFORMS, WheelError, build_protocol_wheel, cache_folder, fetch_wheels, read_pins

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "blender_addon"
MANIFEST = "blender_manifest.toml"
BUILD_TABLE = """
[build]
paths_exclude_pattern = ["__pycache__/", "/.*", "*.zip"]
"""


class ExtensionError(RuntimeError):
    """Blender refused what it was given; the sentence holds what it said."""


def complete_manifest(manifest: str, platforms: Sequence[str], wheels: Sequence[str]) -> str:
    """Return the manifest's text with `platforms`, `wheels` and `[build]`.

    Args:
        manifest: the text of the source's manifest, which has none of the three.
        platforms: Blender's names of them.
        wheels: file names of the wheels, which lie in the folder `wheels` beside the manifest.

    Raises:
        ExtensionError: the manifest has one of the three already.
    """
    present = {"platforms", "wheels", "build"} & tomllib.loads(manifest).keys()
    if present:
        raise ExtensionError(f"{MANIFEST} has {', '.join(sorted(present))} already; packaging/extension.py writes it.")
    added = "platforms = " + _toml_list(platforms) + "wheels = " + _toml_list([f"./wheels/{name}" for name in wheels])
    # Keys of the top level have to stand before the first table.
    head, bracket, tables = manifest.partition("\n[")
    return head + "\n" + added + bracket + tables + BUILD_TABLE


def _toml_list(values: Sequence[str]) -> str:
    return "[\n" + "".join(f"    {json.dumps(value)},\n" for value in values) + "]\n"


def stage(folder: Path, source: Path = SOURCE) -> None:
    """Fill the empty `folder` with what goes into the zips: the add-on, the licence, all wheels, the whole manifest.

    Raises:
        WheelError: a wheel cannot be had.
        ExtensionError: the manifest is not as it should be.
    """
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"), dirs_exist_ok=True)
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    wheels = folder / "wheels"
    wheels.mkdir()
    for file in fetch_wheels(read_pins(), cache_folder() / "wheels"):
        shutil.copy(file, wheels / file.name)
    build_protocol_wheel(wheels)
    manifest = folder / MANIFEST
    names = sorted(file.name for file in wheels.iterdir())
    manifest.write_text(complete_manifest(manifest.read_text(encoding="utf-8"), list(PLATFORMS), names), "utf-8")


def build(staged: Path, dist: Path) -> list[Path]:
    """Return the zips, one per platform, that Blender builds from the staged folder into `dist`, validated by it.

    Raises:
        ExtensionError: Blender refuses the folder or one of the zips.
    """
    extension("build", "--split-platforms", "--source-dir", staged, "--output-dir", dist)
    version = tomllib.loads((staged / MANIFEST).read_text(encoding="utf-8"))["version"]
    zips = [dist / f"limbeck-{version}-{platform.replace('-', '_')}.zip" for platform in sorted(PLATFORMS)]
    missing = [path.name for path in zips if not path.is_file()]
    if missing:
        made = ", ".join(sorted(path.name for path in dist.iterdir())) or "nothing"
        raise ExtensionError(f"Blender built {made}, but not {', '.join(missing)}.")
    for path in zips:
        extension("validate", path)
    return zips


def write_repository(dist: Path) -> None:
    """Write `index.json` and the page `index.html` of the static repository that the zips in `dist` are.

    Raises:
        ExtensionError: Blender finds no repository in them.
    """
    extension("server-generate", "--repo-dir", dist, "--html")
    entries = json.loads((dist / "index.json").read_text(encoding="utf-8"))["data"]
    if len(entries) != len(list(dist.glob("*.zip"))):
        raise ExtensionError(f"The index of {dist} has {len(entries)} entries, which is not one for each zip.")


def extension(*arguments: str | Path) -> str:
    """Return what `blender --command extension ARGUMENTS` printed.

    Raises:
        ExtensionError: its exit code is not 0.
    """
    with tempfile.TemporaryDirectory() as home:
        done = run_blender(["--command", "extension", *arguments], Path(home))
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise ExtensionError(f"Blender's 'extension {arguments[0]}' failed with code {done.returncode}:\n{said}")
    return done.stdout


def main() -> int:
    """Build everything and return the exit code."""
    parser = argparse.ArgumentParser(description="Build the extension's zips and their static repository.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the zips and the index; emptied")
    options = parser.parse_args()
    dist: Path = options.out.resolve()
    staged = ROOT / "build" / "extension" / "limbeck"
    try:
        print(install_blender())
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        dist.mkdir(parents=True, exist_ok=True)
        for stale in (*dist.glob("limbeck-*.zip"), *dist.glob("index.*")):
            stale.unlink()
        stage(staged)
        zips = build(staged, dist)
        write_repository(dist)
    except (ExtensionError, NoBlenderError, WheelError) as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired as error:
        print(f"Blender did not end within {error.timeout:g} s: {error.cmd}", file=sys.stderr)
        return 1
    for path in zips:
        print(f"{path.stat().st_size / 1e6:6.1f} MB  {path}")
    print(f"the repository's index: {dist / 'index.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
