"""Finished jobs on disk: the same comes back, and another or a damaged one does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from limbeck_server.scene.field import FieldSettings, build_field
from limbeck_server.studies.kept_jobs import FIELD, RECORD, keep, kept
from limbeck_server.studies.losses import JobResult

KEY = {"prompt": "a red cube", "case": {"loss": "sds", "guidance_scale": None}, "steps": 100, "seed": 0}
METRICS = {"iou": 0.5, "start": {"iou": 0.25}}


@pytest.fixture
def result() -> JobResult:
    field = build_field(FieldSettings(kind="voxels", resolution=8), "cpu", torch.Generator().manual_seed(0))
    return JobResult(METRICS, field, settings={"guidance_scale": 2.0, "timestep_max": [[0.0, 0.98]]})


def test_a_job_comes_back_as_it_was(tmp_path: Path, result: JobResult) -> None:
    assert kept(tmp_path / "job", KEY) is None
    keep(tmp_path / "job", KEY, result)
    found = kept(tmp_path / "job", KEY)
    assert found is not None
    assert (found.metrics, found.settings, found.error) == (result.metrics, result.settings, "")
    assert found.field is not None
    assert result.field is not None
    for name, values in result.field.state_dict().items():
        assert torch.equal(found.field.state_dict()[name], values)
    assert {path.name for path in (tmp_path / "job").iterdir()} == {RECORD, FIELD}


def test_a_failure_is_kept_too(tmp_path: Path) -> None:
    keep(tmp_path, KEY, JobResult({}, None, "It diverged."))
    found = kept(tmp_path, KEY)
    assert found is not None
    assert (found.field, found.error) == (None, "It diverged.")


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": None}, {"case": {"loss": "nfsd"}}, {"model": "later"}])
def test_another_job_of_the_same_name_is_not_taken_for_it(
    tmp_path: Path, result: JobResult, change: dict[str, object]
) -> None:
    keep(tmp_path, KEY, result)
    assert kept(tmp_path, KEY | change) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}"])
def test_a_damaged_record_is_none(tmp_path: Path, result: JobResult, damage: str) -> None:
    keep(tmp_path, KEY, result)
    (tmp_path / RECORD).write_text(damage)
    assert kept(tmp_path, KEY) is None


def test_a_field_that_is_gone_or_damaged_is_none(tmp_path: Path, result: JobResult) -> None:
    keep(tmp_path, KEY, result)
    (tmp_path / FIELD).write_bytes(b"no field")
    assert kept(tmp_path, KEY) is None
    (tmp_path / FIELD).unlink()
    assert kept(tmp_path, KEY) is None
