"""Captions for the pictures that the network prior is trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from limbeck_server.known_world.captions import NEGATIVE_PROMPT, Caption, compose_caption
from limbeck_server.known_world.names import COLOUR_SYNONYMS, SHAPE_SYNONYMS


@dataclass(frozen=True)
class CaptionShares:
    """How often captions say how little. Probabilities, 0..1; none depends on what the picture shows.

    Because of that, the pictures of a caption are distributed as the exact prior has it: everything that the caption
    allows, in its own proportions.

    Attributes:
        empty: the empty text; of clean and degraded pictures alike, so that it means everything.
        without_shape, without_colour, without_azimuth, without_elevation: that a word is left out, each by itself. What
            would say nothing then keeps its shape.
        bare_negative: of a degraded picture's captions, those that are the negative prompt and nothing else.
        synonym: that a word with other words for it becomes one of them.
    """

    empty: float = 0.1
    without_shape: float = 0.05
    without_colour: float = 0.1
    without_azimuth: float = 0.2
    without_elevation: float = 0.3
    bare_negative: float = 0.5
    synonym: float = 0.1


def draw_caption(full: Caption, shares: CaptionShares, generator: torch.Generator) -> Caption:
    """Return what is said of a picture of which all is known; the empty caption of any picture says nothing.

    Args:
        full: all that is true of the picture.
        shares: how often what is left out.
        generator: on the CPU. As many numbers are drawn whatever the picture.
    """
    draws = torch.rand(6, generator=generator).tolist()
    if draws[0] < shares.empty:
        return Caption()
    if full.degraded and draws[1] < shares.bare_negative:
        return Caption(degraded=True)
    words = ("shape", "colour", "azimuth", "elevation")
    kept = {
        word: getattr(full, word)
        for word, draw in zip(words, draws[2:], strict=True)
        if draw >= getattr(shares, f"without_{word}")
    }
    return Caption(**(kept or {"shape": full.shape}), degraded=full.degraded)


def write_caption(caption: Caption, shares: CaptionShares, generator: torch.Generator) -> str:
    """Return a text that says it, in the words that people use for shapes and colours."""
    if caption == Caption(degraded=True) and torch.rand(1, generator=generator) < 0.5:
        return NEGATIVE_PROMPT
    text = compose_caption(caption, generator)
    for word, synonyms in ((caption.shape, SHAPE_SYNONYMS), (caption.colour, COLOUR_SYNONYMS)):
        others = [other for other, meaning in synonyms.items() if meaning == word]
        if others and torch.rand(1, generator=generator) < shares.synonym:
            other = others[int(torch.randint(len(others), (1,), generator=generator))]
            text = re.sub(rf"\b{word}\b", other, text)
            text = re.sub(r"\ban? (?=[aeiou])", "an ", re.sub(r"\ban? (?![aeiou])", "a ", text))
    return text
