"""How well edits keep what they should keep: `python benchmarks/edit.py [--preset quick] [--seeds 0 1]`.

Makes "a red mug" on the exact prior, edits it to each of some prompts, and prints how far the hue is off the palette's
(degrees) and the IoU with the original, both of the final mesh. Jobs run in this process, one thread.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from limbeck_protocol.editing import edit_recipe
from limbeck_protocol.job_states import JobState
from limbeck_protocol.messages import Artifact, Finished, JobInfo
from limbeck_protocol.recipe import FIELD_FILE, Recipe, Settings
from limbeck_server import recipes, worker

SOURCE = "a red mug"
EDITS = ("a blue mug", "a green mug", "a blue bottle")
SETTINGS = Settings(threads=1, texture_size=64, preview_every=10_000)


def run(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Return the metrics of a completed recipe's job."""
    (finished,) = (event for event in worker.run(recipe, folder) if isinstance(event, Finished))
    return dict(finished.metrics)


def finished_job(recipe: Recipe, job_id: str) -> JobInfo:
    """Return what a server would say of a job that has left its field."""
    artifact = Artifact(name=FIELD_FILE, size_bytes=0, digest="", media_type="")
    return JobInfo(job_id=job_id, state=JobState.SUCCEEDED, recipe=recipe, created=0.0, artifacts=[artifact])


def main() -> None:
    """Make, edit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--edits", nargs="+", default=list(EDITS))
    given = parser.parse_args()
    print("seed  edit                 hue error  IoU with original  IoU with truth (original)  seconds", flush=True)
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as place:
            start = recipes.complete(Recipe(prompt=SOURCE, preset=given.preset, seed=seed, settings=SETTINGS))
            run(start, Path(place) / "job-start")
            taken = {"field": start.settings.field, "field_resolution": start.settings.field_resolution}
            for number, prompt in enumerate(given.edits):
                recipe = edit_recipe(finished_job(start, "job-start"), prompt, settings=Settings(**taken))
                found = run(recipes.complete(recipe), Path(place) / f"job-edit-{number}")
                print(
                    f"{seed:<5} {prompt:<20} {found['hue_error_deg']:9.1f}  {found['iou_with_start']:17.3f}  "
                    f"{found['iou']:14.3f} ({found['start'].get('iou', float('nan')):.3f})  {found['seconds']:14.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
