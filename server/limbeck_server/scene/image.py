"""What a picture is made of where no scene stands behind it: latents, pixels, or a small network of coordinates.

Each is a torch module whose `forward()` takes nothing and returns all pictures of a run at once: as clean latents where
`makes_latents` says so, else as pictures in 0..1, still to be encoded. What it holds is what the optimiser moves.
Pictures of one module share nothing, so that each is a run of its own.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

GENERATORS = ("latents", "pixels", "mlp")
"""The names that recipes use."""

START_STD = 0.1
"""Of a pixel's first logit: 2.5 % of the range around a middle grey, enough to tell one pixel from the next."""
FREQUENCIES = 128
"""Random directions in the plane; each gives a sine and a cosine. Half of Tancik et al.'s (their fig. 1 is a photograph
of 512 pixels): the pictures here are a tenth of it, and a step is twice as quick."""
FREQUENCY_STD = 4.0
"""Cycles across the picture. Tancik et al. (2020) take 10 for photographs of 512 pixels; 4 puts few of them past the
16 cycles that 32 pixels can hold, and still draws a beak."""
HIDDEN_WIDTH = 64
HIDDEN_LAYERS = 2
"""As wide and deep as the networks of Mean-Shift Distillation's scenes (section 4.4); its 2-D one is not described."""


class Latents(nn.Module):
    """The clean latents themselves, what the prior diffuses: no encoder, so nothing stands between it and them.

    Args:
        start: (n, c, h, w); copied.
    """

    makes_latents = True

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(start.detach().clone())

    def forward(self) -> Tensor:
        """Return the latents (n, c, h, w)."""
        return self.values


class Pixels(nn.Module):
    """Colours on a grid, as sigmoids of what is optimised, like a field's; they start as grey with a little noise.

    Args:
        pictures: how many.
        size: side in pixels.
        device: where they live.
        draws: of the noise, on the CPU.
    """

    makes_latents = False

    def __init__(self, pictures: int, size: int, device: torch.device, draws: torch.Generator) -> None:
        super().__init__()
        self.logits = nn.Parameter((START_STD * torch.randn(pictures, 3, size, size, generator=draws)).to(device))

    def forward(self) -> Tensor:
        """Return the pictures (n, 3, size, size) in 0..1."""
        return self.logits.sigmoid()


class CoordinateNetwork(nn.Module):
    """Colours as a function of where one looks: a few thousand numbers that draw a smooth picture at any size.

    Fourier features of the coordinates (Tancik et al. 2020, "Fourier Features Let Networks Learn High Frequency
    Functions in Low Dimensional Domains", eq. 5 and the Gaussian mapping of section 6), hidden layers with ReLU, a
    sigmoid. It starts as a grey: the last layer begins small. Mean-Shift Distillation's 2-D experiment (section 5)
    optimises such a network.

    Args:
        pictures: how many; each has a network of its own, with features of its own.
        size: side in pixels of what `forward` draws.
        device: where it lives.
        draws: of frequencies and weights, on the CPU.
    """

    makes_latents = False

    def __init__(self, pictures: int, size: int, device: torch.device, draws: torch.Generator) -> None:
        super().__init__()
        self.size = size
        frequencies = FREQUENCY_STD * torch.randn(pictures, 2, FREQUENCIES, generator=draws)
        angles = 2.0 * math.pi * torch.matmul(pixel_centres(size), frequencies)
        # What never changes is computed once: (n, size^2, features).
        features = torch.cat([angles.sin(), angles.cos()], dim=2)
        self.register_buffer("features", features.to(device), persistent=False)
        widths = [2 * FREQUENCIES, *[HIDDEN_WIDTH] * HIDDEN_LAYERS, 3]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (inputs, outputs) in enumerate(pairwise(widths)):
            # He et al. (2015): what a ReLU halves is made up for; the last layer starts at a tenth.
            std = (2.0 / inputs) ** 0.5 * (0.1 if layer == HIDDEN_LAYERS else 1.0)
            self.weights.append(
                nn.Parameter((std * torch.randn(pictures, inputs, outputs, generator=draws)).to(device))
            )
            self.biases.append(nn.Parameter(torch.zeros(pictures, 1, outputs, device=device)))

    def forward(self) -> Tensor:
        """Return the pictures (n, 3, size, size) in 0..1."""
        values = self.get_buffer("features")
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values, weight)
            values = values.relu() if layer < HIDDEN_LAYERS else values.sigmoid()
        return values.transpose(1, 2).reshape(len(values), 3, self.size, self.size)


ImageModule = Latents | Pixels | CoordinateNetwork


def pixel_centres(size: int) -> Tensor:
    """Return where the pixels of a square picture of side 1 are (size^2, 2): (x, y), row by row, 0 in the middle."""
    middles = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def build_image(
    kind: str,
    size: int,
    latents_shape: tuple[int, ...],
    device: torch.device,
    draws: torch.Generator,
    pictures: int = 1,
) -> ImageModule:
    """Return what is optimised, at its start.

    Args:
        kind: out of `GENERATORS`.
        size: side of the pictures in pixels; latents have their own.
        latents_shape: (c, h, w) of the prior's latents for such a picture; latents start as standard normal noise (the
            2-D experiments of Noise-Free Score Distillation).
        device: where it shall live.
        draws: of everything that begins at random, on the CPU.
        pictures: how many at a time.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "latents":
        return Latents(torch.randn(pictures, *latents_shape, generator=draws).to(device))
    if kind == "pixels":
        return Pixels(pictures, size, device, draws)
    if kind == "mlp":
        return CoordinateNetwork(pictures, size, device, draws)
    raise ValueError(f"there is no generator of pictures {kind!r}; there are: {', '.join(GENERATORS)}")
