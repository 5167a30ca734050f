"""Shading: what light makes of colours.

`albedo` shows colours as they are: right for a prior whose pictures carry their own shading. `lambert` lights them by a
point light, `textureless` lights a white object, which keeps colour from faking shape (DreamFusion, section 3.1).
`mixed` chooses one of the three for each step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SHADINGS = ("albedo", "lambert", "textureless")
MIXED = "mixed"
LIGHTS = ("camera", "above")


@dataclass(frozen=True)
class Shading:
    """How a batch of views is lit.

    Attributes:
        kind: `albedo`, `lambert` or `textureless`.
        light_positions: (views, 3), one point light for each view; None for albedo only.
        ambient: share of light that comes from everywhere.
        diffuse: share of light that comes from the point light.
    """

    kind: str = "albedo"
    light_positions: Tensor | None = None
    ambient: float = 0.1
    diffuse: float = 0.9

    def __post_init__(self) -> None:
        if self.kind not in SHADINGS:
            raise ValueError(f"unknown shading {self.kind!r}: expected one of {', '.join(SHADINGS)}")
        if self.kind != "albedo" and self.light_positions is None:
            raise ValueError(f"shading {self.kind!r} needs light_positions, one for each view (see sample_lights)")

    @property
    def needs_normals(self) -> bool:
        """Whether it looks at the surface's direction."""
        return self.kind != "albedo"


def lambert(colours: Tensor, normals: Tensor, to_light: Tensor, ambient: float = 0.1, diffuse: float = 0.9) -> Tensor:
    """Return lit colours (n, 3): colours x (ambient + diffuse max(0, n . l)), n normals, l directions to the light.

    The diffuse reflectance of DreamFusion (Poole et al. 2022, section 3.1), with white light.
    """
    return colours * (ambient + diffuse * (normals * to_light).sum(-1, keepdim=True).relu())


def textureless(normals: Tensor, to_light: Tensor, ambient: float = 0.1, diffuse: float = 0.9) -> Tensor:
    """Return the same light on a white object, (n, 3)."""
    return lambert(torch.ones_like(normals), normals, to_light, ambient, diffuse)


def shade(shading: Shading, colours: Tensor, normals: Tensor | None, points: Tensor, view_index: Tensor) -> Tensor:
    """Return what points look like under a shading.

    Args:
        shading: how they are lit.
        colours: (n, 3) albedo in 0..1.
        normals: (n, 3) unit normals, or None for albedo.
        points: (n, 3).
        view_index: (n,) which view, and so which light, each point belongs to.

    Raises:
        ValueError: the shading needs normals and there are none.
    """
    if shading.kind == "albedo":
        return colours
    if normals is None or shading.light_positions is None:
        raise ValueError(f"shading {shading.kind!r} needs normals and lights, got none")
    to_light = torch.nn.functional.normalize(shading.light_positions[view_index] - points, dim=-1)
    if shading.kind == "textureless":
        return textureless(normals, to_light, shading.ambient, shading.diffuse)
    return lambert(colours, normals, to_light, shading.ambient, shading.diffuse)


def choose_shading(
    kind: str,
    share: float,
    albedo_until: float,
    lit_share: float,
    textureless_share: float,
    generator: torch.Generator,
) -> str:
    """Return one of `SHADINGS` for a step of the run.

    `mixed` shows albedo first, so that a shape can form, and then the three by chance, which keeps colour from faking
    shape (DreamFusion, Poole et al. 2022, section 3.1; threestudio: 0.2 of the run, then 0.75 and 0.5, which is 25 %
    albedo, 37.5 % lambert and 37.5 % textureless).

    Args:
        kind: one of `SHADINGS`, which is then the answer at every step, or `mixed`.
        share: of the run that is done, 0..1.
        albedo_until: share of the run before which `mixed` is albedo only.
        lit_share: probability, after that, of being lit at all.
        textureless_share: probability of being textureless where lit.
        generator: the only source of randomness: one draw at every step of `mixed`, none otherwise.

    Raises:
        ValueError: the name is unknown.
    """
    if kind in SHADINGS:
        return kind
    if kind != MIXED:
        raise ValueError(f"unknown shading {kind!r}: expected one of {', '.join((*SHADINGS, MIXED))}")
    # Drawn in the albedo phase too, so that its length does not shift the run's other random numbers.
    draw = float(torch.rand((), generator=generator, device=generator.device))
    if share < albedo_until or draw >= lit_share:
        return "albedo"
    return "textureless" if draw < lit_share * textureless_share else "lambert"


def sample_lights(name: str, camera_positions: Tensor, generator: torch.Generator) -> Tensor:
    """Return positions (views, 3) of one point light for each view.

    Args:
        name: `camera`: in a random direction near the camera's, drawn from a normal distribution of deviation 1 around
            the camera's position, at a random distance of 0.8 to 1.5 (DreamFusion, appendix); `above`: the same around
            a place 2 above the object.
        camera_positions: (views, 3).
        generator: the only source of randomness.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in LIGHTS:
        raise ValueError(f"unknown light {name!r}: expected one of {', '.join(LIGHTS)}")
    above = camera_positions.new_tensor([0.0, 0.0, 2.0]).expand_as(camera_positions)
    centre = camera_positions if name == "camera" else above
    shape, device = camera_positions.shape, generator.device
    offsets = torch.randn(shape, generator=generator, device=device).to(camera_positions)
    distances = 0.8 + 0.7 * torch.rand(shape[0], 1, generator=generator, device=device).to(camera_positions)
    return torch.nn.functional.normalize(centre + offsets, dim=-1) * distances
