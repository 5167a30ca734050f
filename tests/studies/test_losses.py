"""The comparison of losses: turntables of fields and of the truth, and the table; jobs are run in tests/cli."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from limbeck_server.scene.field import FieldSettings, build_field
from limbeck_server.studies import losses, pictures


def test_a_turntable_shows_the_field_from_eight_sides_before_grey() -> None:
    field = build_field(FieldSettings(kind="voxels", resolution=16), "cpu", torch.Generator().manual_seed(0))
    with torch.no_grad():
        # The start's ball is grey: its half towards -Y, the front, becomes red, through the colour's logit.
        next(field.parameters())[:, :8, :, 1] += 4.0
        next(field.parameters())[:, :8, :, 2:] -= 4.0
    stills = losses.turntable(field)
    redness = stills[:, 0, 28:36, 28:36].mean(dim=(1, 2)) - stills[:, 1, 28:36, 28:36].mean(dim=(1, 2))
    assert redness[0] > redness[4] + 0.05
    assert stills.shape == (8, 3, 64, 64)
    assert torch.allclose(stills[:, :, 0, 0], torch.full((8, 3), 0.5), atol=0.02)


def test_the_truth_s_turntable_is_the_object_in_its_colour() -> None:
    stills = losses.true_turntable(pictures.known_caption("a red cube"))
    red, green = stills[0, 0, 32, 32], stills[0, 1, 32, 32]
    assert red > 3 * green
    assert (stills[0] - stills[1]).abs().mean() > 0.01


def test_a_job_that_ran_away_is_a_line_of_the_table(tmp_path: Path) -> None:
    field = build_field(FieldSettings(kind="voxels", resolution=16), "cpu", torch.Generator().manual_seed(0))
    metrics = {"iou": 0.5, "prior_evaluations": 200, "steps": 100, "seconds": 3.0}

    def job(prompt: str, case: losses.Case, steps: int | None) -> losses.JobResult:
        assert steps == losses.QUICK_STEPS
        return losses.JobResult({}, None, "It diverged.") if case.loss == "csd" else losses.JobResult(metrics, field)

    chosen = ("sds", "csd", "msd")
    result = losses.run(quick=True, seed=0, out=tmp_path, say=lambda _: None, job=job, losses=chosen, setting="quick")
    assert list(result["losses"]) == ["sds", "csd", "msd splitting", "msd product"]
    assert (tmp_path / "losses.png").stat().st_size > 5000
    text = losses.report(result)
    assert "It diverged." in text
    assert "2.0" in next(line for line in text.splitlines() if line.startswith("sds"))


@pytest.mark.parametrize("loss", ["vsd", "dds", "sdz"])
def test_a_loss_that_makes_no_object_here_is_refused(tmp_path: Path, loss: str) -> None:
    def job(prompt: str, case: losses.Case, steps: int | None) -> losses.JobResult:
        raise AssertionError("no job may be run")

    with pytest.raises(ValueError, match=loss):
        losses.run(quick=True, seed=0, out=tmp_path, say=print, job=job, losses=(loss,))
