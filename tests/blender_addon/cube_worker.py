"""A small but genuine worker for the add-on's tests: a few steps with pictures, then a textured cube as `mesh.npz`.

A recipe with an image gets a square of noise as `image.png` instead.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.messages import (
    AnyWorkerEvent,
    ArtifactWritten,
    Finished,
    PhaseStarted,
    PreviewReady,
    Progress,
    View,
    ViewerCamera,
    WorkerProgress,
)
from limbeck_protocol.recipe import FIELD_FILE, Recipe

STEP_S = 0.05
STEPS = 10
VIEW = View(camera_to_world=np.eye(4, dtype=np.float32), lens=np.array([1.5, 0.0, 0.0], np.float32))


def run(recipe: Recipe, folder: Path) -> Generator[AnyWorkerEvent, ViewerCamera | None, None]:
    steps = recipe.settings.steps if isinstance(recipe.settings.steps, int) else STEPS
    yield PhaseStarted(name="optimise", title="Distilling")
    for step in range(1, steps + 1):
        time.sleep(STEP_S)
        progress = Progress(
            phase="optimise", step=step, steps=steps, loss=1.0 / step, seconds_left=(steps - step) * STEP_S
        )
        view = None if recipe.image else VIEW
        viewer = yield WorkerProgress(progress=progress, view=view)
        picture = np.zeros((16, 16, 3), dtype=np.uint8)
        picture[:, : 16 * step // steps] = 255
        yield PreviewReady(step=step, image=picture, view=view)
        if viewer is not None:
            seen = np.full((viewer.size, viewer.size, 4), 100, dtype=np.uint8)
            view = View(camera_to_world=viewer.camera_to_world, lens=viewer.lens)
            yield PreviewReady(step=step, image=seen, from_viewer=True, view=view)
    if "failing" in recipe.prompt:
        raise LimbeckError(ErrorCode.NO_SURFACE, "There is no surface to be found.")
    if recipe.image:
        content = noise_png(recipe.seed, recipe.image.size or 48)
        (folder / "artifacts" / "image.png").write_bytes(content[:-30] if "broken" in recipe.prompt else content)
        yield ArtifactWritten(name="image.png", media_type="image/png")
        yield Finished(metrics={"accuracy": 0.5})
        return
    yield PhaseStarted(name="mesh", title="Making the mesh")
    arrays = cube(recipe.seed)
    if "broken" in recipe.prompt:
        arrays["faces"][0, 0] = 99
    np.savez(folder / "artifacts" / "mesh.npz", **arrays)
    yield ArtifactWritten(name="mesh.npz", media_type="application/octet-stream")
    if "fieldless" not in recipe.prompt:
        (folder / "artifacts" / FIELD_FILE).write_bytes(recipe.prompt.encode())
        yield ArtifactWritten(name=FIELD_FILE, media_type="application/octet-stream")
    yield Finished(metrics={"iou": 0.9, "faces": 12})


def noise_png(seed: int, side: int) -> bytes:
    """A square of noise, its upper left pixel red: RGB, 8 bits, no row filtered."""
    pixels = np.random.default_rng(seed).integers(0, 256, size=(side, side, 3), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def cube(seed: int) -> dict[str, np.ndarray]:
    """A unit cube; its texture is noise of 1024 pixels, so that the file takes several chunks."""
    random = np.random.default_rng(seed)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32) / 2
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))], dtype=np.int32)
    return {
        "vertices": corners,
        "faces": faces,
        "normals": corners / np.linalg.norm(corners, axis=1, keepdims=True),
        "vertex_colours": np.full((8, 3), 0.5, dtype=np.float32),
        "corner_uv": random.random((12, 3, 2), dtype=np.float32),
        "texture": random.integers(0, 256, size=(1024, 1024, 3), dtype=np.uint8),
    }
