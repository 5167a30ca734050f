"""What is measured of pictures: how saturated and contrasty they are, and how often right; with standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.known_world.captions import parse_caption
from limbeck_server.priors.training.classifier import Classifier

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""Rec. 709's weights of red, green and blue."""
BURNT_MARGIN = 0.1
"""In latents of -1..1, 5 % of the range: how far past black or white a value must lie to count as burnt."""


@dataclass(frozen=True)
class Figure:
    """A mean over pictures, and its standard error; not a number where one picture tells none."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if math.isnan(self.error) else f" ({self.error:.3f})")


def figure(values: Tensor) -> Figure:
    """Return the mean of values (n,) and its standard error, s / sqrt(n); the pictures count as independent draws."""
    values = values.double()
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else math.nan
    return Figure(float(values.mean()), error)


def looks(latents: Tensor, pictures: Tensor) -> dict[str, Tensor]:
    """Return four measures of each picture, (n,) float64 each.

    `saturation`: the largest less the smallest of red, green and blue, mean over pixels; `contrast`: standard deviation
    of luminance over pixels; `detail`: mean difference of luminance between neighbours; `burnt`: the share of
    latents more than 0.1 outside of -1..1, what a screen cuts off.

    Args:
        latents: (n, 3, h, w) of a prior of pixels, where -1 is black and 1 is white.
        pictures: (n, 3, s, s) in 0..1.
    """
    pictures = pictures.double()
    luminance = (pictures * torch.tensor(LUMINANCE, dtype=torch.float64)[:, None, None]).sum(dim=1)
    across = (luminance[:, :, 1:] - luminance[:, :, :-1]).abs().mean(dim=(1, 2))
    down = (luminance[:, 1:] - luminance[:, :-1]).abs().mean(dim=(1, 2))
    return {
        "saturation": (pictures.amax(dim=1) - pictures.amin(dim=1)).mean(dim=(1, 2)),
        "contrast": luminance.std(dim=(1, 2), correction=0),
        "detail": (across + down) / 2,
        "burnt": (latents.abs() > 1.0 + BURNT_MARGIN).double().mean(dim=(1, 2, 3)),
    }


def hits(classifier: Classifier, pictures: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
    """Return 1 or 0 for each picture (n, 3, s, s) in 0..1: whether colour, shape, and both, are its prompt's."""
    words = classifier.words(pictures)
    wanted = [parse_caption(prompt) for prompt in prompts]
    right = {
        over: torch.tensor(
            [float(getattr(caption, over) == word) for word, caption in zip(words[over], wanted, strict=True)]
        )
        for over in ("colour", "shape")
    }
    return {**right, "both": right["colour"] * right["shape"]}


def table(rows: Mapping[str, Mapping[str, str]], first: int = 14, width: int = 17) -> list[str]:
    """Return lines of a table: labels down the side, columns in the order in which rows first name them."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [" " * first + "".join(f"{column:>{width}}" for column in columns)]
    for label, row in rows.items():
        lines.append(f"{label:<{first}}" + "".join(f"{row.get(column, '-'):>{width}}" for column in columns))
    return lines
