"""What the server's catalog means for the panel's choices: names, ranges, what a preset decides, what does not fit.

Rules of this file: plain functions on the protocol's plain data, no Blender, nothing asked, nothing kept. A catalog of
None means that no server has answered yet: then nothing is refused, for only a server knows what it offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck_protocol.editing import EDIT_LOSS
from limbeck_protocol.messages import Catalog, LossInfo, ParameterInfo

KINDS = {"loss": "losses", "prior": "priors", "preset": "presets"}
"""The field of a recipe, and the catalog's list that it is chosen from."""
USUAL = {
    "loss": ("sds", "nfsd", "csd", "msd", "sdi", "ism", "vsd"),
    "prior": ("exact", "network", "stable-diffusion"),
    "preset": ("quick", "standard"),
}
"""What is offered while no server has answered."""
_USUAL_IMAGE_PRESETS = ("image",)
STABLE_DIFFUSION = "stable-diffusion"
KNOWN_WORLD_PRIORS = ("exact", "network")
"""Those that were made of one world's stored views: they know none but those much like the usual orbit's."""
NO_IMAGES = "This server makes no images; update it, or make an object."
AUTOMATIC = "automatic"
NO_LIMIT = "no limit"
_LIMITS = frozenset({"gradient_clamp", "pixel_clip"})
"""Settings of which None says that there is none, not that one is found."""
NEEDS_RESULT = f"'{EDIT_LOSS}' edits a result: select one and press Edit."


@dataclass(frozen=True)
class Choice:
    """One entry of a menu."""

    name: str
    """What stands in the recipe."""
    title: str
    description: str


@dataclass(frozen=True)
class Difference:
    """One setting that two sets of settings disagree about, both values as text; an empty text: not set there."""

    setting: str
    before: str
    after: str


def choices(catalog: Catalog | None, kind: str, *, makes: str = "", prior: str = "") -> list[Choice]:
    """Return what the menu of a kind (`loss`, `prior`, `preset`) lists, in the server's order, each name once.

    A loss that edits is not among them: the panel makes something new; *Edit* on a result is where it works.

    Args:
        catalog: what the server offers.
        kind: which field is chosen.
        makes: of presets, only those for an `object` or an `image`; empty for both.
        prior: of presets, only those for this prior's kind; empty for all.
    """
    if catalog is None:
        is_of_images = kind == "preset" and makes == "image"
        return [Choice(name, name, "") for name in (_USUAL_IMAGE_PRESETS if is_of_images else USUAL[kind])]
    of_kind = prior_kind(catalog, prior)
    found: dict[str, Choice] = {}
    for entry in getattr(catalog, KINDS[kind]):
        if kind == "loss" and entry.name == EDIT_LOSS:
            continue
        if kind == "preset" and not (makes in ("", entry.makes) and (not prior or entry.prior == of_kind)):
            continue
        description = entry.description
        if kind == "prior" and not entry.installed:
            description += " Not installed on the server."
        found.setdefault(entry.name, Choice(entry.name, getattr(entry, "title", entry.name), description))
    return list(found.values())


def choice_named(catalog: Catalog | None, kind: str, name: str) -> Choice | None:
    """Return the menu's entry of that name, or None."""
    return next((choice for choice in choices(catalog, kind) if choice.name == name), None)


def loss_named(catalog: Catalog | None, name: str) -> LossInfo | None:
    """Return the loss of that name, or None."""
    return next((loss for loss in catalog.losses if loss.name == name), None) if catalog else None


def parameter_named(catalog: Catalog | None, loss: str, name: str) -> ParameterInfo | None:
    """Return a loss's own parameter, or None."""
    found = loss_named(catalog, loss)
    return next((parameter for parameter in found.parameters if parameter.name == name), None) if found else None


def parameter_start(catalog: Catalog | None, info: ParameterInfo, loss: str, prior: str, preset: str) -> float | str:
    """Return what the server takes for a loss's parameter that is not sent: the preset's value, or the loss's own."""
    settings = preset_settings(catalog, preset, loss, prior) or {}
    value: float | str = (settings.get("loss_parameters") or {}).get(info.name, info.default)
    return value


def parameter_span(info: ParameterInfo) -> str:
    """Return what a parameter can be, for a person: `0 to 1`, or `one, two or three`."""
    if info.choices:
        *others, last = info.choices
        return f"{', '.join(others)} or {last}" if others else last
    return f"{shown(info.minimum)} to {shown(info.maximum)}"


def prior_kind(catalog: Catalog, prior: str) -> str:
    """Return which kind of prior a recipe's `prior` is, as presets name kinds: `exact`, `network`, `stable-diffusion`.

    A hub id or a folder that the catalog does not list counts as a Stable Diffusion model, for only the server can look
    into its folders; where it has no such prior, as a model of the first one that takes any text.
    """
    if any(entry.name == prior for entry in catalog.priors):
        return prior
    for_any_text = [entry.name for entry in catalog.priors if not entry.vocabulary]
    return STABLE_DIFFUSION if STABLE_DIFFUSION in for_any_text else next(iter(for_any_text), prior)


def preset_settings(catalog: Catalog | None, preset: str, loss: str, prior: str) -> dict[str, Any] | None:
    """Return the settings that a preset stands for with this loss and prior; None when the catalog does not say."""
    if catalog is None:
        return None
    kind = prior_kind(catalog, prior)
    for entry in catalog.presets:
        if (entry.name, entry.loss, entry.prior) == (preset, loss, kind):
            return dict(entry.settings)
    return None


def fitting_presets(catalog: Catalog, loss: str, prior: str, makes: str = "object") -> list[str]:
    """Return the names of the presets for this loss and prior that make an `object`, or an `image`."""
    wanted = (loss, prior_kind(catalog, prior), makes)
    return [entry.name for entry in catalog.presets if (entry.loss, entry.prior, entry.makes) == wanted]


def problem(catalog: Catalog | None, *, loss: str, prior: str, preset: str, makes: str = "object") -> str:
    """Return why the server would refuse these names, as a sentence; empty when it would not, or is not known to."""
    if loss == EDIT_LOSS:
        return NEEDS_RESULT
    if catalog is None:
        return ""
    if makes == "image" and catalog.presets and not choices(catalog, "preset", makes=makes):
        return NO_IMAGES
    for kind, name in (("loss", loss), ("preset", preset), ("prior", prior)):
        known = [choice.name for choice in choices(catalog, kind)]
        is_model = kind == "prior" and ("/" in name or "\\" in name)
        if known and name not in known and not is_model:
            return f"The server has no {kind} '{name}'; choose one of: {', '.join(known)}."
    fitting = fitting_presets(catalog, loss, prior, makes)
    if catalog.presets and preset not in fitting:
        instead = f"choose one of: {', '.join(fitting)}" if fitting else "it has none for them; choose another loss"
        if all(choice.name != preset for choice in choices(catalog, "preset", makes=makes)):
            return f"The server's preset '{preset}' makes no {makes}; {instead}."
        return f"The server's preset '{preset}' is not made for the loss '{loss}' with this prior; {instead}."
    return ""


def parameter_problem(catalog: Catalog | None, loss: str, values: Mapping[str, float | str]) -> str:
    """Return which of a loss's own parameters the server would refuse and why; empty when none."""
    for name, value in values.items():
        info = parameter_named(catalog, loss, name)
        if info is None or fits(info, value):
            continue
        if info.choices:
            return f"{label(name)} of the loss '{loss}' must be {parameter_span(info)}; it is '{value}'."
        span = f"between {info.minimum:g} and {info.maximum:g}"
        return f"{label(name)} of the loss '{loss}' must lie {span}; it is {shown(value)}."
    return ""


def fits(info: ParameterInfo, value: float | str) -> bool:
    """Return whether the server would take the value for this parameter."""
    if info.choices:
        return value in info.choices
    return not isinstance(value, str) and info.minimum <= value <= info.maximum


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return what `after` changes, in its order; what only `before` has is left out: it stays in force."""
    return [
        Difference(name, shown(before[name], name) if name in before else "", shown(value, name))
        for name, value in after.items()
        if name not in before or shown(before[name], name) != shown(value, name)
    ]


def shown(value: Any, name: str = "") -> str:
    """Return a setting's value as a person reads it; a schedule of (share of the run, value) as its turns."""
    if value is None:
        return NO_LIMIT if name in _LIMITS else AUTOMATIC
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.7g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{label(key).lower()} {shown(part, key)}" for key, part in value.items()) or "none"
    if is_schedule(value):
        turns = [f"{shown(part)} from {share:.0%}" if share > 0 else shown(part) for share, part in value]
        return ", ".join(turns)
    if _is_list(value):  # both ends of a range
        return " to ".join(map(shown, value))
    return str(value)


def is_schedule(value: Any) -> bool:
    """Return whether a setting's value is a list of (share of the run, value)."""
    return _is_list(value) and all(_is_list(point) and len(point) == 2 for point in value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def label(name: str) -> str:
    """Return a setting's name as a label: `mesh_resolution` as `Mesh resolution`."""
    return name.replace("_", " ").capitalize()
