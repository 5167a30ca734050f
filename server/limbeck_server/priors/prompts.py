"""What text-to-image networks are told besides the prompt: where the camera stands, and what bad pictures look like."""

from __future__ import annotations

import math

OVERHEAD_ELEVATION_DEG = 60.0
"""DreamFusion (Poole et al. 2022, section 3.2): above this elevation a view is an overhead one."""
FRONT_HALF_WIDTH_DEG = 45.0
"""Front and back reach this far to either side; DreamFusion leaves the split open, 45 is threestudio's."""
VIEW_SUFFIXES = (", front view", ", side view", ", back view", ", overhead view")

NEGATIVE_PROMPT = (
    "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
)
"""NFSD's negative prompt (Katzir et al. 2023, section 4), word for word."""


def view_suffix(azimuth_deg: float, elevation_deg: float) -> str:
    """Return the view words of a camera: one of `VIEW_SUFFIXES`, to be appended to a prompt.

    Args:
        azimuth_deg: any angle; 0 is in front of the object, 90 at its left side, 180 behind it.
        elevation_deg: -90..90.

    >>> view_suffix(0.0, 15.0), view_suffix(-90.0, 15.0), view_suffix(190.0, 15.0), view_suffix(0.0, 75.0)
    (', front view', ', side view', ', back view', ', overhead view')
    """
    front, side, back, overhead = VIEW_SUFFIXES
    if elevation_deg > OVERHEAD_ELEVATION_DEG:
        return overhead
    from_front_deg = abs((azimuth_deg + 180.0) % 360.0 - 180.0)
    if from_front_deg <= FRONT_HALF_WIDTH_DEG:
        return front
    return back if from_front_deg >= 180.0 - FRONT_HALF_WIDTH_DEG else side


_OPPOSITE_WEIGHT = (4.0, 0.5, -2.426)
"""Front against side, side against front."""
_SIDE_FROM_BEHIND = (1.0, 0.5, -0.606)
_FRONT_FROM_BEHIND = (1.0, 0.5, 0.967)
"""threestudio's numbers a, b, c of a weight -(a exp(-b r) + c); its prompt processor calls them perp_neg_f."""


def negative_views(azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], tuple[str, float]]:
    """Return what a picture from there should not show, for Perp-Neg: two views, `front` or `side`, and their weights.

    Weights are at most 0 (moving away), continuous in the azimuth to 0.001, and 0 for both above
    `OVERHEAD_ELEVATION_DEG`. In front, the side is pushed away; at the side, the front; behind, the front most of all,
    since a face at the back is what goes wrong (Armandpour et al. 2023, arXiv:2304.04968; threestudio's numbers). Its
    prompts mix the embeddings of two views, ours name one; a view's own words push nothing, since their direction is
    the prompt's.

    Args:
        azimuth_deg: any angle; 0 is in front of the object, 180 behind it.
        elevation_deg: -90..90.
    """
    from_front_deg = abs((azimuth_deg + 180.0) % 360.0 - 180.0)
    if elevation_deg > OVERHEAD_ELEVATION_DEG:
        return ("front", 0.0), ("side", 0.0)
    if from_front_deg < 90.0:
        frontness = 1.0 - from_front_deg / 90.0
        return ("front", _weight(_OPPOSITE_WEIGHT, frontness)), ("side", _weight(_OPPOSITE_WEIGHT, 1.0 - frontness))
    sideness = 2.0 - from_front_deg / 90.0
    return ("front", _weight(_FRONT_FROM_BEHIND, sideness)), ("side", _weight(_SIDE_FROM_BEHIND, sideness))


def _weight(numbers: tuple[float, float, float], closeness: float) -> float:
    a, b, c = numbers
    return -(a * math.exp(-b * closeness) + c)


def view_negatives(azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
    """Return the two negative texts of a camera, as suffixes of the prompt, with their weights (see `negative_views`).

    >>> [(suffix, round(weight, 2)) for suffix, weight in view_negatives(180.0, 15.0)]
    [(', front view', -1.97), (', side view', -0.39)]
    """
    front, side, _, _ = VIEW_SUFFIXES
    suffixes = {"front": front, "side": side}
    return tuple((suffixes[view], weight) for view, weight in negative_views(azimuth_deg, elevation_deg))
