"""The real server with a loss and presets that no client has heard of: `python serve_example.py [without | narrow]`.

`without` leaves them out again, `narrow` gives the loss's parameter another range, and `msd` one sampler less. Its home
is LIMBECK_HOME.
"""

from __future__ import annotations

import dataclasses
import sys

from limbeck_protocol.recipe import Settings
from limbeck_server.distillation.losses import LOSSES, DistillationLoss, LossParameter, sds
from limbeck_server.presets import EXACT, PRESET_DESCRIPTIONS, PRESETS, layer
from limbeck_server.recipes import catalog, complete
from limbeck_server.service.server import ServeSettings, serve


def add_example(highest_strength: float) -> None:
    LOSSES["example"] = DistillationLoss(
        name="example",
        title="Example loss",
        paper="Known to this server only",
        gradient=sds.gradient,
        needs=sds.LOSS.needs,
        own_parameters=(
            LossParameter("strength", 0.1, 0.0, highest_strength, "How strongly it pulls."),
            LossParameter("warm_up", 100.0, 0.0, 1000.0, "Steps until it pulls at all."),
        ),
    )
    quick = PRESETS["quick", "sds", EXACT]
    PRESETS["quick", "example", EXACT] = quick
    PRESETS["turbo", "example", EXACT] = layer(quick, Settings(steps=7, mesh_resolution=48))
    PRESET_DESCRIPTIONS["turbo"] = "Seven steps, and no more."
    own = Settings(loss_parameters={"sampler": "product", "bandwidth": 0.75})
    PRESETS["steady", "msd", EXACT] = layer(PRESETS["quick", "msd", EXACT], own)
    PRESET_DESCRIPTIONS["steady"] = "Has values of its own for the loss's parameters."


def forget_sampler(name: str) -> None:
    """Take a choice away from MSD's sampler, as an older or a newer server might."""
    msd = LOSSES["msd"]
    parameters = tuple(
        dataclasses.replace(p, choices=tuple(choice for choice in p.choices if choice != name))
        for p in msd.route_parameters
    )
    LOSSES["msd"] = dataclasses.replace(msd, route_parameters=parameters)


if __name__ == "__main__":
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode != "without":
        add_example(0.2 if mode == "narrow" else 1.0)
    if mode == "narrow":
        forget_sampler("product")
    sys.exit(serve(ServeSettings(), complete, catalog, "example_worker:run"))
