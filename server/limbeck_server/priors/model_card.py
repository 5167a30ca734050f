"""`limbeck.json`: what a folder in diffusers' layout may say to Limbeck that diffusers has no place for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck_server.priors.kinds import CARD
from limbeck_server.priors.languages import ANY_TEXT, LANGUAGES, Language
from limbeck_server.priors.model_files import corrupt, read_json

__all__ = ["CARD", "ModelCard", "read_card"]


@dataclass(frozen=True)
class ModelCard:
    """What the file says; the default is what holds of a folder without one.

    Attributes:
        language: which prompts, view words and negative prompt the model was trained with.
        shaded: whether its pictures carry their own shading, so that the scene should render plain albedo.
        training: how it was trained; empty where nobody says.
    """

    language: Language = ANY_TEXT
    shaded: bool = False
    training: dict[str, Any] = field(default_factory=dict)


def read_card(folder: Path, name: str) -> ModelCard:
    """Return the card of the model called `name`.

    Raises:
        ModelError: it is no JSON object, or says what this release does not understand.
    """
    if not (folder / CARD).is_file():
        return ModelCard()
    content = read_json(folder / CARD, name)
    language, shaded, training = (content.get(key) for key in ("language", "shaded", "training"))
    if not isinstance(language, str) or language not in LANGUAGES:
        raise corrupt(name, f"{CARD} names the language {language!r}; known are {', '.join(LANGUAGES)}")
    if not isinstance(shaded, bool) or not isinstance(training, dict | None):
        raise corrupt(name, f"{CARD} must hold 'shaded', true or false, and may hold 'training', an object")
    return ModelCard(LANGUAGES[language], shaded, training or {})
