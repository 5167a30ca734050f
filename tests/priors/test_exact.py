"""The exact prior keeps the contract of a prior."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.known_world.captions import NEGATIVE_PROMPT, parse_caption
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.prior import Prior


@pytest.fixture
def prior(library) -> ExactPrior:
    return ExactPrior(library(20, 16, seed=1), library(6, 16, seed=2, degraded=True))


def test_it_is_a_prior(prior):
    as_prior: Prior = prior
    assert as_prior.name == "exact"
    assert as_prior.shaded
    assert as_prior.default_negative_prompt == NEGATIVE_PROMPT
    assert as_prior.schedule.timesteps == 1000
    assert parse_caption("a duck" + as_prior.view_suffix(180, 10)).azimuth == "back"
    as_prior.check_prompt("a duck")


def test_evaluations_count_views_times_branches(prior):
    noisy, timesteps = torch.zeros(4, 3, 16, 16), torch.full((4,), 500)
    prior.predict_noise(noisy, timesteps, {"conditional": ["a duck"] * 4, "unconditional": [""] * 4})
    assert prior.evaluations == 8
    prior.denoise(noisy, timesteps, [""] * 4)
    assert prior.evaluations == 12


def test_pictures_survive_the_way_to_latents_and_back(prior):
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = prior.encode_images(pictures)
    assert latents.min() >= -1
    assert latents.max() <= 1
    torch.testing.assert_close(prior.decode_latents(latents), pictures)


@pytest.mark.parametrize("side", [8, 16, 32, 40, 64])
def test_pictures_of_any_size_become_latents_of_the_priors_own(prior, side):
    pictures = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(2)).requires_grad_()
    latents = prior.encode_images(pictures)
    assert latents.shape == (1, 3, 16, 16)
    assert float(latents.detach().mean()) == pytest.approx(2 * float(pictures.detach().mean()) - 1, abs=0.03)
    (gradient,) = torch.autograd.grad(latents.sum(), pictures)
    assert (gradient != 0).all()


def test_a_picture_twice_as_large_is_averaged_over_two_by_two_pixels(prior):
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    averaged = pictures.view(1, 3, 16, 2, 16, 2).mean(dim=(3, 5))
    torch.testing.assert_close(prior.encode_images(pictures), 2 * averaged - 1)


def test_denoised_latents_and_predicted_noise_are_one_answer(prior):
    noisy = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(4))
    timesteps = torch.tensor([200, 800])
    noise = prior.predict_noise(noisy, timesteps, {"conditional": ["a cube", ""]})["conditional"]
    clean = prior.denoise(noisy, timesteps, ["a cube", ""])
    signal, std = (
        scale[timesteps][:, None, None, None].float()
        for scale in (prior.schedule.signal_scales, prior.schedule.noise_stds)
    )
    torch.testing.assert_close(signal * clean + std * noise, noisy, rtol=0, atol=1e-5)


def test_answers_carry_no_gradient(prior):
    noisy = torch.randn(1, 3, 16, 16, requires_grad=True)
    assert not prior.predict_noise(noisy, torch.tensor([500]), {"unconditional": [""]})["unconditional"].requires_grad


def test_shapes_that_disagree_are_refused(prior):
    noisy = torch.zeros(2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"expected pictures \(n, 3, 16, 16\)"):
        prior.predict_noise(torch.zeros(1, 3, 8, 8), torch.tensor([1]), {"conditional": [""]})
    with pytest.raises(ValueError, match="one timestep for each of 2"):
        prior.predict_noise(noisy, torch.tensor([1]), {"conditional": ["", ""]})
    with pytest.raises(ValueError, match="1 texts for each of 2 noisy latents, but got 1"):
        prior.predict_noise(noisy, torch.tensor([1, 1]), {"conditional": [""]})
    with pytest.raises(ValueError, match="square pictures"):
        prior.encode_images(torch.zeros(1, 3, 16, 8))
