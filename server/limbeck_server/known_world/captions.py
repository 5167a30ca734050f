"""The known world's language: what a caption means, and captions for a meaning.

A caption says at most one shape, one colour, one azimuth word, one elevation word, and whether the picture is bad.
What it leaves out is open: "a duck" is a duck of any colour from anywhere, and the empty text is everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck_server.known_world.names import COLOUR_SYNONYMS, SHAPE_NAMES, SHAPE_SYNONYMS
from limbeck_server.known_world.palette import COLOURS

if TYPE_CHECKING:
    import torch

AZIMUTH_WORDS: tuple[str, ...] = (
    "front",
    "front left",
    "left side",
    "back left",
    "back",
    "back right",
    "right side",
    "front right",
)
"""Sectors of 45 degrees; word i is centred on azimuth 45 i. Azimuth 90 (camera on +X) sees the object's left side."""

ELEVATION_WORDS: tuple[str, ...] = ("low angle", "eye level", "high angle")
"""Below 5 degrees, 5 to 25 degrees, above 25 degrees."""

DEGRADATION_WORDS: tuple[str, ...] = (
    "unrealistic",
    "blurry",
    "low quality",
    "out of focus",
    "ugly",
    "low contrast",
    "dull",
    "dark",
    "low-resolution",
    "gloomy",
)
"""The quality terms of NFSD's negative prompt (Katzir et al. 2023, section 4)."""

NEGATIVE_PROMPT = ", ".join(DEGRADATION_WORDS)
"""The caption of a bad picture of anything."""

# Words that carry no meaning here. Negations are left out on purpose: "no duck" must not become a duck.
FILLER_WORDS: tuple[str, ...] = (
    *("a", "an", "the", "of", "is", "it", "this", "in", "at", "on", "from", "with", "and", "one", "single", "simple"),
    *("something", "thing", "object", "photo", "photograph", "picture", "image", "render", "rendering", "3d", "3", "d"),
    *("rendered", "model", "toy", "plain", "background", "colour", "color", "coloured", "colored", "angle"),
    *("view", "viewed", "seen", "shown"),
)

_AZIMUTH_SYNONYMS: dict[str, str] = {
    "left": "left side",
    "right": "right side",
    "behind": "back",
    "rear": "back",
    "left front": "front left",
    "right front": "front right",
    "left back": "back left",
    "right back": "back right",
    "rear left": "back left",
    "rear right": "back right",
    "side left": "left side",
    "side right": "right side",
}
_ELEVATION_SYNONYMS: dict[str, str] = {
    "from below": "low angle",
    "low view": "low angle",
    "from above": "high angle",
    "high view": "high angle",
    "overhead": "high angle",
}


_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\s\w!-/:-@\[-`{-~\u00ab\u00bb\u2010-\u2027]")


class CaptionError(ValueError):
    """A text is no caption of the known world."""


class UnknownWordError(CaptionError):
    """A caption has words that the known world lacks.

    Attributes:
        words: those words, in their order, each once.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        unknown = ", ".join(f'"{word}"' for word in words)
        super().__init__(
            f"the known world has no word {unknown}. Its shapes are: {', '.join(SHAPE_NAMES)}. "
            f"Its colours are: {', '.join(COLOURS)}. For anything else use a Stable Diffusion prior: "
            "--prior stable-diffusion"
        )


class ContradictoryCaptionError(CaptionError):
    """A caption names two shapes, two colours or two views."""


@dataclass(frozen=True)
class Caption:
    """What a caption says; None leaves it open, and the default is the empty prompt.

    Attributes:
        shape: one of `SHAPE_NAMES`.
        colour: one of `COLOURS`.
        azimuth: one of `AZIMUTH_WORDS`.
        elevation: one of `ELEVATION_WORDS`.
        degraded: whether the picture is a bad one.
    """

    shape: str | None = None
    colour: str | None = None
    azimuth: str | None = None
    elevation: str | None = None
    degraded: bool = False

    def __post_init__(self) -> None:
        known = {"shape": SHAPE_NAMES, "colour": tuple(COLOURS), "azimuth": AZIMUTH_WORDS, "elevation": ELEVATION_WORDS}
        for field, words in known.items():
            word = getattr(self, field)
            if word is not None and word not in words:
                raise ValueError(f"a caption's {field} is one of {', '.join(words)}; came {word!r}")


def azimuth_word(azimuth_deg: float) -> str:
    """Return the word for a camera at this azimuth; any turn, sectors of 45 degrees centred on 0."""
    return AZIMUTH_WORDS[int((azimuth_deg + 22.5) % 360.0 // 45.0) % 8]


def elevation_word(elevation_deg: float) -> str:
    """Return the word for a camera at this elevation: below 5 degrees, up to 25 degrees, above."""
    return ELEVATION_WORDS[0 if elevation_deg < 5.0 else 1 if elevation_deg <= 25.0 else 2]


def view_suffix(azimuth_deg: float, elevation_deg: float) -> str:
    """Return what a prompt says of a camera that stands there, such as ", front view, eye level"."""
    return f", {azimuth_word(azimuth_deg)} view, {elevation_word(elevation_deg)}"


def _tokens(text: str) -> tuple[str, ...]:
    """Return the words in lower case; punctuation separates them, and any other sign (an emoji) is a word."""
    return tuple(_TOKEN.findall(text.lower().replace("\u2019", "'")))


def _phrases() -> dict[tuple[str, ...], tuple[str, str]]:
    """Return every phrase that means something, as words -> (field, its value)."""
    table: dict[tuple[str, ...], tuple[str, str]] = {}
    for field, words, synonyms in (
        ("shape", SHAPE_NAMES, SHAPE_SYNONYMS),
        ("colour", tuple(COLOURS), COLOUR_SYNONYMS),
        ("azimuth", AZIMUTH_WORDS, _AZIMUTH_SYNONYMS),
        ("elevation", ELEVATION_WORDS, _ELEVATION_SYNONYMS),
        ("degraded", DEGRADATION_WORDS, {}),
    ):
        for phrase, value in [*((word, word) for word in words), *synonyms.items()]:
            table[_tokens(phrase)] = (field, value)
    return table


_PHRASES = _phrases()
_LONGEST_PHRASE = max(len(phrase) for phrase in _PHRASES)
_FILLERS = frozenset(FILLER_WORDS)


def parse_caption(text: str) -> Caption:
    """Return what a text says.

    Case, punctuation, articles and words such as "a photo of" do not matter. The longest phrase wins: "low contrast" is
    a degradation, "front left" one azimuth word.

    Raises:
        UnknownWordError: a word is outside the vocabulary.
        ContradictoryCaptionError: two different shapes, colours, azimuths or elevations.
    """
    tokens = _tokens(text)
    found: dict[str, str] = {}
    unknown: dict[str, None] = {}
    contradiction: tuple[str, str, str] | None = None
    position = 0
    while position < len(tokens):
        for length in range(min(_LONGEST_PHRASE, len(tokens) - position), 0, -1):
            meaning = _PHRASES.get(tokens[position : position + length])
            if meaning is not None:
                break
        position += length
        if meaning is None:
            word = tokens[position - 1]
            if word not in _FILLERS:
                unknown[word] = None
            continue
        field, value = meaning
        if field != "degraded" and found.setdefault(field, value) != value and contradiction is None:
            contradiction = (field, found[field], value)
        found.setdefault(field, value)
    if unknown:
        raise UnknownWordError(tuple(unknown))
    if contradiction is not None:
        field, first, second = contradiction
        raise ContradictoryCaptionError(
            f'the known world shows one {field} at a time, and this prompt names two: "{first}" and "{second}". '
            f"Keep one of them, or use a Stable Diffusion prior: --prior stable-diffusion"
        )
    return Caption(
        found.get("shape"), found.get("colour"), found.get("azimuth"), found.get("elevation"), "degraded" in found
    )


_TEMPLATES: tuple[str, ...] = (
    "{article} {subject}",
    "the {subject}",
    "{subject}",
    "a photo of {article} {subject}",
    "a picture of {article} {subject}",
    "an image of the {subject}",
    "a 3d render of {article} {subject}",
    "a rendering of {article} {subject}",
    "a 3D model of {article} {subject}",
    "one single {subject}",
    "{article} {subject} on a plain background",
)
_OPEN_SUBJECTS: tuple[str, ...] = ("object", "thing")
_AZIMUTH_TEMPLATES: tuple[str, ...] = (", {} view", ", seen from the {}", ", viewed from the {}")
_ELEVATION_TEMPLATES: dict[str, tuple[str, ...]] = {
    "low angle": (", low angle", ", low view", ", seen from below"),
    "eye level": (", eye level", ", at eye level"),
    "high angle": (", high angle", ", high view", ", seen from above"),
}
CAPTION_WORDS: tuple[str, ...] = (
    *(template.replace("{article}", "").replace("{subject}", "") for template in _TEMPLATES),
    *_OPEN_SUBJECTS,
    *(template.replace("{}", "") for template in _AZIMUTH_TEMPLATES),
    *(template for choices in _ELEVATION_TEMPLATES.values() for template in choices),
)
"""Phrases that `compose_caption` uses besides those of `vocabulary`."""


def compose_caption(caption: Caption, generator: torch.Generator) -> str:
    """Return a text, drawn from many templates, that `parse_caption` reads back as exactly this caption.

    Args:
        caption: the meaning. The empty caption gives the empty text.
        generator: the only source of randomness; on the CPU.
    """
    # Not above: the server checks captions, and does without torch.
    import torch

    def draw(count: int) -> int:
        return int(torch.randint(count, (1,), generator=generator))

    text = ""
    if caption.shape or caption.colour or caption.azimuth or caption.elevation:
        noun = caption.shape or _OPEN_SUBJECTS[draw(len(_OPEN_SUBJECTS))]
        subject = f"{caption.colour} {noun}" if caption.colour else noun
        article = "an" if subject[0] in "aeiou" else "a"
        text = _TEMPLATES[draw(len(_TEMPLATES))].format(article=article, subject=subject)
        if caption.shape is None and draw(2):
            text = f"something {caption.colour}" if caption.colour else "something"
    if caption.azimuth:
        text += _AZIMUTH_TEMPLATES[draw(len(_AZIMUTH_TEMPLATES))].format(caption.azimuth)
    if caption.elevation:
        choices = _ELEVATION_TEMPLATES[caption.elevation]
        text += choices[draw(len(choices))]
    if caption.degraded:
        order = torch.randperm(len(DEGRADATION_WORDS), generator=generator).tolist()
        kept = order[: 1 + draw(len(order))]
        quality = NEGATIVE_PROMPT if draw(2) else ", ".join(DEGRADATION_WORDS[index] for index in kept)
        text = f"{text}, {quality}" if text else quality
    return text


def vocabulary() -> dict[str, list[str]]:
    """Return every word and phrase that a caption may use, by kind; synonyms as "ball (sphere)"."""
    return {
        "shapes": list(SHAPE_NAMES),
        "colours": list(COLOURS),
        "azimuths": list(AZIMUTH_WORDS),
        "elevations": list(ELEVATION_WORDS),
        "degradations": list(DEGRADATION_WORDS),
        "synonyms": [
            f"{word} ({meaning})"
            for table in (SHAPE_SYNONYMS, COLOUR_SYNONYMS, _AZIMUTH_SYNONYMS, _ELEVATION_SYNONYMS)
            for word, meaning in table.items()
        ],
        "fillers": list(FILLER_WORDS),
    }
