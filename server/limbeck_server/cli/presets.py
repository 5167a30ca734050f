"""`limbeck presets [NAME]`: what can be asked for, and every preset's values with their sources. Needs no server."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from limbeck_protocol.messages import Catalog, ParameterInfo, PresetInfo

Name = Annotated[str | None, typer.Argument(help="Print the presets of that name only, such as `dreamfusion`.")]
_GROUPS = ("loss_parameters", "regularizers")


def presets(
    name: Name = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Print the losses, priors and presets: every setting's value, as `--set` takes it, and where it comes from."""
    import msgspec
    from limbeck_protocol.errors import ErrorCode, LimbeckError

    from limbeck_server.cli.output import print_json, say
    from limbeck_server.recipes import catalog

    offer = catalog()
    known = ", ".join(dict.fromkeys(preset.name for preset in offer.presets))
    wanted = [preset for preset in offer.presets if name in (None, preset.name)]
    if not wanted:
        raise LimbeckError(ErrorCode.UNKNOWN_PRESET, f"There is no preset {name!r}; there are: {known}.")
    if as_json:
        print_json(msgspec.structs.replace(offer, presets=wanted))
        return
    if name is None:
        _print_losses_and_priors(offer)
    print("Presets")
    width = shutil.get_terminal_size((120, 0)).columns
    for names, preset in _without_repetition(wanted, offer.presets):
        print(f"\n  {' = '.join(names)} ({preset.loss}, {preset.prior})")
        print(textwrap.fill(preset.description, max(width, 40), initial_indent="  ", subsequent_indent="  "))
        for line in _table(preset, width):
            print(f"    {line}")
    if name is None:
        say(f"\n`limbeck presets NAME` prints one: {known}.")


def _print_losses_and_priors(offer: Catalog) -> None:
    print("Losses")
    for loss in offer.losses:
        print(f"  {loss.name:<10} {loss.title}: {loss.description}")
        for parameter in loss.parameters:
            print(f"    {parameter.name} = {_default_and_range(parameter)}: {parameter.description}")
    print("Priors")
    for prior in offer.priors:
        print(f"  {prior.name:<18} {prior.description}")
        for kind, words in prior.vocabulary.items():
            print(f"    {kind}: {', '.join(words)}")


def _default_and_range(parameter: ParameterInfo) -> str:
    if parameter.choices:
        return f"{parameter.default} ({' | '.join(parameter.choices)})"
    return f"{parameter.default:g} ({parameter.minimum:g}..{parameter.maximum:g})"


def _without_repetition(wanted: list[PresetInfo], offered: list[PresetInfo]) -> Iterator[tuple[list[str], PresetInfo]]:
    """Yield presets with all names of the same values for the same loss and prior; the last one's words describe it."""
    told: list[list[PresetInfo]] = []
    for preset in wanted:
        alike = [other for other in offered if _values(other) == _values(preset)]
        if alike not in told:
            told.append(alike)
            yield [other.name for other in alike], alike[-1]


def _values(preset: PresetInfo) -> tuple[Any, ...]:
    return preset.loss, preset.prior, preset.settings, preset.sources


def _table(preset: PresetInfo, width: int) -> list[str]:
    """Return the lines of a table of setting, value and source; a source too long for its column goes on below."""
    rows = [(name, json.dumps(value), preset.sources.get(name, "")) for name, value in _flat(preset.settings)]
    names, values = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    room = max(width - 4 - names - values - 4, 30)
    lines = []
    for name, value, source in rows:
        first, *more = textwrap.wrap(source, room, break_on_hyphens=False) or [""]
        lines.append(f"{name:<{names}}  {value:<{values}}  {first}".rstrip())
        lines += [" " * (names + values + 4) + line for line in more]
    return lines


def _flat(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values of settings; what is in a group is named `group.entry`, as its source is."""
    for name, value in settings.items():
        if name in _GROUPS:
            yield from ((f"{name}.{entry}", each) for entry, each in value.items())
        else:
            yield name, value
