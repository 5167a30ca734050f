"""SDS against NFSD in 3-D: what is measured of looks, what is kept of a run, and the table; jobs run in tests/cli."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from limbeck_server.scene.field import Field, FieldSettings, build_field
from limbeck_server.studies import nfsd_3d
from limbeck_server.studies.losses import Case, JobResult
from limbeck_server.studies.nfsd_3d import Turntable, looks
from torch import Tensor

ONE = torch.ones(8, 1, 16, 16)


def plain(*colour: float) -> Tensor:
    return torch.tensor(colour)[None, :, None, None].expand(8, 3, 16, 16).clone()


def test_looks_of_a_plain_colour_are_exact() -> None:
    found = looks(Turntable(plain(0.2, 0.4, 0.8), ONE), Turntable(plain(0.3, 0.4, 0.6), ONE))
    assert found["saturation"] == pytest.approx(0.75)
    assert found["burnt"] == 0.0
    assert found["detail"] == pytest.approx(0.0, abs=1e-6)
    assert found["colour_distance"] == pytest.approx((0.1 + 0.0 + 0.2) / 3)


def test_channels_at_the_ends_are_burnt_and_a_checkerboard_has_detail() -> None:
    assert looks(Turntable(plain(1.0, 0.0, 0.5), ONE), None)["burnt"] == pytest.approx(2 / 3)
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2
    board = checks.float().expand(8, 3, 16, 16)
    # Inside, a 3 x 3 mean is 4/9 about a white pixel's neighbours and 5/9 with it: |1 - 5/9| = |0 - 4/9|.
    assert looks(Turntable(board, ONE), None)["detail"] == pytest.approx(4 / 9, rel=0.03)


def test_only_the_object_counts_and_not_the_grey_behind_it() -> None:
    image, opacity = plain(0.5, 0.5, 0.5), torch.zeros(8, 1, 16, 16)
    image[:, :, 4:12, 4:12] = plain(0.9, 0.09, 0.09)[:, :, :8, :8]
    opacity[:, :, 4:12, 4:12] = 1.0
    assert looks(Turntable(image, opacity), None)["saturation"] == pytest.approx(0.9)
    assert looks(Turntable(image, 0 * opacity), None) == {}
    assert looks(None, None) == {}


def test_the_truth_has_the_prompt_s_colour_and_a_prompt_without_one_has_no_truth() -> None:
    truth = nfsd_3d.true_turntable("a red cube")
    assert truth is not None
    assert truth.image.shape == (8, 3, 64, 64)
    assert 0.5 < looks(truth, truth)["saturation"] < 1.0
    assert looks(truth, truth)["colour_distance"] == 0.0
    assert nfsd_3d.true_turntable("a cube") is None


def test_the_cases_are_the_paper_s_and_the_preset_s_own_without_annealing() -> None:
    paper = {label: (case.loss, case.guidance_scale) for label, case in nfsd_3d.CASES.items()}
    assert paper == {
        "sds 100": ("sds", 100.0),
        "sds 7.5": ("sds", 7.5),
        "nfsd 7.5": ("nfsd", 7.5),
        "sds own": ("sds", None),
        "nfsd own": ("nfsd", None),
    }
    assert {case.timestep_max for case in nfsd_3d.CASES.values()} == {0.98}


# --- the study, with jobs that take no time ---------------------------------------------------------------------------


class Jobs:
    """Counts the jobs; `sds 100` runs away, every other ends with a grey ball."""

    def __init__(self, steps: int | None = nfsd_3d.QUICK_STEPS) -> None:
        self.steps = steps
        self.run: list[tuple[str, Case]] = []
        settings = FieldSettings(kind="voxels", resolution=16)
        self.ball: Field = build_field(settings, "cpu", torch.Generator().manual_seed(0))

    def __call__(self, prompt: str, case: Case, steps: int | None) -> JobResult:
        assert steps == self.steps
        self.run.append((prompt, case))
        if case.guidance_scale == 100.0:
            return JobResult({}, None, "It diverged.", {"guidance_scale": 100.0})
        metrics = {"iou": 0.5, "colour_error": 0.1, "steps": 100}
        return JobResult(metrics, self.ball, settings={"guidance_scale": case.guidance_scale or 2.0})


def run(out: Path, jobs: Jobs, **changes: object) -> dict:
    options = {"quick": True, "seed": 0, "out": out, "say": lambda _: None, "job": jobs, "prompt": "a red cube"}
    return nfsd_3d.run(**{**options, **changes})  # type: ignore[arg-type]


def test_the_quick_form_makes_one_object(tmp_path: Path) -> None:
    jobs = Jobs()
    assert list(run(tmp_path, jobs, prompt="")["prompts"]) == ["a blue torus"]
    assert [case for _, case in jobs.run] == list(nfsd_3d.CASES.values())


def test_every_case_is_run_on_every_prompt_and_the_table_says_at_which_scale(tmp_path: Path) -> None:
    jobs = Jobs(steps=None)
    result = run(tmp_path, jobs, prompt="", quick=False, setting="preset 'quick'")
    assert [case for _, case in jobs.run] == len(nfsd_3d.PROMPTS) * list(nfsd_3d.CASES.values())
    assert list(result["prompts"]) == list(nfsd_3d.PROMPTS)
    assert result["prompts"]["a yellow duck"]["sds own"]["guidance_scale"] == 2.0
    assert result["median"]["nfsd own"]["iou"] == 0.5
    assert result["median"]["sds 100"] == {}
    for name in result["figures"]:
        assert (tmp_path / name).stat().st_size > 5000
    text = nfsd_3d.report(result)
    assert all(words in text for words in ("It diverged.", "truth", "median over the prompts", "no annealing"))


def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path) -> None:
    class Killed(Jobs):
        def __call__(self, prompt: str, case: Case, steps: int | None) -> JobResult:
            if len(self.run) == 2:
                raise KeyboardInterrupt
            return super().__call__(prompt, case, steps)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Killed())
    rest, nothing = Jobs(), Jobs()
    result = run(tmp_path, rest)
    assert [case for _, case in rest.run] == list(nfsd_3d.CASES.values())[2:]
    assert run(tmp_path, nothing) == result
    assert nothing.run == []


def test_a_model_of_any_text_has_no_truth(tmp_path: Path) -> None:
    result = run(tmp_path, Jobs(), prompt="an armchair in a garden", prior="somebody/a-model")
    assert result["truth"] == {}
    assert "truth" not in nfsd_3d.report(result).split("Choices")[0]
