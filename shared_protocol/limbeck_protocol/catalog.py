"""What a server offers, as a panel shows it: the entries of `messages.Catalog`. Data only."""

from __future__ import annotations

from typing import Any

import msgspec


class ParameterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a loss: a number with its range, or one of a few texts."""

    name: str
    default: float | str
    """One of `choices`, where there are any; a number otherwise."""
    minimum: float
    maximum: float
    """The range of a number; of a choice, neither end means anything."""
    description: str
    choices: list[str] = []
    """What a choice is made from, the usual first; empty for a number. Not told to clients before 1.2."""


class LossInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One loss, as a panel shows it."""

    name: str
    title: str
    description: str
    parameters: list[ParameterInfo] = []


class PriorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One prior, as a panel shows it."""

    name: str
    title: str
    description: str
    installed: bool
    vocabulary: dict[str, list[str]] = {}
    """Words it understands, by kind; empty when any text goes."""


class PresetInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One preset: the settings it stands for."""

    name: str
    loss: str
    prior: str
    description: str
    settings: dict[str, Any]
    sources: dict[str, str] = {}
    """Who says so, by setting; `loss_parameters.NAME` and `regularizers.NAME` for the entries of these. Since 1.2."""
    makes: str = "object"
    """`object` or `image`: which kind of recipe it is for. Since 1.3; clients before it are told of objects only."""
