"""The newest preview in an Image Editor: one image data-block, looked up anew by its mark each time.

The user's file is spared: the image is packed whenever it changes, so that Blender does not ask what to do with it on
quitting, and it is taken out of the file while that is being saved. Whoever removes it, by undo too, switches it off.
"""

from __future__ import annotations

import bpy
import numpy as np
from bpy.app.handlers import persistent

from .preview_image import rgba_rows_from_bottom

NAME = "Limbeck Preview"
TAG = "limbeck_preview"
EMPTY_SIZE = 128
_newest: list[np.ndarray] = []
"""The picture that the editor shows, or would show: at most one."""
_showing: list[int] = []
"""The areas that showed the image before it was taken out for saving."""
_to_fit: list[int] = []
"""The result that was shown last, by its `session_uid`, until it fills its editor."""
_lent: dict[int, int] = {}
"""The areas that show a finished picture until the next job's first preview, and which one (its `session_uid`)."""


def find() -> bpy.types.Image | None:
    """Return the image if there is one."""
    return next((image for image in bpy.data.images if TAG in image), None)


def show(picture: np.ndarray) -> None:
    """Note (h, w, 3) uint8, sRGB, first row on top; put it into the image, if there is one."""
    _newest[:] = [picture]
    image = find()
    if image is not None:
        _fill(image, picture)
        for area in areas():
            if area.spaces.active.image == image:
                area.tag_redraw()


def areas() -> list[bpy.types.Area]:
    """Return the Image Editors of all windows."""
    screens = (window.screen for window in bpy.context.window_manager.windows)
    return [area for screen in screens for area in screen.areas if area.type == "IMAGE_EDITOR"]


def is_shown_in(area: bpy.types.Area) -> bool:
    """Return whether an Image Editor shows the live preview."""
    image = area.spaces.active.image
    return image is not None and TAG in image


def lend(area: bpy.types.Area, image: bpy.types.Image) -> None:
    """Have an Image Editor that shows the live preview show another image until `take_back`."""
    _lent[area.as_pointer()] = image.session_uid
    area.spaces.active.image = image


def take_back() -> None:
    """Show the live preview again in the editors that were lent; for the first preview of another job.

    Where somebody has chosen another image meanwhile, or pinned this one, that stays.
    """
    preview = find()
    for area in areas() if preview is not None and _lent else ():
        space = area.spaces.active
        is_as_lent = space.image is not None and _lent.get(area.as_pointer()) == space.image.session_uid
        if is_as_lent and not space.use_image_pin:
            space.image = preview
    _lent.clear()


def switch_on() -> bpy.types.Image:
    """Return the image, made if need be; from now on it shows every preview."""
    image = find()
    if image is None:
        image = bpy.data.images.new(NAME, EMPTY_SIZE, EMPTY_SIZE, alpha=False)
        image[TAG] = True
        grey = np.full((EMPTY_SIZE, EMPTY_SIZE, 3), 60, dtype=np.uint8)
        _fill(image, _newest[0] if _newest else grey)
    for handlers, handler in _handlers():
        if handler not in handlers:
            handlers.append(handler)
    return image


def fit() -> None:
    """Have the live preview, and the result that was shown last, fill the editors that show them."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            image = area.spaces.active.image if area.type == "IMAGE_EDITOR" else None
            if image is not None and (TAG in image or image.session_uid in _to_fit):
                region = next(region for region in area.regions if region.type == "WINDOW")
                with bpy.context.temp_override(window=window, area=area, region=region):
                    bpy.ops.image.view_all(fit_view=True)
    _to_fit.clear()


def fit_soon(image: bpy.types.Image | None = None) -> None:
    """Have an image, or the live preview, fill the editors that show it, once Blender has drawn them."""
    if bpy.app.background:
        return
    if image is not None:
        _to_fit[:] = [image.session_uid]
    if not bpy.app.timers.is_registered(fit):
        bpy.app.timers.register(fit, first_interval=0.2)


def switch_off() -> None:
    """Remove the image."""
    if bpy.app.timers.is_registered(fit):
        bpy.app.timers.unregister(fit)
    image = find()
    if image is not None:
        bpy.data.images.remove(image)
    for handlers, handler in _handlers():
        if handler in handlers:
            handlers.remove(handler)


def clear() -> None:
    """Remove the image and forget the picture."""
    switch_off()
    _newest.clear()
    _lent.clear()


def _fill(image: bpy.types.Image, picture: np.ndarray) -> None:
    height, width = picture.shape[:2]
    if tuple(image.size) != (width, height):
        image.scale(width, height)
    image.pixels.foreach_set(rgba_rows_from_bottom(picture))
    image.update()
    image.pack()


@persistent
def _before_saving(*_: object) -> None:
    image = find()
    if image is not None:
        _showing[:] = [area.as_pointer() for area in areas() if area.spaces.active.image == image]
        bpy.data.images.remove(image)
        _showing.append(0)  # no area: says that there was an image


@persistent
def _after_saving(*_: object) -> None:
    if _showing:
        image = switch_on()
        for area in areas():
            if area.as_pointer() in _showing:
                area.spaces.active.image = image
        _showing.clear()


def _handlers() -> list[tuple[list, object]]:
    handlers = bpy.app.handlers
    after = [(handlers.save_post, _after_saving), (handlers.save_post_fail, _after_saving)]
    return [(handlers.save_pre, _before_saving), *after]
