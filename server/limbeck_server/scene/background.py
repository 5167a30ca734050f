"""Backgrounds: a solid colour behind each view, or a learned environment far away, coloured by direction."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from limbeck_server.scene.cameras import Views, rays

FIXED_BACKGROUNDS = {"black": 0.0, "grey": 0.5, "white": 1.0}
SOLID_BACKGROUNDS = ("random", *FIXED_BACKGROUNDS)
LEARNED_BACKGROUNDS = ("learned", "alternating")
"""Those that need an `EnvironmentMap`."""
BACKGROUNDS = (*SOLID_BACKGROUNDS, *LEARNED_BACKGROUNDS)
LEARNING_RATE_SHARE = 0.1
"""The map's pace against the field's: 0.001 against 0.01 in threestudio's configurations."""
SOLID_SHARE = 0.5
"""How often `alternating` shows a random colour (threestudio's random_aug_prob)."""


class EnvironmentMap(nn.Module):
    """A colour for every direction: a tiny network on spherical harmonics of degrees 0 to 2, as in threestudio.

    It lets a prior have the surroundings that it wants to see, and is too smooth to hold an object's details.

    Args:
        generator: draws its start values; on the CPU, so that every device starts alike.
        device: where its parameters live.
        width: of its two hidden layers.
    """

    def __init__(self, generator: torch.Generator, device: torch.device | str = "cpu", width: int = 16) -> None:
        super().__init__()
        sizes = (_HARMONICS, width, width, 3)
        # skip_init: the layers' own initialisation would draw from torch's global generator.
        layers = [
            nn.utils.skip_init(nn.Linear, i, o)  # type: ignore[no-untyped-call]
            for i, o in pairwise(sizes)
        ]
        for layer in layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        first, second, last = layers
        self.network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last, nn.Sigmoid()).to(device)

    def forward(self, directions: Tensor) -> Tensor:
        """Return colours (n, 3) in 0..1 of unit directions (n, 3)."""
        colours: Tensor = self.network(spherical_harmonics(directions))
        # Under autocast the network answers in half precision; compositing needs more.
        return colours.to(directions.dtype)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Return what an optimiser needs, at a tenth of the field's learning rate."""
        rate = LEARNING_RATE_SHARE * learning_rate
        return [{"name": "background", "params": list(self.parameters()), "lr": rate, "weight_decay": 0.0}]


_HARMONICS = 9


def spherical_harmonics(directions: Tensor) -> Tensor:
    """Return the nine real spherical harmonics of degrees 0, 1 and 2, (n, 9), of unit directions (n, 3).

    They are orthonormal over the sphere: the mean of their products is 1 / (4 pi) for equal ones, 0 for others.
    """
    x, y, z = directions.unbind(-1)
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            0.4886025119029199 * y,
            0.4886025119029199 * z,
            0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            1.0925484305920792 * y * z,
            0.31539156525252005 * (3.0 * z.square() - 1.0),
            1.0925484305920792 * x * z,
            0.5462742152960396 * (x.square() - y.square()),
        ],
        dim=-1,
    )


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
    raise ValueError(f"unknown background {name!r}: expected one of {', '.join(SOLID_BACKGROUNDS)}")


def environment_background(environment: EnvironmentMap, views: Views, size: int) -> Tensor:
    """Return what views see of the environment alone, (views, 3, size, size), differentiable in its parameters."""
    _, directions = rays(views, size)
    colours: Tensor = environment(directions.reshape(-1, 3))
    return colours.view(len(views), size, size, 3).permute(0, 3, 1, 2)


def views_background(
    name: str, views: Views, size: int, environment: EnvironmentMap | None, generator: torch.Generator
) -> Tensor:
    """Return the background of views, on their device: solid (views, 3), or for each pixel (views, 3, size, size).

    Args:
        name: one of `BACKGROUNDS`. The solid ones see `sample_background`; `learned` is the environment;
            `alternating` shows each view a random solid colour half the time and the environment otherwise, so that
            the object's outline must hold against any background while the prior's pictures look natural.
        views: from where.
        size: side of the square pictures in pixels.
        environment: the map, for the learned ones; the others ignore it.
        generator: the only source of randomness; untouched by `learned` and the fixed ones.

    Raises:
        ValueError: the name is unknown, or the map is missing.
    """
    if name not in LEARNED_BACKGROUNDS:
        if name not in SOLID_BACKGROUNDS:
            raise ValueError(f"unknown background {name!r}: expected one of {', '.join(BACKGROUNDS)}")
        return sample_background(name, len(views), generator).to(views.lens.device)
    if environment is None:
        raise ValueError(f"the background {name!r} needs an environment map, got none; build an EnvironmentMap for it")
    learned = environment_background(environment, views, size)
    if name == "learned":
        return learned
    solid = torch.rand(len(views), generator=generator, device=generator.device) < SOLID_SHARE
    colours = sample_background("random", len(views), generator).to(learned)
    return torch.where(solid.to(learned.device)[:, None, None, None], colours[:, :, None, None], learned)
