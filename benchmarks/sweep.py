"""Prompts, losses and seeds, scored against the truth. Resumable: what is done is not done again.

    python benchmarks/sweep.py                        # twelve prompts, sds and nfsd: quick, then four at standard
    python benchmarks/sweep.py --plan losses          # six prompts, every loss that can make something from scratch
    python benchmarks/sweep.py --processes 2 --threads 1

Each run is a real job (`worker.run`); its metrics are kept as JSON in the results folder, its last preview as PNG. The
table is printed, and written where --out says. Delete a result to have it measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROMPTS = (
    "a yellow duck",
    "a white snowman",
    "a red cube",
    "a blue torus",
    "a green sphere",
    "a purple mushroom",
    "an orange cone",
    "a red car",
    "a yellow rocket",
    "a brown house",
    "a pink chair",
    "a cyan mug",
)
STANDARD_PROMPTS = ("a yellow duck", "a red cube", "a blue torus", "a pink chair")
LOSSES = ("sds", "nfsd")
LOSSES_PROMPTS = ("a yellow duck", "a blue torus", "a pink chair", "a red car", "a white snowman", "a purple mushroom")
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "sds": ("sds", {}),
    "nfsd": ("nfsd", {}),
    "csd": ("csd", {}),
    "msd": ("msd", {}),
    "msd-product": ("msd", {"sampler": "product"}),
    "sdi": ("sdi", {}),
    "ism": ("ism", {}),
}
"""Loss and its parameters; what is not named is the preset's. VSD needs a network, and DDS something to edit."""
SEEDS = (0, 1)
COLUMNS = {
    "iou": "IoU",
    "mean_abs_signed_distance": "mean abs sd",
    "truth_to_mesh": "truth to mesh",
    "silhouette_iou": "silhouette IoU",
    "colour_error": "colour error",
    "fronts": "fronts",
}

HEADING = """# Results on the exact prior, against the truth

Written by `python benchmarks/sweep.py{arguments}`. The prior is the exact one, over the small known world:
this compares losses and watches the pipeline; it says nothing of other prompts. All figures are taken at the density
level that the product chose, without any alignment. IoU and silhouette IoU: 1 is best. Mean abs sd: mean |signed
distance| of the mesh's vertices to the true surface, and truth to mesh the way back, where the object's radius is at
most 0.6: 0 is best. Colour error: mean RGB distance to the truth's own shaded colours over visible points. Fronts:
how many of 8 azimuths are called *front*; without meaning for shapes that look alike from several sides. Seconds are
those of a shared two-core machine, two jobs at a time.
"""


@dataclass(frozen=True)
class Case:
    """One run of the sweep."""

    preset: str
    prompt: str
    loss: str
    """A key of `METHODS`."""
    seed: int

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.preset}-{self.loss}-{self.prompt.replace(' ', '_')}-{self.seed}"


def cases(plan: str) -> list[Case]:
    """Return every run of a plan, the quick ones first."""
    if plan == "losses":
        return [Case("quick", p, method, seed) for seed in SEEDS for p in LOSSES_PROMPTS for method in METHODS]
    quick = [Case("quick", p, loss, seed) for seed in SEEDS for loss in LOSSES for p in PROMPTS]
    return quick + [Case("standard", p, loss, seed) for seed in SEEDS for loss in LOSSES for p in STANDARD_PROMPTS]


def measure(case: Case, folder: Path, threads: int) -> Path:
    """Run the case unless its result is there, and return the path of its result."""
    result = folder / f"{case.name}.json"
    if result.exists():
        return result
    from limbeck_protocol.messages import Finished
    from limbeck_protocol.recipe import Recipe, Settings
    from limbeck_server.recipes import complete
    from limbeck_server.worker import run

    loss, parameters = METHODS[case.loss]
    settings = Settings(threads=threads, loss_parameters={**parameters})
    recipe = complete(Recipe(prompt=case.prompt, loss=loss, preset=case.preset, seed=case.seed, settings=settings))
    with tempfile.TemporaryDirectory() as scratch:
        metrics = [event.metrics for event in run(recipe, Path(scratch)) if isinstance(event, Finished)]
        shutil.copyfile(Path(scratch) / "artifacts" / "preview.png", folder / f"{case.name}.png")
    part = result.with_suffix(".part")
    part.write_text(json.dumps({"case": vars(case), "metrics": metrics[-1]}, indent=1))
    part.replace(result)
    return result


def table(results: list[dict[str, Any]], plan: str) -> str:
    """Return the results as Markdown: each figure beside that of the untouched start blob."""
    arguments = " --out docs/results.md" if plan == "world" else f" --plan {plan} --out docs/{plan}.md"
    lines = [HEADING.format(arguments=arguments)]
    for preset in ("quick", "standard"):
        rows = [r for r in results if r["case"]["preset"] == preset]
        if not rows:
            continue
        lines += [f"## Preset `{preset}`", "", "Each figure: result (start blob).", ""]
        lines += ["| prompt | loss | seed | " + " | ".join(COLUMNS.values()) + " | Euler | watertight | s |"]
        lines += ["|---" * (len(COLUMNS) + 6) + "|"]
        for row in rows:
            metrics, case = row["metrics"], row["case"]
            figures = " | ".join(_figure(metrics, name) for name in COLUMNS)
            tail = f"{metrics['euler_number']} | {'yes' if metrics['watertight'] else 'no'} | {metrics['seconds']:.0f}"
            lines.append(f"| {case['prompt']} | {case['loss']} | {case['seed']} | {figures} | {tail} |")
        lines += ["", *_summary(rows), ""]
    return "\n".join(lines)


def _figure(metrics: dict[str, Any], name: str) -> str:
    start = (metrics.get("start") or {}).get(name)
    return f"{metrics[name]:.3f}" + ("" if start is None else f" ({start:.3f})")


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| median over prompts and seeds | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for loss in METHODS:
        chosen = [row["metrics"] for row in rows if row["case"]["loss"] == loss]
        if chosen:
            medians = " | ".join(f"{statistics.median(m[name] for m in chosen):.3f}" for name in COLUMNS)
            lines.append(f"| {loss} ({len(chosen)} runs) | {medians} |")
    return lines


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", choices=("world", "losses"), default="world", help="which runs")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "sweep", help="where results are kept")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="per process; part of the recipe")
    parser.add_argument("--report", action="store_true", help="run nothing: tabulate what is there")
    parser.add_argument("--only", default="", help="run only cases whose name contains this")
    parser.add_argument("--out", type=Path, default=None, help="also write the table here")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in cases(options.plan) if options.only in case.name]
    if options.report:
        wanted = [case for case in wanted if (options.results / f"{case.name}.json").exists()]
    done = []
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure, case, options.results, options.threads) for case in wanted]
        for case, future in zip(wanted, futures, strict=True):
            done.append(json.loads(future.result().read_text()))
            metrics = done[-1]["metrics"]
            print(f"{case.name:<44} IoU {metrics['iou']:.3f}  {metrics['seconds']:.0f} s", file=sys.stderr, flush=True)
    text = table(done, options.plan)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
