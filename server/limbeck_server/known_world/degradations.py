"""Bad pictures: what the words of the negative prompt look like.

Every degradation is linear in the picture, so it acts on the five channels, and a degraded view stays a view of
`ViewLibrary`: its picture under any main colour and background is the degraded picture. Only the meaning of alpha
changes: 1 - alpha is the exact factor of the background, no longer coverage alone, since a dark or a flat picture
darkens or flattens its background too.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_GREY = 0.5


def blur(buffers: Tensor, radius: float) -> Tensor:
    """Return buffers (n, 5, h, w) under a Gaussian blur whose standard deviation is `radius` pixels.

    What lies outside the picture counts as background, as it is: no shape is cropped by its views.
    """
    reach = max(1, round(3 * radius))
    ticks = torch.arange(-reach, reach + 1, dtype=buffers.dtype)
    kernel = torch.exp(-0.5 * (ticks / radius) ** 2)
    kernel = (kernel / kernel.sum()).expand(buffers.shape[1], 1, -1)
    across = functional.conv2d(buffers, kernel[:, :, None, :], padding=(0, reach), groups=buffers.shape[1])
    return functional.conv2d(across, kernel[:, :, :, None], padding=(reach, 0), groups=buffers.shape[1])


def coarsen(buffers: Tensor, block: int) -> Tensor:
    """Return buffers in which every `block` x `block` pixels have their mean; `block` divides the picture's size."""
    return functional.avg_pool2d(buffers, block).repeat_interleave(block, dim=-1).repeat_interleave(block, dim=-2)


def scale_towards(buffers: Tensor, keep: float, level: float) -> Tensor:
    """Return buffers whose picture x has become keep x + (1 - keep) level: low contrast (grey) or darkness (0).

    The level goes into the fixed channels; shade and background lose the same share.
    """
    shade, fixed, alpha = buffers[:, :1], buffers[:, 1:4], buffers[:, 4:]
    return torch.cat([keep * shade, keep * fixed + (1.0 - keep) * level, 1.0 - keep * (1.0 - alpha)], dim=1)


def degrade(buffers: Tensor, generator: torch.Generator) -> Tensor:
    """Return degraded views (n, 5, h, w) float32 in 0..1 of views (n, 5, h, w) in 0..1.

    Each view gets one or two of: blur (3 to 8 % of the picture's side), coarse pixels (an eighth or a sixteenth of it),
    low contrast (a quarter to a half of it is kept), darkness (the same), drawn from `generator`.
    """
    size = buffers.shape[-1]
    results = []
    for view in buffers[:, None]:
        kinds = torch.randperm(4, generator=generator)[: 1 + int(torch.randint(2, (1,), generator=generator))]
        strength = torch.rand(4, generator=generator).tolist()
        for kind in sorted(kinds.tolist()):
            if kind == 0:
                view = blur(view, size * (0.03 + 0.05 * strength[0]))
            elif kind == 1:
                view = coarsen(view, max(2, size // (8 if strength[1] < 0.5 else 16)))
            else:
                view = scale_towards(view, 0.25 + 0.25 * strength[kind], _GREY if kind == 2 else 0.0)
        results.append(view)
    return torch.cat(results) if results else buffers
