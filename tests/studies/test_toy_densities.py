"""The densities in the plane: exact where they say so."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.studies.density_methods import grid_points
from limbeck_server.studies.toy_densities import DENSITIES, PlaneMixture

F64 = torch.float64


@pytest.fixture(scope="module", params=sorted(DENSITIES))
def mixture(request: pytest.FixtureRequest) -> PlaneMixture:
    return DENSITIES[request.param]()


def test_the_density_integrates_to_one(mixture: PlaneMixture) -> None:
    side, limit = 151, 2.5
    cell = (2 * limit / (side - 1)) ** 2
    total = mixture.log_density(grid_points(side, limit), sigma=0.1).exp().sum() * cell
    assert float(total) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0, 20.0])
def test_the_denoiser_is_tweedies_of_the_density(mixture: PlaneMixture, sigma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    points = mixture.sample(50, generator) + sigma * torch.randn(50, 2, generator=generator, dtype=F64)
    points.requires_grad_()
    (score,) = torch.autograd.grad(mixture.log_density(points, sigma).sum(), points)
    denoised = mixture.denoise(points.detach(), torch.full((50,), sigma, dtype=F64))
    assert torch.allclose(denoised, points.detach() + sigma**2 * score, rtol=0, atol=1e-8)


def test_every_point_may_have_its_own_level(mixture: PlaneMixture) -> None:
    points = grid_points(3, 1.0)
    sigmas = torch.tensor([0.1, 0.5, 2.0], dtype=F64).repeat(3)
    together = mixture.denoise(points, sigmas)
    for index in range(len(points)):
        alone = mixture.denoise(points[index : index + 1], sigmas[index : index + 1])
        assert torch.allclose(together[index], alone[0], rtol=0, atol=1e-10)


def test_the_samples_are_the_densitys(mixture: PlaneMixture) -> None:
    samples = mixture.sample(40_000, torch.Generator().manual_seed(0))
    weights = mixture.log_weights.exp()
    mean = weights @ mixture.means
    assert float(weights.sum()) == pytest.approx(1.0)
    assert torch.allclose(samples.mean(0), mean, rtol=0, atol=4 * float(samples.std()) / 200)
    # The expected score of a density under its own samples is 0.
    sigma = torch.full((40_000,), 0.05, dtype=F64)
    noisy = samples + 0.05 * torch.randn(samples.shape, generator=torch.Generator().manual_seed(1), dtype=F64)
    pull = (mixture.denoise(noisy, sigma) - noisy) / 0.05
    assert torch.allclose(pull.mean(0), torch.zeros(2, dtype=F64), rtol=0, atol=4 * float(pull.std()) / 200)


@pytest.mark.parametrize(("name", "entropy"), [("fractal", -1.35), ("spiral", -1.39), ("pinwheel", -1.19)])
def test_the_entropies_are_those_that_make_the_papers_tables_comparable(name: str, entropy: float) -> None:
    mixture = DENSITIES[name]()
    samples = mixture.sample(10_000, torch.Generator().manual_seed(0))
    assert float(-mixture.log_density(samples).mean()) == pytest.approx(entropy, abs=0.04)
