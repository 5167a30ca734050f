"""Whole small jobs on the network that ships, scored against the truth as those of the exact prior are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from limbeck_protocol.messages import ArtifactWritten, Finished, PhaseStarted, WorkerProgress
from limbeck_protocol.recipe import Recipe, Settings
from limbeck_server import recipes, worker

SMALL = Settings(
    steps=3, field_resolution=24, mesh_resolution=32, texture_size=64, face_budget=500, threads=1, device="cpu"
)
AGAINST_TRUTH = {
    *("iou", "silhouette_iou", "mean_abs_signed_distance", "truth_to_mesh", "colour_error", "true_volume", "fronts"),
}


def events_of(folder: Path, **recipe: Any) -> list[Any]:
    return list(worker.run(recipes.complete(Recipe(preset="quick", prior="network", settings=SMALL, **recipe)), folder))


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sds", "vsd"])
def test_a_job_runs_from_prompt_to_mesh_and_is_scored(loss: str, tmp_path: Path) -> None:
    events = events_of(tmp_path, prompt="a red cube", loss=loss)
    phases = [event.name for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["views", "start", "optimise", "mesh", "score"]
    metrics = next(event.metrics for event in events if isinstance(event, Finished))
    assert set(metrics) >= AGAINST_TRUTH
    assert set(metrics["start"]) == AGAINST_TRUTH
    assert all(math.isfinite(metrics[name]) for name in AGAINST_TRUTH)
    assert 0.0 <= metrics["iou"] <= 1.0
    assert 0.0 <= metrics["fronts"] <= 8.0
    # Two of the prior a step; the particle model counts its own.
    assert metrics["prior_evaluations"] == 2 * 3
    losses = [event.progress.loss for event in events if isinstance(event, WorkerProgress) and event.progress.loss]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    assert {event.name for event in events if isinstance(event, ArtifactWritten)} >= {"mesh.glb", "preview.png"}


def test_a_prompt_without_a_shape_has_no_truth(tmp_path: Path) -> None:
    events = events_of(tmp_path, prompt="something red", loss="sds")
    metrics = next(event.metrics for event in events if isinstance(event, Finished))
    assert not AGAINST_TRUTH & set(metrics)
    assert metrics["start"] == {}
