"""Presets as values, one per (preset, loss, kind of prior): the papers' settings, each with its source.

A schedule is a list of (share of the run, value). `exact.py` holds what was tuned on the known world, `network.py` what
suits the small network that ships, `images.py` what makes pictures, `threestudio.py` and `papers.py` what the papers
and their authors' code say, `published.py` their names.
"""

from __future__ import annotations

from limbeck_protocol.recipe import Settings

from limbeck_server.distillation.losses import LOSSES
from limbeck_server.presets import exact, images, network, published
from limbeck_server.presets.layers import Preset, layer
from limbeck_server.priors.kinds import EXACT, NETWORK, STABLE_DIFFUSION

__all__ = [
    "BORROWERS",
    "EXACT",
    "NETWORK",
    "PRESETS",
    "PRESET_DESCRIPTIONS",
    "SOURCES",
    "STABLE_DIFFUSION",
    "layer",
    "makes",
]

BORROWED = ("quick", "standard", "image")
"""What a loss without presets of its own gets of sds's."""


def _with_borrowed(tables: dict[str, dict[tuple[str, str], Preset]]) -> dict[tuple[str, str, str], Preset]:
    """Return all presets by (preset, loss, kind of prior); a loss that has none borrows those of sds, to be tried."""
    own = {(name, loss, kind): preset for kind, table in tables.items() for (name, loss), preset in table.items()}
    settled = {loss for _, loss, _ in own}
    borrowed = {
        (name, loss, kind): own[name, "sds", kind]
        for loss in LOSSES
        if loss not in settled
        for kind in tables
        for name in BORROWED
    }
    return own | borrowed


_OF_KIND = {EXACT: exact.PRESETS, NETWORK: network.PRESETS, STABLE_DIFFUSION: published.PRESETS}
# Presets of objects first, whatever the kind: they are what most lists are read for.
_ALL = _with_borrowed({kind: table | images.PRESETS[kind] for kind, table in _OF_KIND.items()})
BORROWERS = frozenset(LOSSES) - {loss for table in _OF_KIND.values() for _, loss in table}
"""Losses on trial: they have no presets of their own."""
PRESETS: dict[tuple[str, str, str], Settings] = {key: preset.settings for key, preset in _ALL.items()}
"""By preset, loss and kind of prior."""
SOURCES: dict[tuple[str, str, str], dict[str, str]] = {key: dict(preset.sources) for key, preset in _ALL.items()}
"""Who says so: by the name of the setting, `group.entry` for loss parameters and regularizers."""

PRESET_DESCRIPTIONS = {
    "quick": "A first look: 32 pixels; half a minute on the exact prior, a minute or two on the network that ships, "
    "minutes on a GPU with Stable Diffusion.",
    "standard": "The real thing: 64 pixels and about two minutes on the exact prior, more on the network that ships; "
    "the papers' settings otherwise.",
    **published.DESCRIPTIONS,
    **images.DESCRIPTIONS,
}


def makes(name: str) -> str:
    """Return what a preset of that name makes: `object` or `image`."""
    return "image" if name in images.DESCRIPTIONS else "object"
