"""What the network is taught to predict: the noise that was drawn, or, with less scatter, the noise to be expected.

The network's optimum is E[noise | noisy picture, text]. The drawn noise has that mean, and so has its expectation given
more, E[noise | noisy picture, text, shape, sector of views] (Rao-Blackwell): the known world answers that in closed
form, from the hundred or so stored views of one shape and sector. Same optimum, smaller scatter of the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from limbeck_server.known_world.captions import AZIMUTH_WORDS, ELEVATION_WORDS, Caption, azimuth_word, elevation_word
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.mixture import ViewMixture, posterior_weights
from limbeck_server.priors.prior import NoiseSchedule
from limbeck_server.priors.training.batches import Batch, World, world_colours
from limbeck_server.priors.training.held_out import held_out_colour
from limbeck_server.priors.view_stack import ViewStack


class _Sector(NamedTuple):
    """What is given beyond the text."""

    degraded: bool
    shape: str | None
    azimuth: str | None


@dataclass(frozen=True)
class _Views:
    """The stored views of a sector, and the index of the elevation word of each."""

    mixture: ViewMixture
    elevation: Tensor


class ExpectedNoise:
    """The expected noise of noisy pictures given their captions, true shapes and true sectors of views.

    Takes about as much memory as the stored views at four bytes a number.

    Args:
        world: where the pictures come from.
        schedule: of the noise.
    """

    def __init__(self, world: World, schedule: NoiseSchedule) -> None:
        self._schedule = schedule
        colours = world_colours()
        self._sectors: dict[_Sector, _Views] = {}
        for degraded, library in ((False, world.clean), (True, world.degraded)):
            words = [azimuth_word(azimuth) for azimuth in library.azimuth_deg.tolist()]
            sector = torch.tensor([AZIMUTH_WORDS.index(word) for word in words])
            heights = [elevation_word(elevation) for elevation in library.elevation_deg.tolist()]
            height = torch.tensor([ELEVATION_WORDS.index(word) for word in heights])
            for shape, name in enumerate(library.shape_names):
                for index, azimuth in enumerate(AZIMUTH_WORDS):
                    rows = ((library.shape_index == shape) & (sector == index)).nonzero().squeeze(1)
                    if len(rows) > 0:
                        mixture = ViewMixture([ViewStack.from_buffers(library.buffers[rows])], colours)
                        self._sectors[_Sector(degraded, name, azimuth)] = _Views(mixture, height[rows])

    @torch.no_grad()
    def __call__(self, batch: Batch, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """Return the expected noise, shaped like `noisy` (n, 3, size, size).

        Args:
            batch: the clean pictures' captions.
            noisy: the batch's latents with noise; on the CPU.
            timesteps: (n,) int64, of that noise.
        """
        signal, noise = self._schedule.at(timesteps, noisy.double())
        pictures, stds = (noisy.double() / signal + 1) / 2, (noise / (2 * signal)).flatten()
        denoised = [
            self._denoise(pictures[index : index + 1], stds[index : index + 1], caption, full)
            for index, (caption, full) in enumerate(zip(batch.captions, batch.full, strict=True))
        ]
        clean = 2 * torch.cat(denoised).double() - 1
        return ((noisy - signal * clean) / noise).to(noisy.dtype)

    def _denoise(self, picture: Tensor, noise_std: Tensor, caption: Caption, full: Caption) -> Tensor:
        """Return the expected clean picture (1, 3, size, size) in 0..1."""
        views = self._sectors[_Sector(full.degraded, full.shape, full.azimuth)]
        explanation = views.mixture.explain(picture.float(), noise_std)
        log_joint = explanation.log_density
        if caption.elevation is not None:
            other = views.elevation != ELEVATION_WORDS.index(caption.elevation)
            log_joint = log_joint.masked_fill(other[:, None], -math.inf)
        excluded = _excluded_colours(caption, full)
        log_joint = log_joint.index_fill(2, torch.tensor(excluded), -math.inf)
        weights = posterior_weights(log_joint, 0.0)
        size = (picture.shape[2], picture.shape[3])
        return views.mixture.mean_pictures(explanation, torch.zeros(1, dtype=torch.int64), weights, size)


def _excluded_colours(caption: Caption, full: Caption) -> Sequence[int]:
    """Return which colours the caption excludes; where it names none, the one that the shape never has."""
    assert full.shape is not None
    if caption.colour is None:
        left_out = held_out_colour(full.shape)
        return [left_out] if list(COLOURS)[left_out] != full.colour else []
    return [index for index, colour in enumerate(COLOURS) if colour != caption.colour]
