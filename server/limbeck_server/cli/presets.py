"""`limbeck presets`: every preset with the values it sets. Needs no server."""

from __future__ import annotations

from typing import Annotated

import typer


def presets(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Print the losses, priors and presets with their settings."""
    from limbeck_server.cli.output import print_json
    from limbeck_server.recipes import catalog

    offer = catalog()
    if as_json:
        print_json(offer)
        return
    print("Losses")
    for loss in offer.losses:
        print(f"  {loss.name:<10} {loss.title}: {loss.description}")
        for parameter in loss.parameters:
            bounds = f"{parameter.minimum:g}..{parameter.maximum:g}"
            print(f"    {parameter.name} = {parameter.default:g} ({bounds}): {parameter.description}")
    print("Priors")
    for prior in offer.priors:
        print(f"  {prior.name:<18} {prior.description}")
        for kind, words in prior.vocabulary.items():
            print(f"    {kind}: {', '.join(words)}")
    print("Presets")
    for preset in offer.presets:
        print(f"  {preset.name} ({preset.loss}, {preset.prior}): {preset.description}")
        for name, value in preset.settings.items():
            print(f"    {name} = {value}")
