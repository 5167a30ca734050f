"""What a panel or a script filled in -> a checked recipe.

Rules of this file: it knows the protocol and nothing of Blender. It checks what a client can know (lengths, ranges,
kinds); words, losses, priors and presets are the server's to judge, since it alone knows what it offers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import msgspec.inspect
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import (
    MAX_PROMPT_CHARACTERS,
    Image,
    Recipe,
    Rig,
    Settings,
    check_recipe,
)


def bad_field(field: str, sentence: str, label: str) -> LimbeckError:
    """Return the error for a recipe field that cannot be used."""
    return LimbeckError(
        ErrorCode.INVALID_FIELD, sentence, remedy_for(ErrorCode.INVALID_FIELD, label=label, field=field)
    )


def make_recipe(
    prompt: str,
    rig: Rig,
    *,
    loss: str,
    prior: str,
    preset: str,
    seed: int,
    negative_prompt: str | None = None,
    settings: Mapping[str, Any] | None = None,
    image: Image | None = None,
) -> Recipe:
    """Return the recipe, every field checked against the protocol's types and ranges.

    Args:
        prompt: what to make; white space around it is dropped.
        rig: where cameras may stand.
        loss: a name from the server's catalog.
        prior: a name from the server's catalog, a hub id, or a folder on the server.
        preset: a name from the server's catalog.
        seed: 0 to 2^63 - 1.
        negative_prompt: None lets the prior choose.
        settings: fields of the protocol's `Settings`; the preset decides the others.
        image: what the picture is made of; None makes an object.

    Raises:
        LimbeckError: a field is empty, unknown, of the wrong kind or out of range; the message names it.
    """
    check_prompt(prompt)
    recipe = Recipe(
        prompt=prompt.strip(),
        negative_prompt=negative_prompt,
        loss=loss,
        prior=prior,
        preset=preset,
        seed=seed,
        rig=rig,
        settings=settings_from_mapping(settings or {}),
        image=msgspec.UNSET if image is None else image,
    )
    check_recipe(recipe)
    return recipe


def check_prompt(prompt: str) -> None:
    """Return nothing, or raise.

    Raises:
        LimbeckError: the prompt is no text, empty, or too long.
    """
    if not isinstance(prompt, str) or not prompt.strip():
        raise bad_field("prompt", "The prompt is empty.", "Write what to make, for example 'a yellow duck'.")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        sentence = f"The prompt has {len(prompt)} characters; at most {MAX_PROMPT_CHARACTERS} are taken."
        raise bad_field("prompt", sentence, "Shorten the prompt.")


def as_written(value: float) -> float:
    """Return a value of Blender's (single precision) as the number that was typed: 0.1, not 0.10000000149."""
    return float(f"{value:.7g}")


def settings_ranges() -> dict[str, tuple[float, float]]:
    """Return (lowest, highest) of each numeric setting, as the protocol's types say; of a schedule, its values'."""
    found = {}
    for field in msgspec.structs.fields(Settings):
        number = _number_in(msgspec.inspect.type_info(field.type))
        if number is not None:
            lowest = next(bound for bound in (number.ge, number.gt, 0) if bound is not None)
            found[field.name] = (lowest, number.le)
    return found


def _number_in(info: Any) -> msgspec.inspect.IntType | msgspec.inspect.FloatType | None:
    """Return the number with a range that a type holds; of a pair, the second: a schedule's value, not its share."""
    if isinstance(info, msgspec.inspect.UnionType):
        inside = list(info.types)
    elif isinstance(info, msgspec.inspect.ListType):
        inside = [info.item_type]
    elif isinstance(info, msgspec.inspect.TupleType):
        inside = [info.item_types[-1]]
    else:
        is_number = isinstance(info, (msgspec.inspect.IntType, msgspec.inspect.FloatType))
        return info if is_number and info.le is not None else None
    return next((number for number in map(_number_in, inside) if number is not None), None)


def settings_from_mapping(values: Mapping[str, Any]) -> Settings:
    """Return settings by their names.

    Raises:
        LimbeckError: a name is unknown, or a value of the wrong kind or out of range.
    """
    try:
        return msgspec.convert(dict(values), Settings)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        known = ", ".join(field.name for field in msgspec.structs.fields(Settings))
        sentence = f"The settings cannot be used: {error}. Known settings: {known}."
        raise bad_field("settings", sentence, "Correct the setting that it names.") from error
