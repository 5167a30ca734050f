"""Prompts, losses and seeds, scored against the truth. Resumable: what is done is not done again.

    python benchmarks/sweep.py                        # twelve prompts, sds and nfsd: quick, then four at standard
    python benchmarks/sweep.py --plan losses          # six prompts, every loss that can make something from scratch
    python benchmarks/sweep.py --plan network         # six prompts, four losses, on the network prior that ships
    python benchmarks/sweep.py --processes 2 --threads 1

Each run is a real job (`worker.run`); its metrics are kept as JSON in the results folder, its last preview as PNG. The
table is printed, and written where --out says; the network's has a sheet of pictures beside it. Delete a result to
have it measured again.
"""

from __future__ import annotations

import argparse
import hashlib
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
NETWORK_PROMPTS = (
    "a blue torus",
    "a green cone",
    "a red cube",
    "a purple mushroom",
    "a green lamp",
    "a yellow duck",
)
NETWORK_METHODS = ("sds", "nfsd", "vsd", "msd")
METHODS: dict[str, tuple[str, dict[str, str]]] = {
    "sds": ("sds", {}),
    "nfsd": ("nfsd", {}),
    "csd": ("csd", {}),
    "msd": ("msd", {}),
    "msd-product": ("msd", {"sampler": "product"}),
    "sdi": ("sdi", {}),
    "ism": ("ism", {}),
    "vsd": ("vsd", {}),
}
"""Loss and its parameters; what is not named is the preset's. DDS needs something to edit."""
EXACT_METHODS = tuple(method for method in METHODS if method != "vsd")
"""VSD needs a network."""
SEEDS = (0, 1)
TILE = 128
"""Side of a picture in the network plan's sheet, in pixels."""
COLUMNS = {
    "iou": "IoU",
    "mean_abs_signed_distance": "mean abs sd",
    "truth_to_mesh": "truth to mesh",
    "silhouette_iou": "silhouette IoU",
    "colour_error": "colour error",
    "fronts": "fronts",
}

EXACT_WORDS = """The prior is the exact one, over the small known world:
this compares losses and watches the pipeline; it says nothing of other prompts."""
NETWORK_WORDS = """The prior is the small network that ships, {trained}: a real diffusion
model that knows the small known world only, so this says nothing of other prompts."""
HEADING = """# Results on the {prior} prior, against the truth

Written by `python benchmarks/sweep.py{arguments}`. {words} All figures are taken at the density
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
    prior: str = "exact"
    """Or `network`, or the folder of a model in its stead."""

    @property
    def name(self) -> str:
        """A file name."""
        of_prior = "" if self.prior == "exact" else "network-"
        return f"{of_prior}{self.preset}-{self.loss}-{self.prompt.replace(' ', '_')}-{self.seed}"


def cases(plan: str, model: str = "network") -> list[Case]:
    """Return every run of a plan, the quick ones first; `model` is what the network plan runs on."""
    if plan == "network":
        return [Case("quick", p, loss, s, model) for s in SEEDS for p in NETWORK_PROMPTS for loss in NETWORK_METHODS]
    if plan == "losses":
        return [Case("quick", p, method, seed) for seed in SEEDS for p in LOSSES_PROMPTS for method in EXACT_METHODS]
    quick = [Case("quick", p, loss, seed) for seed in SEEDS for loss in LOSSES for p in PROMPTS]
    return quick + [Case("standard", p, loss, seed) for seed in SEEDS for loss in LOSSES for p in STANDARD_PROMPTS]


def measure(case: Case, folder: Path, threads: int, old: bool = False) -> Path:
    """Run the case unless its result is there, and return the path of its result.

    A network that has been trained further, or anew, is measured anew, unless results of an `old` one will do.
    """
    result = folder / f"{case.name}.json"
    network = {} if case.prior == "exact" else _network(case.prior)
    if result.exists() and (old or json.loads(result.read_text()).get("weights") == network.get("weights")):
        return result
    from limbeck_protocol.messages import Finished
    from limbeck_protocol.recipe import Recipe, Settings
    from limbeck_server.recipes import complete
    from limbeck_server.worker import run

    loss, parameters = METHODS[case.loss]
    settings = Settings(threads=threads, loss_parameters={**parameters})
    named = {"prompt": case.prompt, "loss": loss, "preset": case.preset, "prior": case.prior, "seed": case.seed}
    recipe = complete(Recipe(**named, settings=settings))
    with tempfile.TemporaryDirectory() as scratch:
        metrics = [event.metrics for event in run(recipe, Path(scratch)) if isinstance(event, Finished)]
        shutil.copyfile(Path(scratch) / "artifacts" / "preview.png", folder / f"{case.name}.png")
    part = result.with_suffix(".part")
    part.write_text(json.dumps({"case": vars(case), "metrics": metrics[-1], **network}, indent=1))
    part.replace(result)
    return result


def table(results: list[dict[str, Any]], plan: str, sheet: str = "") -> str:
    """Return the results as Markdown: each figure beside that of the untouched start blob.

    Args:
        results: of the runs.
        plan: which they are of.
        sheet: path of a picture of them all, as the page would name it; empty for none.
    """
    lines = [_heading(results, plan)]
    if sheet:
        rows = ", ".join(f"{p} (seed {s})" for s in SEEDS for p in NETWORK_PROMPTS)
        lines += [f"![Every run's last preview]({sheet})", ""]
        lines += [f"Columns: {', '.join(NETWORK_METHODS)}. Rows: {rows}.", ""]
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


def _heading(results: list[dict[str, Any]], plan: str) -> str:
    if plan != "network":
        arguments = " --out docs/results.md" if plan == "world" else f" --plan {plan} --out docs/{plan}.md"
        return HEADING.format(arguments=arguments, prior="exact", words=EXACT_WORDS)
    trained = sorted({result.get("iteration", 0) for result in results})
    words = NETWORK_WORDS.format(trained=f"trained for {' or '.join(map(str, trained))} iterations")
    return HEADING.format(arguments=" --plan network --out docs/network-prior.md", prior="network", words=words)


def write_sheet(folder: Path, path: Path) -> None:
    """Write the last previews of the network plan's runs as one picture: losses beside each other, prompts below."""
    from PIL import Image

    sheet = Image.new("RGB", (len(NETWORK_METHODS) * TILE, len(SEEDS) * len(NETWORK_PROMPTS) * TILE), "white")
    for index, case in enumerate(cases("network")):
        file = folder / f"{case.name}.png"
        if file.exists():
            row, column = divmod(index, len(NETWORK_METHODS))
            with Image.open(file) as picture:
                sheet.paste(picture.convert("RGB").resize((TILE, TILE)), (column * TILE, row * TILE))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _network(prior: str) -> dict[str, Any]:
    """Return how long a network was trained, as its card says, and the digest of its weights."""
    from limbeck_server.priors.model_card import read_card
    from limbeck_server.priors.model_files import find_model

    files = find_model(prior)
    weights = hashlib.sha256()
    for path in sorted(files.folder.glob("*/*.safetensors")):
        weights.update(path.read_bytes())
    iteration = int(read_card(files.folder, files.name).training.get("iteration", 0))
    return {"iteration": iteration, "weights": weights.hexdigest()}


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
    parser.add_argument("--plan", choices=("world", "losses", "network"), default="world", help="which runs")
    parser.add_argument("--model", default="network", help="the folder of another model for the network plan")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "sweep", help="where results are kept")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="per process; part of the recipe")
    parser.add_argument("--report", action="store_true", help="run nothing: tabulate what is there")
    parser.add_argument("--only", default="", help="run only cases whose name contains this")
    parser.add_argument("--out", type=Path, default=None, help="also write the table here")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in cases(options.plan, options.model) if options.only in case.name]
    if options.report:
        wanted = [case for case in wanted if (options.results / f"{case.name}.json").exists()]
    done, failed = [], []
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure, case, options.results, options.threads, options.report) for case in wanted]
        for case, future in zip(wanted, futures, strict=True):
            try:
                done.append(json.loads(future.result().read_text()))
            except Exception as error:  # one run's failure is a line of the table's, not the end of all others
                failed.append(f"{case.name}: {type(error).__name__}: {error}")
                print(failed[-1], file=sys.stderr, flush=True)
                continue
            metrics = done[-1]["metrics"]
            print(f"{case.name:<44} IoU {metrics['iou']:.3f}  {metrics['seconds']:.0f} s", file=sys.stderr, flush=True)
    sheet = options.out.parent / "images" / f"{options.out.stem}.png" if options.out else None
    if sheet and options.plan == "network":
        write_sheet(options.results, sheet)
    text = table(done, options.plan, f"images/{sheet.name}" if sheet and options.plan == "network" else "")
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    if failed:
        raise SystemExit(f"{len(failed)} of {len(wanted)} runs failed:\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
