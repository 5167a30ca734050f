"""A result as an asset: its picture as thumbnail, tags and description from the prompt, a catalog of Limbeck's own."""

from __future__ import annotations

import uuid
from pathlib import Path

import bpy
import numpy as np
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

from .recipe_on_object import read_origin

THUMBNAIL_PX = 256
CATALOG_NAME = "Limbeck"
CATALOG_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, "urn:limbeck:asset-catalog"))
"""The same on every machine, so that libraries of several people merge."""
CATALOG_FILE = "blender_assets.cats.txt"
_NO_TAGS = frozenset({"a", "an", "and", "at", "in", "is", "of", "on", "the", "to", "with"})
_LIMIT_TAGS = 12
_CATALOG_HEAD = "# This is an Asset Catalog Definition file for Blender.\n\nVERSION 1\n\n"


def set_thumbnail(thing: bpy.types.ID, picture: np.ndarray) -> None:
    """Make a picture, (h, w, 3) uint8, sRGB, first row on top, the data-block's preview; saved with the file."""
    step = max(1, -(-max(picture.shape[:2]) // THUMBNAIL_PX))
    small = picture[::step, ::step]
    rgba = np.ones((*small.shape[:2], 4), dtype=np.float32)
    rgba[..., :3] = small[::-1].astype(np.float32) / 255.0  # Blender's first row is the lowest
    preview = thing.preview_ensure()
    preview.image_size = (small.shape[1], small.shape[0])
    preview.image_pixels_float.foreach_set(rgba.reshape(-1))


def has_thumbnail(thing: bpy.types.Object) -> bool:
    """Return whether the object has a preview with pixels in it."""
    return thing.preview is not None and min(thing.preview.image_size) > 0


def mark_as_asset(thing: bpy.types.Object) -> None:
    """Mark a result as an asset: prompt as description, its words as tags, catalog *Limbeck*, preview as thumbnail.

    Raises:
        LimbeckError: the object carries no recipe that can be read, or the library's list of catalogs cannot be
            written; it is not marked.
    """
    recipe = read_origin(thing).recipe
    _write_catalog()
    thing.asset_mark()
    data = thing.asset_data
    data.description = recipe.prompt
    data.catalog_id = CATALOG_ID
    for tag in tags_of(recipe.prompt, recipe.loss):
        data.tags.new(tag, skip_if_exists=True)
    if not has_thumbnail(thing) and not bpy.app.background:
        thing.asset_generate_preview()  # Blender draws one when it has the time


def tags_of(prompt: str, loss: str) -> list[str]:
    """Return the prompt's words without articles and the like, then the loss: each once, lower case."""
    words = ("".join(letter if letter.isalnum() or letter == "-" else " " for letter in prompt.lower())).split()
    tags = [word.strip("-")[:60] for word in words]
    own = [*dict.fromkeys(tag for tag in tags if tag and tag not in _NO_TAGS)]
    return [*own[:_LIMIT_TAGS], loss]


def _write_catalog() -> None:
    """Name the catalog in the asset library that the file lies in; a file outside of any library needs no name."""
    folder = _library_folder()
    if folder is None:
        return
    path = folder / CATALOG_FILE
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if CATALOG_ID not in text:
            before = _CATALOG_HEAD if not text else "" if text.endswith("\n") else "\n"
            with path.open("a", encoding="utf-8") as file:  # what is there already is never written anew
                file.write(f"{before}{CATALOG_ID}:{CATALOG_NAME}:{CATALOG_NAME}\n")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        label = "Untick Mark as Asset, or make the file writable; then import again."
        remedy = remedy_for(ErrorCode.CANNOT_WRITE, label=label, field="mark_as_asset")
        sentence = f"The list of asset catalogs {path} cannot be written: {reason}."
        raise LimbeckError(ErrorCode.CANNOT_WRITE, sentence, remedy) from error


def _library_folder() -> Path | None:
    if not bpy.data.filepath:
        return None
    file = Path(bpy.data.filepath).resolve()
    for library in bpy.context.preferences.filepaths.asset_libraries:
        folder = Path(library.path).resolve() if library.path else None
        if folder is not None and folder.is_dir() and file.is_relative_to(folder):
            return folder
    return None
