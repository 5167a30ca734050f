"""Backgrounds: one solid colour behind each view."""

from __future__ import annotations

import torch
from torch import Tensor

FIXED_BACKGROUNDS = {"black": 0.0, "grey": 0.5, "white": 1.0}
BACKGROUNDS = ("random", *FIXED_BACKGROUNDS)


def sample_background(name: str, views: int, generator: torch.Generator) -> Tensor:
    """Return background colours (views, 3) in 0..1, on the generator's device.

    Args:
        name: `random` (an independent colour for each view, uniform in the cube of colours, so that no fixed background
            can be painted onto the object), `grey`, `white` or `black`.
        views: how many.
        generator: the only source of randomness; untouched by the fixed ones.

    Raises:
        ValueError: the name is unknown.
    """
    if name == "random":
        return torch.rand(views, 3, generator=generator, device=generator.device)
    if name in FIXED_BACKGROUNDS:
        return torch.full((views, 3), FIXED_BACKGROUNDS[name], device=generator.device)
    raise ValueError(f"unknown background {name!r}: expected one of {', '.join(BACKGROUNDS)}")
