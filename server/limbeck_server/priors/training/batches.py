"""Batches of the known world: the exact prior's own distribution, drawn anew for every step from stored views.

Stored are geometry buffers, not pictures: colour, background, caption, timestep and noise are drawn per batch. Of each
batch everything follows from one generator, so a run that goes on where it was interrupted sees the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limbeck_server.known_world.captions import Caption, azimuth_word, elevation_word
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import COLOUR_STD, DEGRADED_SHARE, degraded_views
from limbeck_server.priors.mixture import ColourModel
from limbeck_server.priors.training.held_out import held_out_colour
from limbeck_server.priors.training.texts import CaptionShares, draw_caption, write_caption

DEGRADED_VIEWS_PER_SHAPE = 96
"""Of 960 views of a shape."""


@dataclass(frozen=True)
class World:
    """The stored views that batches are drawn from.

    Attributes:
        clean, degraded: views, as the exact prior takes them.
    """

    clean: ViewLibrary
    degraded: ViewLibrary


@dataclass(frozen=True)
class Batch:
    """Pictures and what is said of them.

    Attributes:
        latents: (n, 3, size, size), pictures in -1..1; backgrounds may lie outside.
        captions: what each text means.
        texts: what is said of each picture.
        full: all that is true of each picture.
    """

    latents: Tensor
    captions: tuple[Caption, ...]
    texts: tuple[str, ...]
    full: tuple[Caption, ...]


def load_world(
    views_per_shape: int,
    size: int,
    cache_folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> World:
    """Return views of every shape, clean and a tenth as many degraded; rendered at first use and kept in the cache.

    Args:
        views_per_shape: how many clean ones.
        size: side of the pictures in pixels.
        cache_folder: see `limbeck_server.known_world.views.load_library`.
        progress: called with (views done, views in all).
    """
    clean = load_library(dict.fromkeys(SHAPE_NAMES, views_per_shape), size, cache_folder, progress)
    per_shape = max(1, views_per_shape * DEGRADED_VIEWS_PER_SHAPE // 960)
    return World(clean, degraded_views(clean, per_shape))


def world_colours() -> ColourModel:
    """Return how the world's main colours and backgrounds are distributed: the exact prior's own model."""
    return ColourModel(torch.tensor(list(COLOURS.values()), dtype=torch.float64), COLOUR_STD)


def draw_batch(
    world: World, count: int, generator: torch.Generator, shares: CaptionShares | None = None, colours: str = "seen"
) -> Batch:
    """Return pictures and their captions, distributed as the exact prior has it.

    Args:
        world: stored views.
        count: how many pictures.
        generator: on the CPU; the only source of randomness.
        shares: how often captions leave out what.
        colours: `seen` leaves out the pairs of `HELD_OUT`; `held out` draws nothing else.
    """
    shares = shares or CaptionShares()
    model = world_colours()
    degraded = torch.rand(count, generator=generator) < DEGRADED_SHARE
    shapes = torch.randint(len(world.clean.shape_names), (count,), generator=generator)
    unit = torch.rand(count, generator=generator).tolist()
    picked = torch.randint(len(COLOURS) - 1, (count,), generator=generator)
    buffers, full, colour_index = [], [], []
    for index, (poor, shape, share) in enumerate(zip(degraded.tolist(), shapes.tolist(), unit, strict=True)):
        library = world.degraded if poor else world.clean
        name = library.shape_names[shape]
        first, last = _rows(library, shape)
        row = first + min(int(share * (last - first)), last - first - 1)
        left_out = held_out_colour(name)
        colour = left_out if colours == "held out" else int(picked[index]) + int(picked[index] >= left_out)
        stored = library.buffers[row]
        buffers.append(stored if stored.is_floating_point() else stored.float() / 255)
        colour_index.append(colour)
        azimuth, elevation = float(library.azimuth_deg[row]), float(library.elevation_deg[row])
        words = azimuth_word(azimuth), elevation_word(elevation)
        full.append(Caption(name, list(COLOURS)[colour], *words, degraded=poor))
    main = model.means[torch.tensor(colour_index)] + model.std * torch.randn(count, 3, generator=generator)
    background = model.background_mean + model.background_std * torch.randn(count, 3, generator=generator)
    captions = tuple(draw_caption(one, shares, generator) for one in full)
    texts = tuple(write_caption(one, shares, generator) for one in captions)
    pictures = compose_picture(torch.stack(buffers), main, background)
    return Batch(2 * pictures - 1, captions, texts, tuple(full))


def stratified_timesteps(count: int, timesteps: int, generator: torch.Generator) -> Tensor:
    """Return timesteps (count,) int64, each uniform over the schedule, one in every `count`-th part of it."""
    shift = torch.rand(1, generator=generator, dtype=torch.float64)
    order = torch.randperm(count, generator=generator)
    return ((order + shift) * timesteps / count).long().clamp(max=timesteps - 1)


def _rows(library: ViewLibrary, shape: int) -> tuple[int, int]:
    """Return where a shape's views begin and end: libraries hold shape after shape."""
    bounds = torch.searchsorted(library.shape_index, torch.tensor([shape, shape + 1]))
    return int(bounds[0]), int(bounds[1])
