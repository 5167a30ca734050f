"""What is particular to recipes of pictures: what they may ask for, and what a generator changes in their preset.

Imports no torch, so that the server can refuse a bad recipe at once.
"""

from __future__ import annotations

import msgspec
import psutil
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import Image, Recipe, Settings

from limbeck_server.distillation.losses import LOSSES
from limbeck_server.presets import EXACT, makes
from limbeck_server.presets.images import GENERATORS, of_generator, usual_generator

EXACT_SIZES = (32, 64)
"""Sides in pixels of the pictures that the exact prior knows."""
EXACT_DEFAULT_SIZE = 64
MLP_BYTES_PER_PIXEL = 2600
"""What the features of a network of coordinates take at their peak, measured at 512 and 768 pixels (2590 and 2582)."""


def check_image(recipe: Recipe) -> None:
    """See that a recipe's image can be made; one without an image is fine.

    Raises:
        LimbeckError: the loss edits, the generator is unknown, the exact prior has no such size, or a network of
            coordinates would not fit into memory.
    """
    if not recipe.image:
        return
    code = ErrorCode.INVALID_FIELD
    if "reference" in LOSSES[recipe.loss].needs:
        message = (
            f"The loss {recipe.loss!r} edits a picture that exists, and an image begins with nothing. To edit one: "
            f"limbeck edit PICTURE.png {recipe.prompt!r} --from 'what it shows now'."
        )
        raise LimbeckError(code, message, remedy_for(code, label="Choose another loss.", field="recipe.loss"))
    if recipe.image.generator not in (None, *GENERATORS):
        message = f"There is no generator {recipe.image.generator!r}; there are: {', '.join(GENERATORS)}."
        raise LimbeckError(code, message, remedy_for(code, field="recipe.image.generator"))
    if recipe.prior == EXACT and recipe.image.size not in (None, *EXACT_SIZES):
        message = f"The exact prior's pictures are 32 or 64 pixels wide, so an image cannot have {recipe.image.size}."
        raise LimbeckError(code, message, remedy_for(code, field="recipe.image.size"))
    generator, most = _generator(recipe.preset, recipe.loss, recipe.image), largest_mlp_size()
    if generator == "mlp" and recipe.image.size is not None and recipe.image.size > most:
        message = (
            f"A network of coordinates for {recipe.image.size} pixels a side would not fit into this server's memory. "
            f"Lower the size to {most} or less, or choose the generator pixels."
        )
        raise LimbeckError(code, message, remedy_for(code, field="recipe.image.size"))


def largest_mlp_size() -> int:
    """Return how large a picture by a network of coordinates can be on this machine, in pixels a side.

    Three quarters of its memory hold what the network is asked at every pixel.
    """
    return int((0.75 * psutil.virtual_memory().total / MLP_BYTES_PER_PIXEL) ** 0.5)


def check_makes(recipe: Recipe, fitting: list[str]) -> None:
    """See that the preset makes what the recipe asks for.

    Args:
        recipe: with a preset that exists.
        fitting: names of the presets that do, with the recipe's loss and prior.

    Raises:
        LimbeckError: it makes the other.
    """
    made = makes(recipe.preset)
    if made == makes_of(recipe):
        return
    code = ErrorCode.UNKNOWN_PRESET
    wanted = "an image" if recipe.image else "an object"
    message = (
        f"The preset {recipe.preset!r} makes {made}s, and the recipe asks for {wanted}. For the loss {recipe.loss!r} "
        f"and the prior {recipe.prior!r} there are: {', '.join(fitting) or 'none'}."
    )
    raise LimbeckError(code, message, remedy_for(code, field="recipe.preset"))


def makes_of(recipe: Recipe) -> str:
    """Return what a recipe makes, as presets say it: `object` or `image`."""
    return "image" if recipe.image else "object"


def generator_settings(recipe: Recipe, kind: str) -> Settings:
    """Return what the recipe's generator changes in its preset; nothing for objects.

    Args:
        recipe: with a preset that is made for it.
        kind: of its prior.
    """
    if not recipe.image:
        return Settings()
    return of_generator(recipe.preset, recipe.loss, kind, _generator(recipe.preset, recipe.loss, recipe.image))


def with_image_choices(recipe: Recipe) -> Recipe:
    """Return the recipe with what its image leaves open: the generator is what the preset is made for.

    The size is filled in for the exact prior only; others bring their own, which is known once they are loaded.
    """
    if not recipe.image:
        return recipe
    size = EXACT_DEFAULT_SIZE if recipe.image.size is None and recipe.prior == EXACT else recipe.image.size
    image = Image(generator=_generator(recipe.preset, recipe.loss, recipe.image), size=size)
    return msgspec.structs.replace(recipe, image=image)


def _generator(preset: str, loss: str, image: Image) -> str:
    return usual_generator(preset, loss) if image.generator is None else image.generator
