"""The wheels inside the extension: downloaded once into the user's cache folder, checked against `wheels.txt`.

`python packaging/wheels.py` fetches what is missing; `--pin` writes `wheels.txt` anew after a change of versions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "packaging" / "wheels.txt"
CONSTRAINTS = ROOT / "packaging" / "constraints.txt"
PACKAGES = ("msgpack", "msgspec", "pyzmq")
PYTHONS = ("3.11", "3.13", "3.14")
"""Blender's own Pythons: 3.11 up to 5.0, 3.13 from 5.1 on, 3.14 in Linux distributions that bring their own."""

LINUX_TAGS = ("manylinux_2_28_{0}", "manylinux_2_17_{0}", "manylinux2014_{0}")  # Blender's own floor is glibc 2.28
PLATFORMS: Mapping[str, tuple[str, ...]] = {
    "linux-arm64": tuple(tag.format("aarch64") for tag in LINUX_TAGS),
    "linux-x64": tuple(tag.format("x86_64") for tag in LINUX_TAGS),
    "macos-arm64": ("macosx_11_0_arm64",),
    "windows-arm64": ("win_arm64",),
    "windows-x64": ("win_amd64",),
}
"""Blender's name of a platform -> the tags that pip may choose from."""

HEADER = """\
# The wheels inside the extension's zips, in the format of sha256sum: the digests are those that PyPI states.
# Versions as in constraints.txt; platforms and Pythons as in wheels.py. `python packaging/wheels.py --pin` rewrites it.
# numpy is not among them: Blender has its own.
"""


class WheelError(RuntimeError):
    """A wheel is missing or not the one that was pinned; the sentence says what to do."""


@dataclass(frozen=True)
class Pin:
    """One wheel: its file name and the SHA-256 of its bytes."""

    name: str
    sha256: str

    @property
    def requirement(self) -> str:
        """What pip is asked for, such as `pyzmq==27.3.0`."""
        package, version, *_ = self.name.split("-")
        return f"{package}=={version}"

    @property
    def platform(self) -> str:
        """Blender's name of the platform that the wheel is for."""
        tags = self.name.removesuffix(".whl").split("-")[-1].replace("universal2", "arm64").split(".")
        for platform, wanted in PLATFORMS.items():
            machines = {tag.rsplit("_", 1)[-1] for tag in wanted}
            system = wanted[0][:3]
            if any(tag.startswith(system) and tag.rsplit("_", 1)[-1] in machines for tag in tags):
                return platform
        raise WheelError(f"{self.name} is for none of the platforms {', '.join(PLATFORMS)}; correct {PINS.name}.")

    @property
    def python(self) -> str:
        """The oldest of our Pythons that the wheel is for, such as `3.11`; an abi3 wheel serves all later ones."""
        major, minor = re.fullmatch(r"cp(\d)(\d+)", self.name.split("-")[-3]).groups()
        return min(
            (python for python in PYTHONS if int(python.split(".")[1]) >= int(minor)), default=f"{major}.{minor}"
        )


def cache_folder() -> Path:
    """Return where downloads are kept: in the folder that LIMBECK_CACHE names, or else in ~/.cache/limbeck."""
    root = os.environ.get("LIMBECK_CACHE")
    return Path(root) if root else Path.home() / ".cache" / "limbeck"


def read_pins(path: Path = PINS) -> list[Pin]:
    """Return the pinned wheels in the order of the file.

    Raises:
        WheelError: a line is not `<sha256>  <file name>.whl`.
    """
    pins = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-f]{64}) {2}([\w.]+(?:-[\w.]+){4}\.whl)", line)
        if match is None:
            raise WheelError(f"{path}, line {number} is not '<sha256>  <wheel>': {line!r}.")
        pins.append(Pin(name=match[2], sha256=match[1]))
    return pins


def fetch_wheels(pins: Sequence[Pin], folder: Path) -> list[Path]:
    """Return the wheels' files in `folder`, in the order of the pins; what is missing or damaged is downloaded.

    Raises:
        WheelError: a wheel cannot be had, or what came is not what was pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for pin in pins:
        file = folder / pin.name
        if file.is_file() and digest(file) == pin.sha256:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as place:
            come = download([pin.requirement], pin.platform, pin.python, Path(place))
            if [path.name for path in come] != [pin.name]:
                names = ", ".join(path.name for path in come)
                raise WheelError(f"pip brought {names} where {pin.name} is pinned; see the top of {PINS}.")
            if digest(come[0]) != pin.sha256:
                raise WheelError(
                    f"{pin.name} has the digest {digest(come[0])} instead of the pinned {pin.sha256}: it is not the "
                    "file that was tested. Look at the package index that pip uses before anything else."
                )
            come[0].replace(file)
    return [folder / pin.name for pin in pins]


def download(requirements: Sequence[str], platform: str, python: str, folder: Path) -> list[Path]:
    """Return the wheels that pip downloads into the empty `folder` for one platform and one Python.

    Raises:
        WheelError: pip finds none.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    command += [part for tag in PLATFORMS[platform] for part in ("--platform", tag)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        wanted = ", ".join(requirements)
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip said nothing"
        raise WheelError(
            f"There is no wheel of {wanted} for {platform} and Python {python} to be had: {said}. Check the network "
            f"and pip's index; if the version has no such wheel, choose another in {CONSTRAINTS.name} and pin anew."
        )
    return sorted(folder.glob("*.whl"))


def build_protocol_wheel(folder: Path) -> Path:
    """Return a new pure wheel of limbeck-protocol in `folder`.

    Raises:
        WheelError: it could not be built.
    """
    return build_wheel(ROOT / "shared_protocol", "limbeck-protocol", folder)


def build_server_wheel(folder: Path) -> Path:
    """Return a new pure wheel of limbeck-server in `folder`, the network prior and all that ships inside.

    Raises:
        WheelError: it could not be built.
    """
    return build_wheel(ROOT / "server", "limbeck-server", folder)


def build_wheel(project: Path, name: str, folder: Path) -> Path:
    """Return a new pure wheel in `folder`, made from a copy of the project.

    Args:
        project: the folder with its pyproject.toml.
        name: of the distribution.
        folder: where the wheel goes.

    Raises:
        WheelError: it could not be built.
    """
    with tempfile.TemporaryDirectory() as place:
        # A copy, since building leaves folders in the source.
        source = Path(place) / project.name
        kept_out = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*")
        shutil.copytree(project, source, ignore=kept_out)
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
        # One date for all files: the same source gives the same wheel.
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob(f"{name.replace('-', '_')}-*-py3-none-any.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WheelError(f"The wheel of {name} could not be built:\n{done.stderr[-2000:]}")
    return wheels[0]


def pinned_versions() -> dict[str, str]:
    """Return package -> version of what the extension bundles, as `constraints.txt` says."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {package: versions[package] for package in PACKAGES}


def pin() -> None:
    """Write `wheels.txt` from what pip brings for every platform and Python.

    Raises:
        WheelError: a wheel is missing.
    """
    requirements = [f"{package}=={version}" for package, version in pinned_versions().items()]
    pins: set[tuple[str, str]] = set()
    for platform in PLATFORMS:
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as place:
                pins |= {(path.name, digest(path)) for path in download(requirements, platform, python, Path(place))}
    PINS.write_text(HEADER + "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(pins)), encoding="utf-8")


def digest(file: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> int:
    """Fetch or pin, and return the exit code."""
    parser = argparse.ArgumentParser(description="Fetch the wheels that the extension bundles.")
    parser.add_argument("--pin", action="store_true", help="write wheels.txt anew from what the package index has")
    try:
        if parser.parse_args().pin:
            pin()
        files = fetch_wheels(read_pins(), cache_folder() / "wheels")
    except WheelError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(files)} wheels in {cache_folder() / 'wheels'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
