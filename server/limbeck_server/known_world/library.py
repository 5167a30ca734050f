"""Stored views of the known world: what the exact prior compares a picture with."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ViewLibrary:
    """Views of shapes, as buffers that are linear in the main colour and the background.

    A view's picture under main colour c and background b is, per colour channel k and pixel,
    x_k = fixed_k + c_k shade + b_k (1 - alpha).

    Attributes:
        buffers: (views, 5, size, size) uint8: shade of the main colour, fixed-part red, green, blue (all premultiplied
            by coverage and light), alpha; 255 stands for 1.
        shape_index: (views,) int64, index into `shape_names`.
        shape_names: the shapes that occur.
        azimuth_deg, elevation_deg: (views,) float32, where the camera stood.
        size: side of the pictures in pixels.
    """

    buffers: Tensor
    shape_index: Tensor
    shape_names: tuple[str, ...]
    azimuth_deg: Tensor
    elevation_deg: Tensor
    size: int
