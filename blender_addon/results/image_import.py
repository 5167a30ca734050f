"""A finished picture -> an image data-block, packed, with its recipe; and showing it in an Image Editor.

Rules of this file: the picture has been checked (`picture`); either everything arrives or nothing stays behind; the
job's id is kept in a custom property, never in a name. Main thread only; works with and without a window.
"""

from __future__ import annotations

import bpy
import numpy as np

from ..previews import image_editor_preview
from .data_blocks import push_undo_step, readable_name, removed_on_failure
from .picture import Picture, refusal
from .recipe_on_object import JOB_KEY, Origin, is_result, write_origin
from .result_asset import set_thumbnail


def import_image(
    picture: Picture, origin: Origin, *, preview: np.ndarray | None = None, push_undo: bool = False
) -> bpy.types.Image:
    """Return the image data-block of a job, shown in an Image Editor where one is open.

    It is named after the prompt, packed into the file, and kept when the file is saved though nothing uses it. If the
    job's picture is in the file already, that is the one: nothing new is made.

    Args:
        picture: as `read_picture` has checked it.
        origin: written on the image, see `recipe_on_object`.
        preview: the job's last preview, (h, w, 3) uint8, sRGB, first row on top: becomes the image's thumbnail.
        push_undo: make an undo step; wanted from timers, not from operators, which push their own.

    Raises:
        LimbeckError: Blender cannot read the picture; the file is as it was before.
    """
    known = image_of(origin.job_id)
    if known is not None:
        show(known)
        return known
    name = readable_name(origin.recipe.prompt)
    with removed_on_failure() as made:
        image = made(bpy.data.images, bpy.data.images.new(name, 1, 1))
        image.pack(data=picture.content, data_len=len(picture.content))
        image.source = "FILE"
        if tuple(image.size) != (picture.width, picture.height):
            raise refusal("Blender cannot read it.")
        image.use_fake_user = True  # else saving would drop it: no object uses it
        write_origin(image, origin)
        if preview is not None:
            set_thumbnail(image, preview)
    show(image)
    if push_undo:
        push_undo_step(f"Limbeck: {name}")
    return image


def image_of(job_id: str) -> bpy.types.Image | None:
    """Return the image that a job made, if it is in the file."""
    images = (image for image in bpy.data.images if is_result(image) and image.library is None)
    return next((image for image in images if job_id and image.get(JOB_KEY) == job_id), None)


def show(image: bpy.types.Image) -> bool:
    """Show an image in an open Image Editor; return whether there is one.

    An editor that is pinned is left alone, and so is one that shows the live preview, unless there is no other.
    """
    editors = [area for area in image_editor_preview.areas() if area.ui_type == "IMAGE_EDITOR"]
    free = [area for area in editors if not area.spaces.active.use_image_pin]
    free.sort(key=image_editor_preview.is_shown_in)
    if not free:
        return False
    if image_editor_preview.is_shown_in(free[0]):
        image_editor_preview.lend(free[0], image)
    else:
        free[0].spaces.active.image = image
    free[0].tag_redraw()
    image_editor_preview.fit_soon(image)
    return True


def active_image(context: bpy.types.Context) -> bpy.types.Image | None:
    """Return the image that the Image Editor shows in which somebody works; None in any other editor."""
    space = context.space_data
    return space.image if space is not None and space.type == "IMAGE_EDITOR" else None


def is_in_file(job_id: str) -> bool:
    """Return whether a job's result, be it an object or an image, stands in this file."""
    return image_of(job_id) is not None or any(thing.get(JOB_KEY) == job_id for thing in bpy.data.objects)
