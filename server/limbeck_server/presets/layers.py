"""What a preset is: settings, and for each of them who says so. Layers of these make whole presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from limbeck_protocol.recipe import Settings
from msgspec import UNSET

GROUPS = ("loss_parameters", "regularizers")
"""Settings that are mappings: each entry has its own source, under `group.entry`."""


class Sourced(NamedTuple):
    """A value, and where it comes from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Preset:
    """Settings with the source of each.

    Attributes:
        settings: what it sets; what it leaves unset is another layer's business.
        sources: by the setting's name, and by `group.entry` for the entries of `GROUPS`.
    """

    settings: Settings
    sources: Mapping[str, str] = field(default_factory=dict)


def sourced(**settings: Sourced | Mapping[str, Sourced]) -> Preset:
    """Return a layer, written so that a value and its source stand side by side.

    Args:
        settings: by the names of `Settings`; for `GROUPS`, a mapping with a sourced value for each entry.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, given in settings.items():
        if isinstance(given, Sourced):
            values[name], sources[name] = given
        else:
            values[name] = {entry: each.value for entry, each in given.items()}
            sources |= {f"{name}.{entry}": each.source for entry, each in given.items()}
    return Preset(Settings(**values), sources)


def from_one_source(settings: Settings, source: str) -> Preset:
    """Return a layer whose every setting has the same source."""
    return Preset(settings, dict.fromkeys(setting_names(settings), source))


def reworded(preset: Preset, words: str) -> Preset:
    """Return the preset with its sources put into `words`, at the place of `{}`."""
    return Preset(preset.settings, {name: words.format(source) for name, source in preset.sources.items()})


def entries(preset: Preset, group: str) -> dict[str, Sourced]:
    """Return what a preset sets within one of `GROUPS`, ready to be changed and given to `sourced`."""
    values = getattr(preset.settings, group)
    return {name: Sourced(value, preset.sources[f"{group}.{name}"]) for name, value in values.items()}


def setting_names(settings: Settings) -> list[str]:
    """Return the names of what is set, in the order of `Settings`; `group.entry` for the entries of `GROUPS`."""
    names: list[str] = []
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if value is UNSET:
            continue
        names += [f"{name}.{entry}" for entry in value] if name in GROUPS else [name]
    return names


def layer(*layers: Settings) -> Settings:
    """Return the settings of all layers; what a later one sets wins, a mapping as a whole."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= {name: value for name in layer.__struct_fields__ if (value := getattr(layer, name)) is not UNSET}
    return Settings(**merged)


def stack(*presets: Preset) -> Preset:
    """Return the presets on top of each other: the settings of `layer`, each with the source of the layer that won."""
    settings = layer(*(preset.settings for preset in presets))
    sources: dict[str, str] = {}
    for preset in presets:
        replaced = [group for group in GROUPS if getattr(preset.settings, group) is not UNSET]
        sources = {name: text for name, text in sources.items() if name.partition(".")[0] not in replaced}
        sources |= preset.sources
    return Preset(settings, {name: sources[name] for name in setting_names(settings)})
