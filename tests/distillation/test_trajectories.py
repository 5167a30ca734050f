"""DDIM and mean-shift distillation's samplers against exact answers: points and Gaussians."""

from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.distillation.trajectories import (
    Denoiser,
    bandwidth_at,
    centres,
    ddim_noise_std,
    ddim_step,
    invert,
    karras_sigmas,
    keep_factors,
    mean_shift,
    noise_predictor,
    product_denoiser,
    sample,
    sample_by_splitting,
    sample_product,
)
from scipy.integrate import quad
from torch import Tensor

F64 = torch.float64
BANDWIDTHS = [0.1, 0.5, 2.0]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def point_denoiser(data: Tensor, log_weights: Tensor | None = None) -> Denoiser:
    """The ideal denoiser of weighted points (n, d), written straight from Bayes: E[y given z]."""

    def denoise(z: Tensor, sigma: Tensor) -> Tensor:
        logits = -(torch.cdist(z, data) ** 2) / (2.0 * sigma[:, None] ** 2)
        return torch.softmax(logits if log_weights is None else logits + log_weights, dim=1) @ data

    return denoise


def gaussian_denoiser(mean: float, std: float) -> Denoiser:
    """The ideal denoiser of N(mean, std^2) per axis, for any shape."""

    def denoise(z: Tensor, sigma: Tensor) -> Tensor:
        variance = sigma.reshape(-1, *[1] * (z.ndim - 1)) ** 2
        return (std**2 * z + variance * mean) / (std**2 + variance)

    return denoise


def everywhere(sigmas: Tensor) -> Tensor:
    return torch.ones_like(sigmas, dtype=torch.bool)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_m1_the_mean_shift_is_the_kernel_mean_of_the_data(bandwidth: float) -> None:
    data, x = draw(40, 2), draw(15, 2, seed=1)
    kernel = (-((x[:, None] - data) ** 2).sum(-1) / bandwidth**2).exp()
    by_eq_7 = kernel @ data / kernel.sum(1, keepdim=True)
    assert torch.allclose(x + mean_shift(point_denoiser(data), x, bandwidth), by_eq_7, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_m2_the_noised_product_has_the_closed_denoiser(bandwidth: float) -> None:
    data = draw(40, 2)
    for view, x in enumerate(draw(4, 2, seed=1)):
        z, sigma = draw(6, 2, seed=2 + view), torch.tensor([1e-2, 0.1, 0.3, 1.0, 5.0, 50.0], dtype=F64)
        log_kernel = -((x - data) ** 2).sum(-1) / bandwidth**2
        by_bayes = point_denoiser(data, log_kernel)(z, sigma)
        shipped = product_denoiser(point_denoiser(data), x.expand(6, 2), bandwidth)(z, sigma)
        assert torch.allclose(shipped, by_bayes, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_m3_the_mean_shift_is_half_lambda_squared_times_the_smoothed_score(bandwidth: float) -> None:
    data, x = draw(40, 2), draw(15, 2, seed=1).requires_grad_()
    log_density = torch.logsumexp(-(torch.cdist(x, data) ** 2) / bandwidth**2, dim=1)
    (score,) = torch.autograd.grad(log_density.sum(), x)
    shift = mean_shift(point_denoiser(data), x.detach(), bandwidth)
    assert torch.allclose(shift, bandwidth**2 / 2 * score, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_m4_the_product_adds_the_kernels_score_with_its_sign_and_its_two(bandwidth: float) -> None:
    x, z = draw(15, 2), draw(15, 2, seed=1).requires_grad_()
    (by_autograd,) = torch.autograd.grad((-((x - z) ** 2) / bandwidth**2).sum(), z)
    assert torch.allclose(by_autograd, 2 * (x - z.detach()) / bandwidth**2, rtol=1e-12, atol=0)

    sigma, denoise = torch.full((15,), 1e-4 * bandwidth, dtype=F64), gaussian_denoiser(0.3, 1.2)
    of_product = -noise_predictor(product_denoiser(denoise, x, bandwidth))(z.detach(), sigma) / sigma[:, None]
    of_data = -noise_predictor(denoise)(z.detach(), sigma) / sigma[:, None]
    assert torch.allclose((of_product - of_data) * bandwidth**2, by_autograd * bandwidth**2, rtol=0, atol=1e-6)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_m5_the_keep_factors_are_the_kernels_own_flow_for_t_of_sigma_squared(bandwidth: float) -> None:
    x, sigma_max = draw(5, 2), 2.0 * bandwidth
    start = x + sigma_max * draw(5, 2, seed=1)
    sigmas = karras_sigmas(30, sigma_max, 1e-3, 5)
    shipped = sample_by_splitting(
        lambda z, _: torch.zeros_like(z),
        start,
        sigmas,
        centres("mean", x, sigmas),
        keep_factors(sigmas**2, bandwidth),
        everywhere(sigmas),
    )

    def slope(z: Tensor, sigma: float) -> Tensor:  # d z / d sigma = -sigma score, the probability flow of eq. 12
        return -sigma * 2.0 * (x - z) / bandwidth**2

    z, steps = start, 400
    width = -sigma_max / steps
    for step in range(steps):  # Runge-Kutta, fourth order
        sigma = sigma_max + step * width
        first = slope(z, sigma)
        second = slope(z + width / 2 * first, sigma + width / 2)
        third = slope(z + width / 2 * second, sigma + width / 2)
        fourth = slope(z + width * third, sigma + width)
        z = z + width / 6 * (first + 2 * second + 2 * third + fourth)
    assert torch.allclose(shipped, z, rtol=0, atol=1e-8)


def test_m6_a_kernel_without_end_leaves_ddim_from_the_same_noise() -> None:
    data, x = draw(40, 2), draw(15, 2, seed=1)
    sigmas = karras_sigmas(20, 80.0, 1e-2, 15)
    start = 80.0 * draw(15, 2, seed=2)
    predict = noise_predictor(point_denoiser(data))
    plain = sample(predict, start, sigmas)
    keep = keep_factors(sigmas**2, 1e9)
    split = sample_by_splitting(predict, start, sigmas, centres("mean", x, sigmas), keep, everywhere(sigmas))
    assert torch.allclose(split, plain, rtol=0, atol=1e-9)
    assert torch.allclose(sample_product(point_denoiser(data), x, sigmas, 1e9, start), plain, rtol=0, atol=1e-9)


def test_m7_a_kernel_without_width_finds_the_nearest_point() -> None:
    data, x = draw(40, 2), draw(15, 2, seed=1)
    nearest = data[torch.cdist(x, data).argmin(1)]
    assert torch.allclose(x + mean_shift(point_denoiser(data), x, 1e-3), nearest, rtol=0, atol=1e-9)
    sigmas = karras_sigmas(20, 1.0, 1e-3, 15)
    y = sample_product(point_denoiser(data), x, sigmas, 1e-3, x + draw(15, 2, seed=2))
    assert torch.allclose(y, nearest, rtol=0, atol=1e-9)


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0])
def test_m8_the_product_sampler_has_the_gaussian_products_mean_and_spread(bandwidth: float) -> None:
    mean, std, draws = 0.7, 0.6, 60_000
    x = torch.tensor([-0.5, 1.5], dtype=F64)
    sigmas = karras_sigmas(250, 80.0, 1e-3, 1).expand(-1, draws)
    noise = draw(draws // 2, 2)
    denoise, x_of_all = gaussian_denoiser(mean, std), x.expand(draws, 2)
    start = x_of_all + mean_shift(denoise, x_of_all, bandwidth)
    start = start + sigmas[0, :, None] * torch.cat([noise, -noise])  # pairs: the mean of the draws carries no error
    y = sample_product(denoise, x_of_all, sigmas, bandwidth, start)
    squares = bandwidth**2 + 2 * std**2
    assert torch.allclose(y.mean(0), (bandwidth**2 * mean + 2 * std**2 * x) / squares, rtol=0, atol=2e-3)
    expected_std = std * bandwidth / math.sqrt(squares)
    assert torch.allclose(y.std(0), torch.full((2,), expected_std, dtype=F64), rtol=0.02, atol=0)


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0])
def test_m9_the_papers_sampler_is_deterministic_and_weights_the_data_mean_by_an_integral(bandwidth: float) -> None:
    mean, std = 0.7, 0.6
    x = torch.tensor([[-0.5, 1.5], [-0.5, 1.5]], dtype=F64)
    sigmas = karras_sigmas(1500, 80.0, 1e-3, 2)
    y = sample_by_splitting(
        noise_predictor(gaussian_denoiser(mean, std)),
        x + 80.0 * draw(2, 2),
        sigmas,
        centres("mean", x, sigmas),
        keep_factors(sigmas**2, bandwidth),
        everywhere(sigmas),
    )
    assert torch.allclose(y[0], y[1], rtol=0, atol=1e-9)  # two start noises, one answer
    weight = quad(lambda v: 0.5 * std * (std**2 + v) ** -1.5 * math.exp(-v / bandwidth**2), 0.0, math.inf)[0]
    assert torch.allclose(y[0], weight * mean + (1.0 - weight) * x[0], rtol=0, atol=5e-3)


@pytest.mark.parametrize("bandwidth", BANDWIDTHS)
def test_m10_a_mean_shift_never_lowers_the_smoothed_density(bandwidth: float) -> None:
    data, x = draw(40, 2), 2.0 * draw(60, 2, seed=1)
    denoise = point_denoiser(data)
    before = torch.logsumexp(-(torch.cdist(x, data) ** 2) / bandwidth**2, dim=1)
    for _ in range(8):
        x = x + mean_shift(denoise, x, bandwidth)
        after = torch.logsumexp(-(torch.cdist(x, data) ** 2) / bandwidth**2, dim=1)
        assert bool((after >= before - 1e-10).all())
        before = after


def ddim_scheduler():
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(20)
    return scheduler


def test_m11_a_step_is_the_one_that_diffusers_takes_in_its_own_variables() -> None:
    scheduler = ddim_scheduler()
    noisy, noise = draw(2, 4, 8, 8), draw(2, 4, 8, 8, seed=1)
    for timestep in (1, 251, 951):
        earlier = max(timestep - 50, 0)
        theirs = scheduler.step(noise, timestep, noisy).prev_sample
        alpha, alpha_next = scheduler.alphas_cumprod[timestep].sqrt(), scheduler.alphas_cumprod[earlier].sqrt()
        sigma, sigma_next = ((1 - a**2).sqrt() / a for a in (alpha, alpha_next))
        ours = alpha_next * ddim_step(noisy / alpha, noise, sigma.expand(2), sigma_next.expand(2))
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-10)


def test_the_noise_between_two_levels_is_diffusers_ddim_variance() -> None:
    scheduler = ddim_scheduler()
    for earlier, timestep in ((0, 100), (300, 400), (900, 999)):
        alphas = scheduler.alphas_cumprod
        lower, upper = (((1 - alphas[t]) / alphas[t]).sqrt() for t in (earlier, timestep))
        theirs = (scheduler._get_variance(timestep, earlier) / alphas[timestep]).sqrt()
        assert torch.allclose(ddim_noise_std(lower, upper), theirs, rtol=1e-10, atol=0)
    assert float(ddim_noise_std(torch.zeros(1), torch.ones(1))) == 0.0


def test_inversion_and_sampling_undo_each_other_and_the_trajectory_holds_every_level() -> None:
    predict = noise_predictor(gaussian_denoiser(0.2, 0.8))
    clean, sigmas = draw(2, 3, 4, 4), karras_sigmas(600, 5.0, 1e-4, 2)
    trajectory = invert(predict, clean, sigmas.flip(0))
    assert trajectory.shape == (601, 2, 3, 4, 4)
    assert torch.equal(trajectory[0], clean)
    assert torch.allclose(sample(predict, trajectory[-1], sigmas), clean, rtol=0, atol=2e-2)
    # The probability flow of a Gaussian is a stretching about its mean.
    exact = 0.2 + (clean - 0.2) * math.sqrt(0.8**2 + 5.0**2) / 0.8
    assert torch.allclose(trajectory[-1], exact, rtol=2e-2, atol=0)


def test_eta_adds_its_noise_to_every_step_but_the_one_from_a_clean_picture() -> None:
    clean = torch.zeros(1, 20_000, dtype=F64)
    sigmas = torch.tensor([[0.0], [1.0], [2.0]], dtype=F64)
    generator = torch.Generator().manual_seed(0)
    trajectory = invert(lambda z, _: torch.zeros_like(z), clean, sigmas, eta=0.3, generator=generator)
    assert torch.equal(trajectory[1], clean)
    expected = 0.3 * float(ddim_noise_std(sigmas[1], sigmas[2]))
    assert float(trajectory[2].std()) == pytest.approx(expected, rel=0.02)
    with pytest.raises(ValueError, match=r"torch\.Generator"):
        invert(lambda z, _: z, clean, sigmas, eta=0.3)


def test_each_view_follows_its_own_levels() -> None:
    data, x = draw(20, 2), draw(2, 2, seed=1)
    sigmas = torch.cat([karras_sigmas(12, 9.0, 1e-2, 1), karras_sigmas(12, 2.0, 1e-3, 1)], dim=1)
    start = x + sigmas[0][:, None] * draw(2, 2, seed=2)
    predict = noise_predictor(point_denoiser(data))

    def both(views: slice) -> Tensor:
        levels, centre = sigmas[:, views], centres("inversion", x[views], sigmas[:, views], predict=predict)
        keep = keep_factors(levels**2, 0.5)
        split = sample_by_splitting(predict, start[views], levels, centre, keep, (levels < 3.0) & (levels > 0.1))
        return torch.cat([split, sample_product(point_denoiser(data), x[views], levels, 0.5, start[views])], dim=1)

    together = both(slice(0, 2))
    alone = torch.cat([both(slice(0, 1)), both(slice(1, 2))])
    assert torch.allclose(together, alone, rtol=0, atol=1e-12)


def test_outside_the_kernels_interval_the_papers_sampler_is_ddim() -> None:
    data, x = draw(20, 2), draw(3, 2, seed=1)
    sigmas = karras_sigmas(12, 9.0, 1e-2, 3)
    start, predict = 9.0 * draw(3, 2, seed=2), noise_predictor(point_denoiser(data))
    nowhere = ~everywhere(sigmas)
    keep = keep_factors(sigmas**2, 0.1)
    split = sample_by_splitting(predict, start, sigmas, centres("mean", x, sigmas), keep, nowhere)
    assert torch.allclose(split, sample(predict, start, sigmas), rtol=0, atol=1e-12)


def test_float32_agrees_with_float64_to_1e_4() -> None:
    data, x = draw(20, 2), draw(6, 2, seed=1)
    sigmas = karras_sigmas(24, 9.0, 1e-2, 6)
    start = x + 9.0 * draw(6, 2, seed=2)

    def product(dtype: torch.dtype) -> Tensor:
        return sample_product(point_denoiser(data.to(dtype)), x.to(dtype), sigmas.to(dtype), 0.7, start.to(dtype))

    assert product(torch.float32).dtype == torch.float32
    assert torch.allclose(product(torch.float32).double(), product(F64), rtol=1e-4, atol=1e-4)


def test_the_three_centres_are_what_they_are_called() -> None:
    x, noise, sigmas = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1), karras_sigmas(5, 3.0, 0.1, 2)
    predict = noise_predictor(gaussian_denoiser(0.0, 1.0))
    assert torch.equal(centres("mean", x, sigmas), x.expand(6, 2, 3, 4, 4))
    shared = centres("shared_noise", x, sigmas, noise=noise)
    assert torch.allclose(shared[0], x + 3.0 * noise, rtol=0, atol=1e-12)
    assert torch.equal(shared[-1], x)
    inverted = centres("inversion", x, sigmas, predict=predict)
    assert torch.equal(inverted, invert(predict, x, sigmas.flip(0)).flip(0))
    assert torch.equal(inverted[-1], x)
    with pytest.raises(ValueError, match="shared_noise"):
        centres("shared_noise", x, sigmas)


def test_the_bandwidth_falls_in_a_line_or_by_equal_ratios_and_stays_at_its_end() -> None:
    assert bandwidth_at("linear", 0.4, 0.1, 0.5) == pytest.approx(0.25)
    assert bandwidth_at("geometric", 0.4, 0.1, 0.5) == pytest.approx(0.2)
    for kind in ("linear", "geometric"):
        assert bandwidth_at(kind, 0.4, 0.1, 0.0) == pytest.approx(0.4)
        assert bandwidth_at(kind, 0.4, 0.1, 1.7) == pytest.approx(0.1)
