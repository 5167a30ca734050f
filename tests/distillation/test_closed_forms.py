"""The losses on data whose gradients can be written down: point masses and Gaussians, by way of each loss's own route.

Every text is one Gaussian N(mu, tau^2) per axis, tau = 0 a point mass. Its noise at z = x + sigma n is g (z - mu) with
g = sigma / (tau^2 + sigma^2). Where all widths agree, guidance of scale s is one Gaussian more, around
mu_0 + s (mu_c - mu_0), so that every loss is linear in x and n, and its gradient a line of arithmetic: draw by draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from limbeck_server.distillation.losses import LOSSES
from scipy.integrate import quad
from torch import Tensor

S = 7.5
TIMESTEPS = [50, 300, 700, 950]
TEXTS = {"conditional": "a", "unconditional": "", "negative": "b", "reference": "c"}


@pytest.fixture(params=[0.0, 0.4], ids=["point masses", "Gaussians"])
def tau(request: pytest.FixtureRequest) -> float:
    return request.param


@pytest.fixture
def mu(draw) -> dict[str, Tensor]:
    """A mean for each branch."""
    return {branch: draw(1, 2, 2) for branch in TEXTS}


@pytest.fixture
def prior(mixture_of, mu: dict[str, Tensor], tau: float):
    return mixture_of({text: [(1.0, mu[branch], tau)] for branch, text in TEXTS.items()})


@pytest.fixture
def asked(prior, ask, subject_of, draw) -> Callable[..., object]:
    """Return a function: loss, what differs from the usual -> latents, reference latents, and what was asked."""

    def through(loss: str, timesteps: Sequence[int] = TIMESTEPS, **given: object):
        x, reference = draw(len(timesteps), 1, 2, 2), draw(len(timesteps), 1, 2, 2)
        subject = subject_of(x, reference=reference, reference_texts=["c"] * len(timesteps))
        return x, reference, ask(prior, loss, subject, timesteps, **({"guidance_scale": S} | given))

    return through


def exactly(actual: Tensor, expected: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance)


def guided(mu: dict[str, Tensor], scale: float = S, branch: str = "conditional") -> Tensor:
    return mu["unconditional"] + scale * (mu[branch] - mu["unconditional"])


def at(p, tau: float) -> tuple[Tensor, Tensor]:
    """Return g and n of predictions."""
    sigma = p.noise_std / p.signal_scale
    return sigma / (tau**2 + sigma**2), p.reference_noise


# --- noise at random --------------------------------------------------------------------------------------------------


def test_sds_and_vsd_of_one_render(asked, mu, tau) -> None:
    """g (x - mu) less tau^2 / (tau^2 + sigma^2) of the noise: for a point mass, (x - mu) / sigma whatever the draw."""
    for loss, timesteps in [("sds", TIMESTEPS), *(("vsd", [timestep]) for timestep in TIMESTEPS)]:
        x, _, it = asked(loss, timesteps)
        g, n = at(it.predictions, tau)
        sigma = it.predictions.noise_std / it.predictions.signal_scale
        exactly(it.gradient, g * (x - guided(mu)) - tau**2 / (tau**2 + sigma**2) * n)


def test_vsd_whose_particle_model_has_not_learnt_yet_compares_with_the_plain_prompt(
    prior, exact_particles, ask, subject_of, draw, mu, tau
) -> None:
    x = draw(4, 1, 2, 2)
    subject = subject_of(x, plain_texts=["c"] * 4)
    it = ask(prior, "vsd", subject, TIMESTEPS, guidance_scale=S, particle=exact_particles(prior))
    g, _ = at(it.predictions, tau)
    exactly(it.gradient, g * (mu["reference"] - guided(mu)).expand_as(x))


def test_nfsd_in_both_branches(asked, mu, tau) -> None:
    x, _, it = asked("nfsd")
    g, n = at(it.predictions, tau)
    sigma = it.predictions.noise_std / it.predictions.signal_scale
    late = mu["negative"] - mu["unconditional"] - S * (mu["conditional"] - mu["unconditional"])
    exactly(it.gradient[1:], (g * late)[1:])
    exactly(it.gradient[:1], (g * (x - guided(mu)) + g * sigma * n)[:1])


@pytest.mark.parametrize("v", [0.0, 0.25, 1.0])
def test_csd_has_neither_picture_nor_noise(asked, mu, tau, v: float) -> None:
    x, _, it = asked("csd", parameters={"negative_weight": v})
    g, _ = at(it.predictions, tau)
    baseline = (1 - v) * mu["unconditional"] + v * mu["negative"]
    exactly(it.gradient, (S * g * (baseline - mu["conditional"])).expand_as(x))


def test_dds_has_no_noise(asked, mu, tau) -> None:
    x, reference, it = asked("dds")
    g, _ = at(it.predictions, tau)
    exactly(it.gradient, g * (x - reference - guided(mu) + guided(mu, branch="reference")))


# --- along a trajectory -----------------------------------------------------------------------------------------------


def euler_growth(sigmas: Tensor, tau: float) -> float:
    """What DDIM does to z - mu of one Gaussian, from the first level to the last; the first stands for sigma = 0."""
    growth, level = 1.0, 0.0
    for asked_at, upper in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        growth *= 1 + (upper - level) * asked_at / (tau**2 + asked_at**2)
        level = upper
    return growth


def levels(prior, timestep: int, steps: int) -> Tensor:
    return prior.schedule.sigmas[torch.linspace(0, timestep, steps + 1, dtype=torch.float64).round().long()]


@pytest.mark.parametrize(("inversion_scale", "inversion_steps"), [(-6.5, 10), (1.0, 10), (0.0, 4), (3.0, 100)])
def test_sdi_without_added_noise(asked, prior, mu, tau, inversion_scale: float, inversion_steps: int) -> None:
    parameters = {
        "inversion_guidance": inversion_scale,
        "inversion_steps": float(inversion_steps),
        "inversion_eta": 0.0,
    }
    x, _, it = asked("sdi", parameters=parameters)
    g, n = at(it.predictions, tau)
    for view, timestep in enumerate(TIMESTEPS):
        sigmas = levels(prior, timestep, math.ceil(timestep * inversion_steps / 1000))
        inverted_to = guided(mu, inversion_scale)
        z = inverted_to + euler_growth(sigmas, tau) * (x[view] - inverted_to)
        scale = 1 + (x[view] - z).abs().max()  # Point masses throw far: sigma_1 / sigma_0 times the way to them.
        exactly(n[view] / scale, (z - x[view]) / sigmas[-1] / scale)
        exactly(it.gradient[view] / scale, (g[view] * (z - guided(mu)) - (z - x[view]) / sigmas[-1]) / scale)


def test_sdi_of_a_point_mass_is_the_way_to_it_whatever_was_inverted_and_added(mixture_of, ask, draw, mu) -> None:
    prior = mixture_of({text: [(1.0, mu[branch], 0.0)] for branch, text in TEXTS.items()})
    x = draw(4, 1, 2, 2)
    it = ask(prior, "sdi", x, TIMESTEPS, guidance_scale=S, parameters={"inversion_eta": 1.0})
    exactly(it.gradient, (x - guided(mu)) * it.predictions.signal_scale / it.predictions.noise_std)


def test_sdi_with_added_noise_has_the_same_mean(mixture_of, ask, draw, mu) -> None:
    prior = mixture_of({text: [(1.0, mu[branch], 0.4)] for branch, text in TEXTS.items()})
    x, views = draw(1, 1, 2, 2), 4000
    quiet = ask(prior, "sdi", x, [500], parameters={"inversion_eta": 0.0})
    noisy = ask(prior, "sdi", x.expand(views, -1, -1, -1), [500] * views, parameters={"inversion_eta": 0.3})
    error = noisy.gradient.std(0) / views**0.5
    assert (error > 1e-4).all()
    assert ((noisy.gradient.mean(0) - quiet.gradient[0]).abs() < 4 * error).all()


def test_inversion_in_many_steps_follows_the_gaussians_own_flow(mixture_of, ask, draw, mu) -> None:
    """(z_t - mu) / (x - mu) = sqrt(1 + sigma^2 / tau^2), to the first order of the step."""
    tau, x = 0.4, draw(1, 1, 2, 2)
    prior = mixture_of({text: [(1.0, mu["conditional"], tau)] for text in ("a", "")})
    errors = []
    for steps in (50.0, 100.0, 200.0):
        parameters = {"inversion_steps": steps, "inversion_eta": 0.0, "inversion_guidance": 1.0}
        p = ask(prior, "sdi", x, [700], parameters=parameters).predictions
        sigma = p.noise_std / p.signal_scale
        flow = mu["conditional"] + (x - mu["conditional"]) * (1 + sigma**2 / tau**2).sqrt()
        errors.append(float((x + sigma * p.reference_noise - flow).abs().max() / (flow - x).abs().max()))
    assert errors[2] < 0.02
    assert errors[2] < 0.6 * errors[1] < 0.36 * errors[0]


@pytest.mark.parametrize("interval", [50, 100, 400])
def test_ism(asked, prior, mu, tau, interval: int) -> None:
    parameters = {"interval": float(interval), "interval_start": float(interval)}
    x, _, it = asked("ism", parameters=parameters)
    for view, timestep in enumerate(TIMESTEPS):
        earlier = max(timestep - interval, 0)
        sigmas = levels(prior, earlier, math.ceil(earlier / 200))
        reached = 0.0 if earlier == 0 else float(sigmas[-1])
        z = mu["unconditional"] + euler_growth(sigmas, tau) * (x[view] - mu["unconditional"])
        seen = sigmas[-1] / (tau**2 + sigmas[-1] ** 2) * (z - mu["unconditional"])
        sigma = prior.schedule.sigmas[timestep]
        z = z + (sigma - reached) * seen
        scale = 1 + seen.abs().max()
        exactly(it.predictions.interval[view] / scale, seen / scale)
        exactly(it.gradient[view] / scale, (sigma / (tau**2 + sigma**2) * (z - guided(mu)) - seen) / scale)


def test_ism_of_a_point_mass_is_guidance_alone_since_both_answers_agree_on_the_empty_prompt(
    mixture_of, ask, draw, mu
) -> None:
    prior = mixture_of({text: [(1.0, mu[branch], 0.0)] for branch, text in TEXTS.items()})
    it = ask(prior, "ism", draw(3, 1, 2, 2), TIMESTEPS[1:], guidance_scale=S)
    sigma = it.predictions.noise_std / it.predictions.signal_scale
    expected = S * (mu["unconditional"] - mu["conditional"]) / sigma
    exactly(it.gradient, expected.expand_as(it.gradient))


# --- mean-shift distillation ------------------------------------------------------------------------------------------


def product(mu: Tensor, tau: float, x: Tensor, bandwidth: float) -> tuple[Tensor, float]:
    """Mean and variance of N(mu, tau^2) times the kernel around x (score-algebra M8)."""
    weight = bandwidth**2 + 2 * tau**2
    return (bandwidth**2 * mu + 2 * tau**2 * x) / weight, tau**2 * bandwidth**2 / weight


def msd(sampler: str, bandwidth: float, steps: int, **others: float | str) -> dict[str, float | str]:
    return {
        "sampler": sampler,
        "bandwidth": bandwidth,
        "bandwidth_min": bandwidth,
        "sampling_steps": float(steps),
    } | others


@pytest.mark.parametrize("sampler", ["product", "splitting"])
def test_msd_of_a_point_mass_is_the_way_to_it(mixture_of, ask, draw, mu, sampler: str) -> None:
    """Whichever way y is drawn (the paper's kernel is off below its interval, so that the last step is the prior's)."""
    prior = mixture_of({text: [(1.0, mu[branch], 0.0)] for branch, text in TEXTS.items()})
    x = draw(4, 1, 2, 2)
    it = ask(prior, "msd", x, TIMESTEPS, guidance_scale=S, parameters=msd(sampler, 10.0, 20))
    exactly(it.gradient, x - guided(mu))


@pytest.mark.parametrize("centre", ["shared_noise", "inversion", "mean"])
@pytest.mark.parametrize(("kernel_time", "bandwidth"), [("timestep", 6.0), ("variance", 0.3)])
def test_msd_by_splitting_ends_with_the_last_steps_pull(
    mixture_of, ask, draw, mu, centre: str, kernel_time: str, bandwidth: float
) -> None:
    """With a kernel down to clean pictures and a point mass: y = x + exp(-dt / lambda^2) (mu - x) of the last step."""
    prior = mixture_of({text: [(1.0, mu[branch], 0.0)] for branch, text in TEXTS.items()})
    x = draw(1, 1, 2, 2)
    how = msd("splitting", bandwidth, 20, centre=centre, kernel_time=kernel_time, kernel_low=0.0, kernel_high=1.0)
    it = ask(prior, "msd", x, [900], guidance_scale=S, parameters=how)
    last = 45.0 if kernel_time == "timestep" else float(prior.schedule.sigmas[45] ** 2)
    exactly(it.gradient, math.exp(-last / bandwidth**2) * (x - guided(mu)))


@pytest.mark.parametrize("bandwidth", [0.3, 1.0])
def test_msd_by_splitting_is_the_same_for_every_draw_and_weights_the_data_by_an_integral(
    mixture_of, ask, draw, mu, bandwidth: float
) -> None:
    """Score-algebra M9, on the whole route and with guidance; the schedule's own thousand steps are its finest."""
    tau, x = 0.4, draw(1, 1, 2, 2)
    prior = mixture_of({text: [(1.0, mu[branch], tau)] for branch, text in TEXTS.items()})
    how = msd("splitting", bandwidth, 999, centre="mean", kernel_time="variance", kernel_low=0.0, kernel_high=1.0)
    it = ask(prior, "msd", x.expand(2, -1, -1, -1), [999] * 2, guidance_scale=2.0, parameters=how)
    weight, _ = quad(lambda v: 0.5 * tau * (tau**2 + v) ** -1.5 * math.exp(-v / bandwidth**2), 0, math.inf)
    exactly(it.gradient[0], it.gradient[1])
    assert torch.allclose(it.gradient, weight * (x - guided(mu, 2.0)), rtol=0.03)


@pytest.mark.parametrize(("bandwidth", "scale"), [(0.3, 2.0), (1.0, 1.0)])
def test_msd_by_the_product_has_the_exact_mean_shift_and_spread(
    mixture_of, ask, draw, mu, bandwidth: float, scale: float
) -> None:
    """Score-algebra M8 on the whole route; the chain begins at x instead of E[y], which is known to shift the mean."""
    tau, views, x = 0.4, 8, draw(1, 1, 2, 2)
    prior = mixture_of({text: [(1.0, mu[branch], tau)] for branch, text in TEXTS.items()})
    half = draw(views // 2, 1, 2, 2)
    it = ask(
        prior,
        "msd",
        x.expand(views, -1, -1, -1),
        [999] * views,
        noise=torch.cat([half, -half]),
        guidance_scale=scale,
        parameters=msd("product", bandwidth, 999),
    )
    mean, variance = product(guided(mu, scale), tau, x, bandwidth)
    begun_at_x = (variance / (variance + float(prior.schedule.sigmas[999]) ** 2)) ** 0.5
    # Antithetic noise: the mean over the draws is the mean.
    exactly(it.gradient.mean(0), (1 - begun_at_x) * (x - mean)[0], 5e-3)
    # z - y is linear in the noise here, with the spread as its slope: the finest steps leave 3 % of it.
    slope = (it.gradient[: views // 2] - it.gradient.mean(0)) / -half
    exactly(slope, slope[0, 0, 0, 0].expand_as(slope))
    assert float(slope[0, 0, 0, 0]) == pytest.approx(variance**0.5, rel=0.035)


# --- means over the noise, widths apart -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "timestep"), [("sds", 50), ("sds", 500), ("nfsd", 100), ("nfsd", 500), ("csd", 500), ("vsd", 500)]
)
def test_gaussians_of_different_widths_have_the_closed_form_in_the_mean(
    mixture_of, exact_particles, ask, draw, mu, loss: str, timestep: int
) -> None:
    """The mean of a prediction is g_k (x - mu_k), each with its own g."""
    widths = {"conditional": 0.3, "unconditional": 0.9, "negative": 0.6, "reference": 0.5}
    prior = mixture_of({text: [(1.0, mu[branch], widths[branch])] for branch, text in TEXTS.items()})
    x, views = draw(1, 1, 2, 2), 20_000
    particle = exact_particles(prior, x)
    it = ask(prior, loss, x.expand(views, -1, -1, -1), [timestep] * views, particle=particle)
    sigma = prior.schedule.sigmas[timestep]
    mean = {k: sigma / (widths[k] ** 2 + sigma**2) * (x - mu[k]) for k in TEXTS}
    delta_c = mean["conditional"] - mean["unconditional"]
    domain = mean["unconditional"] - (mean["negative"] if timestep >= 200 else 0.0)
    expected = {
        "sds": mean["unconditional"] + S * delta_c,
        "vsd": mean["unconditional"] + S * delta_c,
        "nfsd": domain + S * delta_c,
        "csd": S * delta_c,
    }[loss]
    error = it.gradient.std(0) / views**0.5
    assert ((it.gradient.mean(0) - expected[0]).abs() < 4 * error).all()
    assert (expected[0].abs() > 4 * error).any(), "the test could not tell the answer from zero"


def test_single_precision_agrees_to_1e_4(mixture_of, ask, subject_of, draw, mu) -> None:
    prior = mixture_of({text: [(1.0, mu[branch], 0.4)] for branch, text in TEXTS.items()})
    x, reference, noise = draw(4, 1, 2, 2), draw(4, 1, 2, 2), draw(4, 1, 2, 2)
    for loss in LOSSES:
        parameters = {"sampler": "product", "bandwidth": 1.0, "bandwidth_min": 1.0} if loss == "msd" else {}
        parameters |= {"inversion_eta": 0.0} if loss == "sdi" else {}
        answers = [
            ask(
                prior,
                loss,
                subject_of(x.to(kind), reference=reference.to(kind)),
                TIMESTEPS,
                noise=noise.to(kind),
                parameters=parameters,
            ).gradient.double()
            for kind in (torch.float64, torch.float32)
        ]
        assert (answers[0] - answers[1]).abs().max() < 1e-4 * answers[0].abs().max(), loss
