"""`limbeck prior export`: a trained model made ready to ship, with its log, samples, score and card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of a limbeck prior train, or a model in one.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="What ships; replaced as a whole.")],
    score: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What limbeck prior score --json said of this very model; scored now by default."
        ),
    ] = None,
    without_score: Annotated[bool, typer.Option("--without-score", help="Leave the score out.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Make a trained model ready to ship: the model, its training's log, samples, score and a card to read.

    The one that ships with Limbeck is written so, from the top of a checkout: limbeck prior export FOLDER --out
    server/limbeck_server/priors/shipped/network
    """
    from limbeck_server.cli import prior
    from limbeck_server.cli.output import print_json, say

    with prior.sentences(), prior.spinner() as tell:
        import torch

        from limbeck_server.distillation.device import choose_device
        from limbeck_server.priors.training.publish import model_of, publish_model, read_score

        torch.set_num_threads(threads)
        place = choose_device(device)
        model = model_of(run)
        found = read_score(score) if score else None
        if found is None and not without_score:
            found = prior.score_model(str(model), place, tell)
        tell("log, samples, card")
        publish_model(run, out, found, place)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    say(f"{out}: {size / 1e6:.1f} MB")
    if as_json:
        print_json({"out": str(out), "bytes": size, "scored": found is not None})
