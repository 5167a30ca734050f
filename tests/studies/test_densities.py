"""The study of the densities: its claims at a reduced size, and the whole of it at the smallest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from limbeck_server.distillation.trajectories import mean_shift
from limbeck_server.studies import densities
from limbeck_server.studies.density_methods import (
    Descent,
    Gradient,
    descend,
    grid_points,
    msd_gradient,
    sds_gradient,
)
from limbeck_server.studies.density_metrics import FieldScores, PointScores, score_field, score_points
from limbeck_server.studies.toy_densities import DENSITIES, PlaneMixture
from PIL import Image

TINY = densities.Effort(
    real=400,
    points=6,
    draws=10,
    sampler_steps=6,
    training_steps=4,
    grid_side=6,
    descent_sampler_steps=4,
    plain_steps=2,
    adam_steps=2,
    landscape_side=8,
    landscape_draws=2,
)


NAMES = ("fractal", "spiral", "pinwheel")
ABOVE_ENTROPY = {"fractal": 0.3, "spiral": -0.2, "pinwheel": -0.2}
"""How far MSD's NLL may lie above the entropy, in nats."""
BELOW_SDS = {"fractal": 2.0, "spiral": 8.0, "pinwheel": 2.0}


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def mixture(name: str) -> PlaneMixture:
    return DENSITIES[name]()


def against_mean_shift(mixture: PlaneMixture, gradient: Gradient, bandwidth: float, draws: int) -> FieldScores:
    generator = torch.Generator().manual_seed(0)
    points = mixture.sample(100, generator)
    points = points + bandwidth / 2**0.5 * torch.randn(points.shape, generator=generator, dtype=points.dtype)
    copies = min(20, draws)

    def draw() -> torch.Tensor:
        return -gradient(points.repeat(copies, 1), bandwidth, generator).reshape(copies, -1, 2)

    return score_field(draw, draws, mean_shift(mixture.denoise, points, bandwidth))


@pytest.mark.parametrize("bandwidth", densities.BANDWIDTHS)
def test_the_unbiased_sampler_draws_the_mean_shift(mixture: PlaneMixture, bandwidth: float) -> None:
    scores = against_mean_shift(mixture, msd_gradient(mixture.denoise, "product", steps=16), bandwidth, 1000)
    assert scores.cosine >= 0.99
    assert scores.cosine_low >= 0.90
    assert scores.relative_error <= 0.15


@pytest.mark.parametrize(("bandwidth", "cosine"), [(0.316, 0.90), (0.1, 0.98)])
def test_the_papers_sampler_points_along_the_mean_shift(mixture: PlaneMixture, bandwidth: float, cosine: float) -> None:
    scores = against_mean_shift(mixture, msd_gradient(mixture.denoise, "splitting"), bandwidth, 2)
    assert scores.cosine >= cosine
    assert scores.std < 1e-6  # two start noises, one answer


def test_points_that_follow_msd_end_where_the_density_is_and_those_of_sds_between(
    name: str, mixture: PlaneMixture
) -> None:
    """SDS is given 16 draws a step, as many evaluations as MSD's samples take; with one its recall is 0.04 to 0.20."""
    generator = torch.Generator().manual_seed(0)
    real, start = mixture.sample(5000, generator), grid_points(16, 1.5)
    entropy = float(-mixture.log_density(real).mean())

    def scores(gradient: Gradient, descent: Descent) -> PointScores:
        return score_points(mixture, real, descend(gradient, start, descent, generator))

    of_sds = scores(sds_gradient(mixture.denoise, "noise_variance", draws=16), Descent("adam", 150, 0.08))
    for sampler in ("splitting", "product"):
        of_msd = scores(msd_gradient(mixture.denoise, sampler, steps=12, draws=2), Descent("plain", 10, 1.0))
        assert of_msd.nll <= entropy + ABOVE_ENTROPY[name]
        assert of_msd.nll <= of_sds.nll - BELOW_SDS[name]
        assert of_msd.precision >= 0.85
        assert of_sds.recall <= 0.1 < of_msd.recall


def test_the_whole_study_writes_its_tables_its_choices_and_its_figures(tmp_path: Path) -> None:
    said: list[str] = []
    result = densities.study(TINY, 3, tmp_path, said.append)
    assert json.loads((tmp_path / "densities.json").read_text(encoding="utf-8")) == result
    for name in ("points_ideal.png", "points_learned.png", "landscapes.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 400
    assert said
    text = densities.report(result)
    for word in (*DENSITIES, "MSD product (unbiased)", "SDS, t 20..980, w = 1", "natural", "Kynkäänniemi", "NLL"):
        assert word in text
    again = densities.study(TINY, 3, tmp_path, said.append)
    assert again["densities"] == result["densities"]
