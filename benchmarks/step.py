"""A training step split into render, prior, backward and optimiser, at both presets.

    python benchmarks/step.py [--threads 2] [--steps 30] [--json]
    python benchmarks/step.py --prior FOLDER --device cuda [--render-size 64] [--preset standard] [--loss sds]

The parts are timed inside one real run each, after a warm-up; medians over steps are printed. Machines differ and are
shared, so compare the parts with each other: each is also given as a ratio to the first row's whole step, and the whole
step as a ratio to what the prior takes of it (`step / prior`), its encoder included.

The second form times any other prior: Stable Diffusion, or the random weights of `random_model.py`, whose cost is the
same. On CUDA every part waits for the device, so that each is charged with its own work; whole steps without that are
timed besides (`unhindered`).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from limbeck_protocol.recipe import Recipe, Settings
from limbeck_server import assembly
from limbeck_server.distillation import stage as stage_module
from limbeck_server.distillation.device import choose_device
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.recipes import complete

WARM_UP = 20
"""Steps that are not timed: on CUDA kernels are chosen in them, and the map of what there is settles."""
LOSSES = {"quick": ("sds", "nfsd", "csd", "msd", "sdi", "ism"), "standard": ("sds", "nfsd")}
"""By preset. DDS needs something to edit, VSD a network."""
PARTS = ("render", "encode", "prior", "backward", "optimiser", "other", "step")


def wait_for(device: torch.device) -> None:
    """Return once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(
    times: dict[str, list[float]], name: str, function: Callable[..., Any], device: torch.device
) -> Callable[..., Any]:
    """Return `function`, adding the seconds it takes to `times[name]`."""

    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        wait_for(device)
        begun = time.perf_counter()
        result = function(*arguments, **keywords)
        wait_for(device)
        times[name].append(time.perf_counter() - begun)
        return result

    return wrapper


def recipe_of(preset: str, loss: str, threads: int, prior: str = "exact", render_size: int | None = None) -> Recipe:
    """Return the recipe of a run to be timed."""
    settings = Settings(threads=threads)
    if render_size is not None:
        settings = msgspec.structs.replace(settings, render_size=[(0.0, render_size)])
    return complete(Recipe(prompt="a yellow duck", loss=loss, prior=prior, preset=preset, settings=settings))


def split_step(recipe: Recipe, steps: int, device: torch.device, warm_up: int = WARM_UP) -> dict[str, float]:
    """Return the median milliseconds of each part of a step in mid-run, and the ratio of the step to its prior."""
    prior = assembly.load_prior(recipe, device)
    trainer = Trainer(prior, assembly.camera_rig(recipe), assembly.trainer_settings(recipe, prior))
    for _ in range(warm_up):
        trainer.step()
    wait_for(device)
    begun = time.perf_counter()
    for _ in range(steps):
        trainer.step()
    wait_for(device)
    unhindered = 1000 * (time.perf_counter() - begun) / steps
    times: dict[str, list[float]] = defaultdict(list)
    original_render, original_backward = stage_module.render, torch.Tensor.backward
    stage_module.render = timed(times, "render", original_render, device)
    torch.Tensor.backward = timed(times, "backward", original_backward, device)  # type: ignore[method-assign]
    for name in ("predict_noise", "denoise_at"):
        if hasattr(prior, name):
            setattr(prior, name, timed(times, "prior", getattr(prior, name), device))
    prior.encode_images = timed(times, "encode", prior.encode_images, device)  # type: ignore[method-assign]
    trainer.optimizer.step = timed(times, "optimiser", trainer.optimizer.step, device)  # type: ignore[method-assign]
    step = timed(times, "step", trainer.step, device)
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
    medians["other"] = medians["step"] - sum(medians[name] for name in PARTS[:5])
    medians["step / prior"] = medians["step"] / (medians["prior"] + medians["encode"])
    medians["unhindered"] = unhindered
    return medians


def device_name(device: torch.device) -> str:
    """Return what the device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="with --prior")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--prior", help="a model's folder or name; the exact prior, preset by preset, if left out")
    parser.add_argument("--preset", default="standard", help="with --prior")
    parser.add_argument("--loss", default="sds", help="with --prior")
    parser.add_argument("--render-size", type=int, help="with --prior")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    if options.prior:
        name = f"{Path(options.prior).name}, {options.preset}, {options.loss}"
        recipe = recipe_of(options.preset, options.loss, options.threads, options.prior, options.render_size)
        rows = {name: split_step(recipe, options.steps, device, options.warm_up)}
    else:
        rows = {
            f"{preset}, {loss}": split_step(recipe_of(preset, loss, options.threads), options.steps, device)
            for preset, losses in LOSSES.items()
            for loss in losses
        }
    about = {
        "device": str(device),
        "name": device_name(device),
        "torch": torch.__version__,
        "threads": options.threads,
    }
    if options.json:
        print(json.dumps({**about, "milliseconds": rows}))
        return
    unit = next(iter(rows.values()))["step"]
    print(" ".join(f"{name}={value}" for name, value in about.items()))
    print(
        "| preset, loss | " + " | ".join(f"{part} ms (ratio)" for part in PARTS) + " | step / prior | unhindered ms |"
    )
    print("|---" * (len(PARTS) + 3) + "|")
    for name, row in rows.items():
        parts = " | ".join(f"{row[part]:.0f} ({row[part] / unit:.2f})" for part in PARTS)
        print(f"| {name} | {parts} | {row['step / prior']:.2f} | {row['unhindered']:.0f} |")


if __name__ == "__main__":
    main()
