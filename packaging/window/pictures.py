"""`make pictures`: the pictures of the artist's guide, taken of the real window while the window test plays its story.

The test photographs each of its steps; `LIMBECK_PICTURES` names the folder that gets them, here `docs/images/`. So a
picture in the guide shows what the test has checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER_VARIABLE = "LIMBECK_PICTURES"
PREFIX = "guide-"
LIMIT_BYTES = 300_000
_GAP_PX = 12
_LEGIBLE_PX = 1000
"""A picture of the whole view is not made narrower than this: its letters would be lost."""


def publish(picture: Image.Image, folder: Path, name: str, *, width_px: int | None = None) -> Path:
    """Write a picture as PNG, small enough for a page: fewer pixels, then fewer colours; return its path.

    Args:
        picture: as it was grabbed.
        folder: where the guide's pictures are.
        name: without `guide-` and `.png`.
        width_px: largest width; as it is if None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PREFIX}{name}.png"
    if width_px is not None and picture.width > width_px:
        picture = picture.resize((width_px, round(picture.height * width_px / picture.width)), Image.Resampling.LANCZOS)
    picture.save(path, optimize=True)
    while path.stat().st_size > LIMIT_BYTES:
        if picture.width > _LEGIBLE_PX:
            picture = picture.resize(
                (round(picture.width * 0.93), round(picture.height * 0.93)), Image.Resampling.LANCZOS
            )
            picture.save(path, optimize=True)
        else:
            # Dithered, so that smooth shading shows no steps; plain where even that takes too many bytes.
            picture.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
            if path.stat().st_size > LIMIT_BYTES:
                picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
            break
    return path


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return pictures in a row on white, aligned at their upper edges."""
    width = sum(picture.width for picture in pictures) + _GAP_PX * (len(pictures) - 1)
    row = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        row.paste(picture, (x, 0))
        x += picture.width + _GAP_PX
    return row


def main() -> int:
    """Play the story and keep its pictures; return pytest's exit code."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    command = [sys.executable, "-m", "pytest", "-m", "window", "tests/blender_window", "-x", "-q"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, FOLDER_VARIABLE: str(folder.resolve())}, check=False)
    for path in sorted(folder.glob(f"{PREFIX}*.png")):
        with Image.open(path) as picture:
            print(f"{path}  {picture.width} x {picture.height}  {path.stat().st_size // 1000} kB")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
