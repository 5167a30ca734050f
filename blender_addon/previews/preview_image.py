"""The newest preview as an icon that the panel can draw large. No data-block, so the user's file stays as it is."""

from __future__ import annotations

import bpy
import bpy.utils.previews
import numpy as np

_KEY = "limbeck"


class PreviewImage:
    """One icon whose pixels are replaced as previews come in; made at first use, removed by `clear`."""

    def __init__(self) -> None:
        self._previews: bpy.utils.previews.ImagePreviewCollection | None = None

    @property
    def icon_id(self) -> int:
        """The icon for `layout.template_icon`; 0 while there is no preview, or no window to draw it."""
        return self._previews[_KEY].icon_id if self._previews else 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; (0, 0) while there is no preview."""
        return tuple(self._previews[_KEY].image_size) if self._previews else (0, 0)

    def show(self, image: np.ndarray) -> None:
        """Replace the pixels by `image`, (h, w, 3) uint8, sRGB, first row on top."""
        if self._previews is None:
            self._previews = bpy.utils.previews.new()
            self._previews.new(_KEY)
        preview = self._previews[_KEY]
        height, width = image.shape[:2]
        if tuple(preview.image_size) != (width, height):
            preview.image_size = (width, height)
        preview.image_pixels_float.foreach_set(rgba_rows_from_bottom(image))

    def clear(self) -> None:
        """Remove the icon from Blender."""
        if self._previews is not None:
            bpy.utils.previews.remove(self._previews)
            self._previews = None


def rgba_rows_from_bottom(image: np.ndarray) -> np.ndarray:
    """Return (h, w, 3) uint8, first row on top, as Blender's flat float32 RGBA, first row at the bottom."""
    rgba = np.ones((*image.shape[:2], 4), dtype=np.float32)
    rgba[..., :3] = image[::-1].astype(np.float32) / 255.0
    return rgba.reshape(-1)
