"""Rendering, keeping and loading stored views of the known world."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.pictures import CHANNELS, jittered_lights, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.scene.cameras import Views, azimuth_elevation_deg, orbit_views

BLOCK_VIEWS = 48
"""Views are rendered and stored in blocks of this many."""

STORED_SIZE = 64
ELEVATION_DEG = (-35.0, 65.0)
DISTANCE = (1.95, 2.15)
FIELD_OF_VIEW_DEG = (40.0, 42.0)
LOOK_AT_JITTER = 0.03

# Steps of the four-dimensional Kronecker sequence: powers of the inverse of the root of g^5 = g + 1 (Roberts 2018).
_GOLDEN = 1.1673039782614187
_STEPS = tuple(_GOLDEN ** -(power + 1) for power in range(4))
_DIGEST_BYTES = 32
_WORLD_MODULES = (
    *("primitives.py", "shape.py", "shapes.py", "shapes_plain.py", "shapes_household.py", "shapes_outdoors.py"),
    *("shapes_figures.py", "tracing.py", "pictures.py", "views.py", "../scene/cameras.py"),
)


def default_cache_folder() -> Path:
    """Return where views are kept: `views` in the folder that LIMBECK_CACHE names, or else in ~/.cache/limbeck."""
    root = os.environ.get("LIMBECK_CACHE")
    return (Path(root) if root else Path.home() / ".cache" / "limbeck") / "views"


def default_counts(shape: str | None, views: int = 1200, others: int = 48) -> dict[str, int]:
    """Return how many views of which shape a prompt asks for, about 2,500 in all.

    Args:
        shape: the prompt's shape gets `views`; if None, all shapes share them.
        views: how many views the prompt's shape gets.
        others: how many every other shape gets at least, for the empty prompt.
    """
    if shape is not None and shape not in SHAPES:
        raise ValueError(f"the known world has no shape {shape!r}; it has {', '.join(SHAPE_NAMES)}")
    if shape is None:
        return dict.fromkeys(SHAPE_NAMES, others + views // len(SHAPE_NAMES))
    return {name: views if name == shape else others for name in SHAPE_NAMES}


@lru_cache(maxsize=1)
def world_digest() -> str:
    """Return a name for what pictures look like: it changes with any file that they depend on."""
    digest = hashlib.sha256()
    for name in _WORLD_MODULES:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()[:16]


def _seed(name: str, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{purpose}/{name}".encode()).digest()[:7], "big")


def stored_views(name: str, block: int) -> Views:
    """Return the cameras of a shape's block: `BLOCK_VIEWS` of them, always the same ones.

    Azimuth, elevation, distance and field of view follow one low-discrepancy sequence through all blocks, so any number
    of views from the start covers them evenly.
    """
    offset = torch.rand(4, generator=torch.Generator().manual_seed(_seed(name, "offset")), dtype=torch.float64)
    index = torch.arange(block * BLOCK_VIEWS, (block + 1) * BLOCK_VIEWS, dtype=torch.float64)
    unit = (offset + index[:, None] * torch.tensor(_STEPS, dtype=torch.float64)) % 1.0
    bounds = ((0.0, 360.0), ELEVATION_DEG, DISTANCE, FIELD_OF_VIEW_DEG)
    azimuth, elevation, distance, field_of_view = (
        (low + (high - low) * unit[:, column]).float() for column, (low, high) in enumerate(bounds)
    )
    jitter = torch.randn(BLOCK_VIEWS, 3, generator=torch.Generator().manual_seed(_seed(name, f"look-at {block}")))
    return orbit_views(azimuth, elevation, distance, field_of_view, LOOK_AT_JITTER * jitter)


def render_block(name: str, block: int) -> Tensor:
    """Return the buffers (BLOCK_VIEWS, 5, 64, 64) uint8 of a shape's block: the same bytes every time."""
    lights = jittered_lights(BLOCK_VIEWS, torch.Generator().manual_seed(_seed(name, f"light {block}")))
    buffers = render_buffers(SHAPES[name], stored_views(name, block), STORED_SIZE, lights)
    return (buffers * 255.0).round().to(torch.uint8)


def _read_block(path: Path) -> Tensor | None:
    """Return a stored block, or None where the file is missing, unreadable, cut short or altered."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, payload = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    array = np.load(io.BytesIO(payload), allow_pickle=False)
    return torch.from_numpy(array) if array.shape == (BLOCK_VIEWS, CHANNELS, STORED_SIZE, STORED_SIZE) else None


def _write_block(path: Path, block: Tensor) -> None:
    """Keep a block; a folder that cannot be written costs the next run its time, and nothing else."""
    payload = io.BytesIO()
    np.save(payload, block.numpy(), allow_pickle=False)
    data = payload.getvalue()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        Path(temporary).replace(path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def halve(buffers: Tensor) -> Tensor:
    """Return 2 x 2 box averages of uint8 buffers, rounded to the nearest, halves up."""
    n, channels, height, width = buffers.shape
    blocks = buffers.reshape(n, channels, height // 2, 2, width // 2, 2).to(torch.int32)
    return ((blocks.sum(dim=(3, 5)) + 2) // 4).to(torch.uint8)


def load_library(
    shape_counts: Mapping[str, int],
    size: int,
    cache_folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ViewLibrary:
    """Return stored views of shapes; they are rendered at first use, about 7 ms each, and kept as files.

    The first `count` views of a fixed sequence per shape are taken, so more views extend fewer. Files that are damaged
    are rendered anew; where the folder cannot be written, nothing is kept and everything else works.

    Args:
        shape_counts: shape -> how many of its views; shapes with 0 are left out.
        size: side of the pictures: 64, or 32, 16 or 8, which are box averages of the former.
        cache_folder: where files are kept; `default_cache_folder()` if left out.
        progress: called with (views done, views in all) after each block, also for those that come from files.

    Raises:
        ValueError: an unknown shape, a negative count, no view at all, or another size.
    """
    if size not in (64, 32, 16, 8):
        raise ValueError(f"stored views are 64, 32, 16 or 8 pixels wide; came {size}")
    for name, count in shape_counts.items():
        if name not in SHAPES:
            raise ValueError(f"the known world has no shape {name!r}; it has {', '.join(SHAPE_NAMES)}")
        if count < 0:
            raise ValueError(f"a count of views is 0 or more; came {count} for {name!r}")
    names = tuple(name for name in SHAPE_NAMES if shape_counts.get(name, 0) > 0)
    if not names:
        raise ValueError("a library needs at least one view; all counts are 0")
    folder = (cache_folder if cache_folder is not None else default_cache_folder()) / world_digest()
    total, done = sum(shape_counts[name] for name in names), 0
    buffers, azimuths, elevations, shapes = [], [], [], []
    for shape_index, name in enumerate(names):
        for block in range(-(-shape_counts[name] // BLOCK_VIEWS)):
            path = folder / f"{name}-{block:04d}.views"
            pictures = _read_block(path)
            if pictures is None:
                pictures = render_block(name, block)
                _write_block(path, pictures)
            kept = min(BLOCK_VIEWS, shape_counts[name] - block * BLOCK_VIEWS)
            pictures = pictures[:kept]
            while pictures.shape[-1] > size:
                pictures = halve(pictures)
            azimuth, elevation = azimuth_elevation_deg(stored_views(name, block)[:kept])
            buffers.append(pictures)
            azimuths.append(azimuth)
            elevations.append(elevation)
            shapes.append(torch.full((kept,), shape_index, dtype=torch.int64))
            done += kept
            if progress is not None:
                progress(done, total)
    return ViewLibrary(torch.cat(buffers), torch.cat(shapes), names, torch.cat(azimuths), torch.cat(elevations), size)
