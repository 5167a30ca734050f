"""Blender 4.5 LTS as a Python module, in an environment of its own in the user's cache folder, for the tests.

The main environment has a newer `bpy`, and two do not fit into one. It has what the extension bundles and numpy, all in
the versions of `constraints.txt`, but nothing of ours: whoever runs its Python names `shared_protocol` in PYTHONPATH.
`python packaging/bpy_lts.py` makes it, once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from wheels import CONSTRAINTS, PACKAGES, ROOT, cache_folder

VERSION = "4.5.15"
INSTALL_TIMEOUT_S = 1200.0
PROTOCOL = ROOT / "shared_protocol"


def folder() -> Path:
    """Return where the environment is, or will be."""
    return cache_folder() / f"bpy-{VERSION}"


def python() -> Path | None:
    """Return the environment's Python; None while `install` has not been run with today's constraints."""
    stamp = folder() / "installed"
    there = stamp.is_file() and stamp.read_text(encoding="utf-8") == constraints()
    return folder() / "bin" / "python" if there else None


def constraints() -> str:
    """Return the constraints for this environment: the main one's, but for `bpy` itself."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return "\n".join([*(line for line in lines if not line.startswith("bpy==")), f"bpy=={VERSION}", ""])


def install() -> Path:
    """Return the environment's Python, after making the environment where it is not there.

    Raises:
        subprocess.CalledProcessError: pip could not install it; what it said stands above.
    """
    found = python()
    if found is not None:
        return found
    target = folder()
    shutil.rmtree(target, ignore_errors=True)
    venv.create(target, with_pip=True)
    with tempfile.TemporaryDirectory() as place:
        limits = Path(place) / "constraints.txt"
        limits.write_text(constraints(), encoding="utf-8")
        command = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*command, "-c", str(limits), "bpy", "numpy", *PACKAGES], check=True, timeout=INSTALL_TIMEOUT_S)
    (target / "installed").write_text(constraints(), encoding="utf-8")
    return target / "bin" / "python"


if __name__ == "__main__":
    if sys.version_info[:2] != (3, 11):
        sys.exit("bpy 4.5 wants Python 3.11; run this with the Python of .venv.")
    print(f"bpy {VERSION}: {install()}")
