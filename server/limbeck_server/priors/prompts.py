"""What text-to-image networks are told besides the prompt: where the camera stands, and what bad pictures look like."""

from __future__ import annotations

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
