"""What a server offers, as a panel shows it: the entries of `messages.Catalog`. Data only."""

from __future__ import annotations

from typing import Any

import msgspec


class ParameterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a loss, with its range."""

    name: str
    default: float
    minimum: float
    maximum: float
    description: str


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
