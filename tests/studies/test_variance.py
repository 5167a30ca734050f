"""The study of variance: its arithmetic on gradients made by hand, and what must come out on the exact prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.studies import variance

# --- arithmetic -------------------------------------------------------------------------------------------------------


def test_spread_finds_the_mean_and_the_variance_that_were_put_in() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 16, 16, generator=generator, dtype=torch.float64)
    drawn = mean + 2.0 * torch.randn(400, 3, 16, 16, generator=generator, dtype=torch.float64)
    found = variance.spread(drawn, -mean[None], 500, 2.0)
    true = float(mean.square().mean())
    assert found.variance == pytest.approx(4.0, rel=0.02)
    assert found.mean**2 == pytest.approx(true, rel=0.05)
    assert found.signal_to_noise == pytest.approx(true / 4.0, rel=0.05)
    assert found.towards_truth > 0.99


def test_pure_noise_has_no_signal_although_the_mean_of_few_draws_is_not_zero() -> None:
    drawn = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = variance.spread(drawn, drawn[:1], 500, 2.0)
    assert float(drawn.mean(0).square().mean()) > 0.2
    assert found.signal_to_noise == pytest.approx(0.0, abs=0.05)


def test_what_never_varies_has_no_ratio() -> None:
    assert variance.spread(torch.ones(4, 3, 2, 2), torch.ones(1, 3, 2, 2), 500, 2.0).signal_to_noise is None


# --- the study itself, in small ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found(small_world: ExactPrior, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("variance")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"QUICK_TIMESTEPS": (60, 500), "QUICK_DRAWS": 4, "QUICK_STEP_DRAWS": 12}.items():
            patch.setattr(variance, name, value)
        return variance.run(quick=True, seed=0, out=out, say=lambda _: None, prior=small_world), out


def at(found: dict[str, Any], state: str, loss: str, timestep: int) -> dict[str, Any]:
    return next(p for p in found["states"][state][loss] if p["timestep"] == timestep)


def test_every_figure_and_every_loss_is_there(found: tuple[dict[str, Any], Path]) -> None:
    result, out = found
    assert sorted(path.name for path in out.iterdir()) == sorted(result["figures"])
    assert len(result["figures"]) == 3
    expected = {"sds", "nfsd", "csd", "sdi", "ism", "dds", "msd splitting", "msd product"}
    assert set(result["states"]["wrong colour"]) == expected
    assert set(result["states"]["start"]) == expected - {"dds"}
    text = variance.report(result)
    assert all(word in text for word in (*expected, "Choices", "vsd", "guidance scale"))


def test_evaluations_are_those_of_one_draw(found: tuple[dict[str, Any], Path]) -> None:
    result = found[0]
    expected = {"sds": 2, "nfsd": 2, "csd": 2, "dds": 4}
    for loss, evaluations in expected.items():
        assert at(result, "wrong colour", loss, 60)["evaluations"] == evaluations, loss
    assert at(result, "wrong colour", "nfsd", 500)["evaluations"] == 3
    assert at(result, "wrong colour", "msd product", variance.CHAIN_START)["evaluations"] == 40


def test_nfsd_below_its_threshold_carries_the_noise_that_sds_takes_away(found: tuple[dict[str, Any], Path]) -> None:
    for state in ("start", "degraded", "wrong colour"):
        nfsd, sds = (at(found[0], state, loss, 60)["variance"] for loss in ("nfsd", "sds"))
        assert nfsd > 0.5
        assert nfsd > 2.0 * sds
        assert at(found[0], state, "nfsd", 500)["variance"] < 0.2 * nfsd


def test_ism_has_no_noise_at_all(found: tuple[dict[str, Any], Path]) -> None:
    for points in (rows["ism"] for rows in found[0]["states"].values()):
        assert [point["signal_to_noise"] for point in points] == [None] * len(points)


def test_a_narrower_kernel_leaves_less_variance(found: tuple[dict[str, Any], Path]) -> None:
    for rows in found[0]["bandwidths"].values():
        for sampler, points in rows.items():
            wide, _, narrow = (point["variance"] for point in points)
            assert narrow < 0.5 * wide, sampler


def test_the_empty_prompt_s_prediction_is_mostly_the_added_noise(found: tuple[dict[str, Any], Path]) -> None:
    for points in found[0]["nfsd"].values():
        for point in points:
            assert point["empty_with_noise"] > 0.9
            late = point["timestep"] >= 200
            assert (abs(point["domain_with_noise"]) < 0.3) if late else (point["domain_with_noise"] > 0.9)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["a duck", "a yellow thing", "a yellow duck, front view"])
def test_a_prompt_without_a_true_picture_is_refused(small_world: ExactPrior, tmp_path: Path, prompt: str) -> None:
    with pytest.raises(ValueError, match="a shape and a colour, and no view"):
        variance.run(quick=True, seed=0, out=tmp_path, say=print, prompt=prompt, prior=small_world)


def test_vsd_is_refused_and_the_reason_given(small_world: ExactPrior, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vsd is sds, draw by draw"):
        variance.run(quick=True, seed=0, out=tmp_path, say=print, losses=("vsd",), prior=small_world)
