"""How one talks to a model: which prompts it understands, how it is told where the camera stands, what it calls bad."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from limbeck_server.known_world import captions
from limbeck_server.priors import prompts
from limbeck_server.priors.kinds import KNOWN_WORLD_LANGUAGE
from limbeck_server.priors.prior import PromptError


@dataclass(frozen=True)
class Language:
    """The words between Limbeck and a model.

    Attributes:
        name: what model cards call it.
        check: raises `PromptError` unless a prompt's words mean something in it.
        view_suffix: (azimuth, elevation in degrees) -> the view words of a camera, to be appended to a prompt.
        view_negatives: (azimuth, elevation in degrees) -> Perp-Neg's two negative views, (suffix, weight <= 0) each.
        view_suffixes: every suffix there is, or at least the longest.
        negative_prompt: the text of bad pictures.
    """

    name: str
    check: Callable[[str], None]
    view_suffix: Callable[[float, float], str]
    view_negatives: Callable[[float, float], tuple[tuple[str, float], ...]]
    view_suffixes: tuple[str, ...]
    negative_prompt: str


def _check_any_text(text: str) -> None:
    if not text.strip():
        raise PromptError("the prompt is empty; say what to make, such as 'a yellow duck'")


def _check_caption(text: str) -> None:
    _check_any_text(text)
    try:
        captions.parse_caption(text)
    except captions.CaptionError as error:
        raise PromptError(str(error)) from error


def known_world_view_negatives(azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
    """Return Perp-Neg's two negative view words, seen from the same height, and their weights.

    Which views and how much is what networks are told (`prompts.negative_views`); the side is the one that the camera
    is nearer to, since here left and right are different words.
    """
    nearer_side_deg = math.copysign(90.0, (azimuth_deg + 180.0) % 360.0 - 180.0)
    seen_from_deg = {"front": 0.0, "side": nearer_side_deg}
    return tuple(
        (captions.view_suffix(seen_from_deg[view], elevation_deg), weight)
        for view, weight in prompts.negative_views(azimuth_deg, elevation_deg)
    )


ANY_TEXT = Language(
    name="any-text",
    check=_check_any_text,
    view_suffix=prompts.view_suffix,
    view_negatives=prompts.view_negatives,
    view_suffixes=prompts.VIEW_SUFFIXES,
    negative_prompt=prompts.NEGATIVE_PROMPT,
)
"""Models trained on the world's captions: any text, DreamFusion's view words."""

KNOWN_WORLD = Language(
    name=KNOWN_WORLD_LANGUAGE,
    check=_check_caption,
    view_suffix=captions.view_suffix,
    view_negatives=known_world_view_negatives,
    view_suffixes=tuple(
        f", {azimuth} view, {elevation}" for azimuth in captions.AZIMUTH_WORDS for elevation in captions.ELEVATION_WORDS
    ),
    negative_prompt=captions.NEGATIVE_PROMPT,
)
"""Models trained on the known world's captions: its vocabulary, eight azimuth words, three elevation words."""

LANGUAGES = {language.name: language for language in (ANY_TEXT, KNOWN_WORLD)}
