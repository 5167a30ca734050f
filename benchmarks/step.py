"""A training step split into render, prior, backward and optimiser, at both presets.

    python benchmarks/step.py [--threads 2] [--steps 30] [--json]

The parts are timed inside one real run each, after a warm-up; medians over steps are printed. Machines differ and are
shared, so compare the parts with each other: each is also given as a ratio to the first row's whole step.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from limbeck_protocol.recipe import Recipe, Settings
from limbeck_server import assembly
from limbeck_server.distillation import stage as stage_module
from limbeck_server.distillation.device import choose_device
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.recipes import complete

WARM_UP = 20
LOSSES = {"quick": ("sds", "nfsd", "csd", "msd", "sdi", "ism"), "standard": ("sds", "nfsd")}
"""By preset. DDS needs something to edit, VSD a network."""
PARTS = ("render", "prior", "backward", "optimiser", "other", "step")


def timed(times: dict[str, list[float]], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, adding the seconds it takes to `times[name]`."""

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        begun = time.perf_counter()
        result = function(*arguments, **keywords)
        times[name].append(time.perf_counter() - begun)
        return result

    return wrapper


def split_step(preset: str, loss: str, threads: int, steps: int, device: torch.device) -> dict[str, float]:
    """Return the median milliseconds of each part of a step in mid-run."""
    recipe = complete(Recipe(prompt="a yellow duck", loss=loss, preset=preset, settings=Settings(threads=threads)))
    prior = assembly.load_prior(recipe, device)
    trainer = Trainer(prior, assembly.camera_rig(recipe), assembly.trainer_settings(recipe, prior))
    for _ in range(WARM_UP):
        trainer.step()
    times: dict[str, list[float]] = defaultdict(list)
    original_render, original_backward = stage_module.render, torch.Tensor.backward
    stage_module.render = timed(times, "render", original_render)
    torch.Tensor.backward = timed(times, "backward", original_backward)  # type: ignore[method-assign]
    for name in ("predict_noise", "denoise_at"):
        setattr(prior, name, timed(times, "prior", getattr(prior, name)))
    trainer.optimizer.step = timed(times, "optimiser", trainer.optimizer.step)  # type: ignore[method-assign]
    step = timed(times, "step", trainer.step)
    taken: list[dict[str, float]] = []
    try:
        for _ in range(steps):
            times.clear()
            step()
            # Losses with a trajectory ask the prior many times a step.
            taken.append({name: 1000 * sum(seconds) for name, seconds in times.items()})
    finally:
        stage_module.render, torch.Tensor.backward = original_render, original_backward  # type: ignore[method-assign]
    medians = {name: statistics.median(each[name] for each in taken) for name in taken[0]}
    medians["other"] = medians["step"] - sum(medians[name] for name in PARTS[:4])
    return medians


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    rows = {
        f"{preset}, {loss}": split_step(preset, loss, options.threads, options.steps, device)
        for preset, losses in LOSSES.items()
        for loss in losses
    }
    about = {
        "device": str(device),
        "processor": platform.processor(),
        "torch": torch.__version__,
        "threads": options.threads,
    }
    if options.json:
        print(json.dumps({**about, "milliseconds": rows}))
        return
    unit = next(iter(rows.values()))["step"]
    print(" ".join(f"{name}={value}" for name, value in about.items()))
    print("| preset, loss | " + " | ".join(f"{part} ms (ratio)" for part in PARTS) + " |")
    print("|---" * (len(PARTS) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[part]:.0f} ({row[part] / unit:.2f})" for part in PARTS) + " |")


if __name__ == "__main__":
    main()
