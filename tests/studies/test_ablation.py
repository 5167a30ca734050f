"""The study of MSD's heuristics: the explicit kernel is right where it is stable, and runs away where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from limbeck_server.distillation.distil import distil
from limbeck_server.distillation.picture import PictureSettings, picture_subject
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.studies import ablation

PROMPT = "a yellow duck"


def settings(**parameters: float | str) -> PictureSettings:
    plain = ablation._settings(quick=True, seed=0)
    return replace(plain, loss_parameters={**plain.loss_parameters, "sampling_steps": 20.0, **parameters})


def drawn(prior: ExactPrior, here: PictureSettings, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, y by explicit steps, and y by contraction towards x itself, from the same noise."""
    latents = 0.3 * torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    subject = picture_subject(prior, latents, PROMPT)
    explicit = ablation.explicit_target(prior, here, subject, share, torch.Generator().manual_seed(1))
    stable = replace(here, loss_parameters={**here.loss_parameters, "centre": "mean"})
    gradient = distil(prior, stable, subject, share, torch.Generator().manual_seed(1)).gradient
    return latents, explicit, latents - gradient


def test_both_ways_agree_while_the_kernel_is_wide(small_world: ExactPrior) -> None:
    _, explicit, stable = drawn(small_world, settings(), 0.0)
    assert (explicit - stable).square().mean().sqrt() < 0.05


def test_explicit_steps_run_away_once_they_are_longer_than_twice_the_squared_bandwidth(small_world: ExactPrior) -> None:
    # 49 timesteps a step: the limit is a bandwidth of 4.9, which 300 -> 3 passes after 89 % of the run.
    latents, before, _ = drawn(small_world, settings(), 0.8)
    assert (before - latents).square().mean().sqrt() < 2.0
    latents, after, stable = drawn(small_world, settings(), 1.0)
    assert (after - latents).square().mean().sqrt() > 100.0
    assert (stable - latents).square().mean().sqrt() < 2.0


def test_the_study_tells_what_became_of_each_way(
    small_world: ExactPrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "QUICK_STEPS", 12)
    result = ablation.run(quick=True, seed=0, out=tmp_path, say=lambda _: None, size=16, prior=small_world)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ablation-distance.png", "ablation.png"]
    cases = result["cases"]
    assert list(cases) == list(ablation.CASES)
    assert cases["unbiased product"]["to_world"][0] < 0.5
    assert cases["unbiased product"]["shift"][-1] < cases["unbiased product"]["shift"][0]
    # Explicit steps end far away, with and without the interval.
    assert max(cases["neither"]["shift"][-3:]) > 10.0
    assert cases["unbiased product"]["evaluations"] == pytest.approx(16.0)
    assert cases["stable"]["evaluations"] == pytest.approx(24.0)
    text = ablation.report(result)
    assert all(word in text for word in (*ablation.CASES, "Choices", "unstable once the bandwidth is below"))
