"""What the studies on pictures share: a picture whose truth is known, states on the way to it, and who judges them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limbeck_server.known_world.captions import Caption, parse_caption
from limbeck_server.known_world.degradations import blur, coarsen, scale_towards
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.scene.cameras import orbit_views
from limbeck_server.studies import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AZIMUTH_DEG, ELEVATION_DEG = 45.0, 15.0
"""Where the camera of all pictures stands: front left, at eye level."""
BACKGROUND = 0.5
NEAREST_SIGMA = 0.02
"""Noise level, in latents, at which a denoised picture is the nearest of all that the prior knows."""
JUDGE_NOISE_STD = 0.25
"""Deviation from a perfect picture of 32 pixels, in 0..1, that the posterior of shapes and colours forgives."""


def known_caption(prompt: str) -> Caption:
    """Return the meaning of a prompt that has a truth: it names a shape and a colour, and no view.

    Raises:
        ValueError: it does not.
    """
    caption = parse_caption(prompt)
    if caption.shape is None or caption.colour is None or caption.azimuth or caption.elevation or caption.degraded:
        raise ValueError(
            f"the study compares with a true picture, so its prompt must name a shape and a colour, and no view, such "
            f"as 'a yellow duck'; got {prompt!r}"
        )
    return caption


def true_buffers(shape: str, size: int) -> Tensor:
    """Return the five channels (1, 5, size, size) that the studies' camera sees of a shape."""
    view = orbit_views(torch.tensor([AZIMUTH_DEG]), torch.tensor([ELEVATION_DEG]))
    return render_buffers(SHAPES[shape], view, size)


def latents_of(prior: ExactPrior, buffers: Tensor, colour: str) -> Tensor:
    """Return the latents (1, 3, size, size) of a view in a colour, before grey."""
    return prior.encode_images(in_colour(buffers, colour).to(prior.device))


def in_colour(buffers: Tensor, colour: str) -> Tensor:
    """Return the pictures (n, 3, size, size) in 0..1 of views in a colour, before grey."""
    return compose_picture(buffers, torch.tensor(COLOURS[colour]), torch.full((3,), BACKGROUND))


def other_colour(colour: str) -> str:
    """Return the wrong colour: blue, or red for what is blue."""
    return "blue" if colour != "blue" else "red"


def states(prior: ExactPrior, caption: Caption) -> dict[str, Tensor]:
    """Return latents (1, 3, size, size) on the way to the caption's picture, and `truth`, the picture itself.

    `start` is a grey ball, blurred, as every run on the exact prior begins; `degraded` the right picture in coarse
    pixels and of low contrast; `wrong colour` the right shape in another colour.
    """
    assert caption.shape is not None
    assert caption.colour is not None
    size = prior.size
    seen = true_buffers(caption.shape, size)
    ball = blur(true_buffers("sphere", size), 0.06 * size)
    poor = scale_towards(coarsen(seen, size // 8), 0.5, BACKGROUND)
    return {
        "start": latents_of(prior, ball, "grey"),
        "degraded": latents_of(prior, poor, caption.colour),
        "wrong colour": latents_of(prior, seen, other_colour(caption.colour)),
        "truth": latents_of(prior, seen, caption.colour),
    }


def distance_to_world(prior: ExactPrior, latents: Tensor, text: str) -> Tensor:
    """Return how far latents (n, 3, s, s) are from the nearest picture of that text: root mean square, (n,).

    The nearest is what the ideal denoiser gives at a noise level near 0 (its limit is the nearest sample, colour and
    background fitted); it asks the prior's closed form, so the calls are counted like any.
    """
    sigma = torch.full((len(latents),), NEAREST_SIGMA)
    nearest = prior.denoise_at(latents, sigma, [text] * len(latents))
    return (latents - nearest).square().mean(dim=(1, 2, 3)).sqrt()


def seen_in(prior: ExactPrior, latents: Tensor, caption: Caption) -> dict[str, list[float]]:
    """Return the posterior probabilities of the caption's shape and colour in each picture."""
    pictures, forgiven = (latents + 1) / 2, JUDGE_NOISE_STD * prior.size / 32
    found = {}
    for over, word in (("shape", caption.shape), ("colour", caption.colour)):
        assert word is not None
        words, probabilities = prior.posterior(pictures, forgiven, over)
        found[over] = probabilities[:, words.index(word)].tolist()
    return found


def drop_legend(panel: Axes) -> None:
    """Take away a panel's legend, where a neighbour has the same."""
    legend = panel.get_legend()
    if legend is not None:
        legend.remove()


def picture_grid(
    path: Path,
    prior: ExactPrior,
    rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]],
    title: str = "",
    panel_in: float = 1.35,
) -> None:
    """Write rows of latents (1, 3, s, s) as a PNG, each row with its label and each picture with its title."""
    columns = max(len(pictures) for _, pictures in rows)
    figure, axes = figures.panels(len(rows), columns, (panel_in, panel_in * 1.15), title)
    for row, (label, pictures) in zip(axes, rows, strict=True):
        for panel in row[len(pictures) :]:
            panel.set_axis_off()
        for panel, (above, latents) in zip(row, pictures, strict=False):
            figures.picture(panel, prior.decode_latents(latents)[0].permute(1, 2, 0).cpu().numpy(), title=above)
            panel.title.set_fontsize("x-small")
        row[0].set_axis_on()
        row[0].set_xticks([])
        row[0].set_yticks([])
        row[0].set_ylabel(label, fontsize="x-small")
    figures.save(figure, path)
