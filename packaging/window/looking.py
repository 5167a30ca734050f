"""What a program can tell of a screenshot: how much changed between two, and how much of it is of a colour."""

from __future__ import annotations

import numpy as np
from PIL import Image

CHANGE_LEVELS = 10
"""A pixel has changed when one of its channels differs by more than this, of 255."""


def rows_changed(one: Image.Image, other: Image.Image) -> int:
    """Return how many rows of pixels differ between two pictures of one size; a progress bar is about 20 high."""
    if one.size != other.size:
        return max(one.height, other.height)
    difference = np.abs(np.asarray(one, dtype=np.int16) - np.asarray(other, dtype=np.int16)).max(axis=2)
    return int(((difference > CHANGE_LEVELS).sum(axis=1) > 4).sum())


def yellow_pixels(picture: Image.Image) -> int:
    """Return how many pixels are plainly yellow: red and green near each other and well above blue."""
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), dtype=np.int16), -1, 0)
    is_yellow = (red > 90) & (green > 75) & (np.minimum(red, green) - blue > 45) & (np.abs(red - green) < 70)
    return int(is_yellow.sum())


def without_empty_end(sidebar: Image.Image, least_px: int = 300) -> Image.Image:
    """Return a sidebar's picture without the part below its panels; at least the tabs' height is kept.

    Beside the widgets a panel's backdrop is flat and no lighter than its header's; the view below is not.
    """
    margin = np.asarray(sidebar.convert("L"), dtype=np.int16)[:, 11:15]
    is_panel = (margin.max(axis=1) - margin.min(axis=1) <= 1) & (margin.max(axis=1) <= margin[8:24].max() + 1)
    rows = np.flatnonzero(is_panel)
    # Lines between panels interrupt the backdrop by a few rows only.
    gaps = np.flatnonzero(np.diff(rows) > 12)
    end = int(rows[gaps[0]] if len(gaps) else rows[-1]) + 6
    return sidebar.crop((0, 0, sidebar.width, min(sidebar.height, max(least_px, end))))
