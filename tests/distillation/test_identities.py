"""What must hold between the losses, and between them and densities: identities, on exact predictions, in float64.

The predictions come through the losses' own routes from a prior in closed form, two classes of Gaussian mixtures with
the empty prompt as their union; densities and posteriors are differentiated by autograd. delta_C is conditional -
unconditional throughout, sigma = noise_std / signal_scale, z = x + sigma noise.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from limbeck_server.distillation.asking import Request
from limbeck_server.distillation.distil import DistillationSettings, distil
from limbeck_server.distillation.losses import LOSSES, csd, dds, nfsd, sds, vsd
from limbeck_server.distillation.observations import ROUTES
from limbeck_server.distillation.predictions import classifier_free_guidance
from torch import Tensor

S = 7.5
TIMESTEPS = [20, 150, 199, 200, 420, 700, 980]
LATE = [200, 420, 700, 980]


def exactly(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance)


def sigma_of(p) -> Tensor:
    return p.noise_std / p.signal_scale


def scaled_of(p) -> Tensor:
    return p.latents + sigma_of(p) * p.reference_noise


# --- score distillation is a gradient ---------------------------------------------------------------------------------


@pytest.mark.parametrize("timestep", [20, 200, 600, 980])
@pytest.mark.parametrize("scale", [1.0, S])
def test_s1_the_sds_field_at_fixed_noise_is_curl_free(two_classes, ask, draw, timestep: int, scale: float) -> None:
    """Its Jacobian, by central differences of the shipped gradient, is symmetric."""
    x, noise, step = draw(1, 1, 2, 2), draw(1, 1, 2, 2), 1e-5
    probes = step * torch.eye(4, dtype=torch.float64).view(4, 1, 2, 2)
    around = torch.cat([x + probes, x - probes])
    field = ask(two_classes, "sds", around, [timestep] * 8, noise=noise.expand(8, -1, -1, -1), guidance_scale=scale)
    above, below = field.gradient.flatten(1).chunk(2)
    jacobian = (above - below) / (2 * step)
    exactly(jacobian, jacobian.T, 1e-5)
    assert jacobian.abs().max() > 1e-3, "a field without slope would be curl free too"


@pytest.mark.parametrize(("branch", "text"), [("conditional", "a"), ("unconditional", ""), ("negative", "b")])
def test_s2_a_prediction_is_the_gradient_of_minus_sigma_log_p(two_classes, ask, draw, branch: str, text: str) -> None:
    x = draw(len(TIMESTEPS), 1, 2, 2)
    p = ask(two_classes, "nfsd", x, TIMESTEPS).predictions
    sigma = sigma_of(p)
    free = x.clone().requires_grad_()
    energy = -sigma.flatten() * two_classes.log_density(text, free + sigma * p.reference_noise, sigma.flatten())
    exactly(getattr(p, branch), torch.autograd.grad(energy.sum(), free)[0], 1e-5)


@pytest.mark.parametrize("timestep", TIMESTEPS)
def test_s3_antithetic_noise_gives_the_same_mean_with_and_without_the_subtraction(
    two_classes, ask, draw, timestep: int
) -> None:
    half, x = draw(4, 1, 2, 2), draw(1, 1, 2, 2).expand(8, -1, -1, -1)
    asked = ask(two_classes, "sds", x, [timestep] * 8, noise=torch.cat([half, -half]), guidance_scale=S)
    exactly(asked.gradient.mean(0), asked.predictions.guided(S).mean(0), 1e-10)


# --- guidance ---------------------------------------------------------------------------------------------------------


def posterior(prior, text: str, share: float, z: Tensor, sigma: Tensor) -> Tensor:
    """P(text given z) (views,), where the empty prompt is the whole."""
    flat = sigma.flatten()
    return share * (prior.log_density(text, z, flat) - prior.log_density("", z, flat)).exp()


def test_n1_the_empty_prompt_is_the_posterior_mean_of_the_classes(two_classes, ask, draw) -> None:
    p = ask(two_classes, "nfsd", draw(len(TIMESTEPS), 1, 2, 2), TIMESTEPS).predictions
    of_a = posterior(two_classes, "a", 0.3, scaled_of(p), sigma_of(p)).view(-1, 1, 1, 1)
    of_b = posterior(two_classes, "b", 0.7, scaled_of(p), sigma_of(p)).view(-1, 1, 1, 1)
    exactly(of_a + of_b, torch.ones_like(of_a))
    exactly(p.unconditional, of_a * p.conditional + of_b * p.negative)


def test_n2_csd_descends_the_classes_posterior(two_classes, ask, draw) -> None:
    """delta_C = -sigma grad log p(y given z); CSD of scale 1 is delta_C."""
    asked = ask(two_classes, "csd", draw(len(TIMESTEPS), 1, 2, 2), TIMESTEPS, guidance_scale=1.0)
    sigma = sigma_of(asked.predictions)
    z = scaled_of(asked.predictions).requires_grad_()
    log_posterior = posterior(two_classes, "a", 0.3, z, sigma).log().sum()
    exactly(asked.gradient, -sigma * torch.autograd.grad(log_posterior, z)[0], 1e-4)


@settings(max_examples=50, deadline=None)
@given(w=st.floats(-10, 200), conditional=st.floats(-10, 10), unconditional=st.floats(-10, 10))
def test_n3_both_guidance_conventions_agree_with_s_equal_to_1_plus_w(
    w: float, conditional: float, unconditional: float
) -> None:
    c, u = torch.tensor([conditional, unconditional], dtype=torch.float64)
    exactly(classifier_free_guidance(c, u, 1 + w), (1 + w) * c - w * u)


# --- DDS --------------------------------------------------------------------------------------------------------------


def test_n4_dds_at_one_picture_is_the_difference_of_the_two_prompts(two_classes, ask, draw) -> None:
    """DDS's eq. 9, with w of NFSD: the same picture and noise, so that the empty prompt's answers are one."""
    p = ask(two_classes, "dds", draw(4, 1, 2, 2), LATE).predictions
    exactly(p.unconditional, p.reference_unconditional)
    deltas = (p.conditional - p.unconditional) - (p.reference_conditional - p.reference_unconditional)
    exactly(dds.gradient(p, S), S * deltas)
    assert deltas.abs().max() > 1e-2


def test_n4_between_two_pictures_the_empty_prompts_difference_remains(two_classes, ask, subject_of, draw) -> None:
    subject = subject_of(draw(4, 1, 2, 2), reference=draw(4, 1, 2, 2))
    p = ask(two_classes, "dds", subject, LATE).predictions
    deltas = (p.conditional - p.unconditional) - (p.reference_conditional - p.reference_unconditional)
    remainder = p.unconditional - p.reference_unconditional
    exactly(dds.gradient(p, S) - S * deltas, remainder)
    assert remainder.abs().max() > 1e-2, "two pictures that look alike would show nothing"


def test_dds_of_what_did_not_change_is_zero(two_classes, ask, subject_of, draw) -> None:
    x = draw(4, 1, 2, 2)
    subject = subject_of(x, reference=x, reference_texts=["a"] * 4)
    assert not bool(ask(two_classes, "dds", subject, LATE).gradient.any())


# --- VSD --------------------------------------------------------------------------------------------------------------


def test_n5_vsd_with_the_exact_score_of_one_render_is_sds_draw_by_draw(two_classes, exact_particles, ask, draw) -> None:
    x, noise = draw(1, 1, 2, 2), draw(len(TIMESTEPS), 1, 2, 2)
    views = x.expand(len(TIMESTEPS), -1, -1, -1)
    by_vsd = ask(two_classes, "vsd", views, TIMESTEPS, noise=noise, particle=exact_particles(two_classes, x))
    by_sds = ask(two_classes, "sds", views, TIMESTEPS, noise=noise)
    exactly(by_vsd.gradient, by_sds.gradient)


def test_n5_needs_one_render_alone(two_classes, exact_particles, ask, draw) -> None:
    """A particle model of two renders at once cannot tell whose noise it sees."""
    views, noise = draw(2, 1, 2, 2), draw(2, 1, 2, 2)
    by_vsd = ask(two_classes, "vsd", views, [980, 980], noise=noise, particle=exact_particles(two_classes, views))
    by_sds = ask(two_classes, "sds", views, [980, 980], noise=noise)
    assert (by_vsd.gradient - by_sds.gradient).abs().max() > 1e-3


def test_n6_vsd_whose_particles_are_the_priors_own_pictures_is_guidance_alone(two_classes, ask, draw) -> None:
    p = ask(two_classes, "vsd", draw(4, 1, 2, 2), LATE).predictions
    delta_c = p.conditional - p.unconditional
    exactly(vsd.gradient(replace(p, particle=p.unconditional), S), S * delta_c)
    exactly(vsd.gradient(replace(p, particle=p.conditional), S), (S - 1) * delta_c)
    exactly(vsd.gradient(replace(p, particle=p.conditional), 1.0), torch.zeros_like(delta_c))


# --- SJC --------------------------------------------------------------------------------------------------------------


def test_n7_sds_with_uniform_weight_is_score_jacobian_chaining(two_classes, subject_of, generator, draw) -> None:
    """SJC's variance-reduced form is (x - D(x + sigma noise)) / sigma, D guided; here D is asked for by itself."""
    subject = subject_of(draw(3, 1, 2, 2))
    how = DistillationSettings(
        loss="sds", guidance_scale=S, timestep_min=0.02, timestep_max=((0.0, 0.98),), weighting="uniform"
    )
    state = generator.get_state()
    shipped = distil(two_classes, how, subject, 0.0, generator)
    generator.set_state(state)
    timesteps = torch.randint(20, 981, (3,), generator=generator)
    noise = torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float32).double()
    assert shipped.timesteps.tolist() == timesteps.tolist()
    sigma = two_classes.schedule.sigmas[timesteps].view(-1, 1, 1, 1)
    z = subject.latents + sigma * noise
    conditional, unconditional = two_classes.denoise_at(z, sigma.flatten(), ["a"] * 3 + [""] * 3).chunk(2)
    exactly(shipped.gradient, (subject.latents - unconditional - S * (conditional - unconditional)) / sigma)


# --- NFSD and CSD -----------------------------------------------------------------------------------------------------


def test_n8_nfsd_below_the_threshold_is_sds_plus_the_noise(two_classes, ask, draw) -> None:
    p = ask(two_classes, "nfsd", draw(3, 1, 2, 2), [20, 100, 199]).predictions
    assert p.negative is None
    exactly(nfsd.gradient(p, S) - sds.gradient(p, S), p.reference_noise)


@pytest.mark.parametrize(("std", "noisier"), [(0.05, True), (2.0, False)], ids=["narrow data", "wide data"])
def test_n8_so_it_has_the_mean_of_sds_and_more_noise_where_the_data_is_narrower_than_the_noise(
    mixture_of, ask, draw, std: float, noisier: bool
) -> None:
    """For N(mu, std^2) the noise's share is sigma^2 / (std^2 + sigma^2) in NFSD, 1 minus that in SDS."""
    views, x, timestep = 20_000, draw(1, 1, 2, 2), 150
    prior = mixture_of({text: [(1.0, draw(1, 2, 2), std)] for text in ("a", "")})
    p = ask(prior, "nfsd", x.expand(views, -1, -1, -1), [timestep] * views, guidance_scale=1.0).predictions
    with_noise, without = nfsd.gradient(p, 1.0), sds.gradient(p, 1.0)
    error = (with_noise - without).std(0) / views**0.5
    assert ((with_noise.mean(0) - without.mean(0)).abs() < 4 * error).all()
    share = prior.schedule.sigmas[timestep] ** 2 / (std**2 + prior.schedule.sigmas[timestep] ** 2)
    spread = [gradient.std(0) for gradient in (with_noise, without)]
    assert all(
        torch.allclose(was, expected.expand_as(was), rtol=0.05)
        for was, expected in zip(spread, (share, 1 - share), strict=True)
    )
    assert bool((spread[0] > spread[1]).all()) is noisier


def test_n9_nfsd_above_the_threshold_is_guidance_against_the_negative_direction(two_classes, ask, draw) -> None:
    p = ask(two_classes, "nfsd", draw(4, 1, 2, 2), LATE).predictions
    delta_c, delta_neg = p.conditional - p.unconditional, p.negative - p.unconditional
    exactly(nfsd.gradient(p, S), S * delta_c - delta_neg)
    exactly(nfsd.gradient(replace(p, negative=p.unconditional), S), S * delta_c)
    exactly(nfsd.gradient(replace(p, negative=p.conditional), S), (S - 1) * delta_c)


def test_n10_against_the_other_class_nfsd_is_guidance_of_scale_s_plus_the_odds(two_classes, ask, draw) -> None:
    p = ask(two_classes, "nfsd", draw(4, 1, 2, 2), LATE).predictions
    of_a = posterior(two_classes, "a", 0.3, scaled_of(p), sigma_of(p))
    of_b = posterior(two_classes, "b", 0.7, scaled_of(p), sigma_of(p))
    odds = (of_a / of_b).view(-1, 1, 1, 1)
    exactly(nfsd.gradient(p, S), (S + odds) * (p.conditional - p.unconditional))


def test_csd_is_what_guidance_adds_to_sds(two_classes, ask, draw) -> None:
    p = ask(two_classes, "sds", draw(len(TIMESTEPS), 1, 2, 2), TIMESTEPS).predictions
    exactly(csd.gradient(p, S - 1), sds.gradient(p, S) - sds.gradient(p, 1.0))


def test_csd_against_the_negative_prompt_alone_is_nfsd_without_guidance(two_classes, ask, draw) -> None:
    """The authors' c = 1, u = -v, n = v - 1, from plain guidance at v = 0 to NFSD's later branch at v = 1."""
    p = ask(two_classes, "nfsd", draw(4, 1, 2, 2), LATE).predictions
    for v in (0.0, 0.25, 1.0):
        expected = S * (p.conditional - v * p.negative - (1 - v) * p.unconditional)
        exactly(csd.gradient(p, S, negative_weight=v), expected)
    exactly(csd.gradient(p, 1.0, negative_weight=1.0), nfsd.gradient(p, 1.0))


# --- the losses with routes of their own ------------------------------------------------------------------------------


def test_sdi_is_sds_at_the_noise_that_inversion_found(two_classes, ask, draw) -> None:
    x = draw(3, 1, 2, 2)
    by_sdi = ask(two_classes, "sdi", x, [200, 420, 700])
    by_sds = ask(two_classes, "sds", x, [200, 420, 700], noise=by_sdi.predictions.reference_noise)
    exactly(by_sdi.gradient, by_sds.gradient)


def test_sdi_weighted_by_noise_to_signal_is_the_authors_regression_onto_the_denoised_picture(
    two_classes, subject_of, generator, draw
) -> None:
    """Their target is x0(z_t), so that their gradient is z - x0(z_t)."""
    subject = subject_of(draw(3, 1, 2, 2))
    loss = LOSSES["sdi"]
    request = Request(
        needed=loss.needs,
        timesteps=torch.tensor([200, 420, 700]),
        noise=draw(3, 1, 2, 2),
        guidance_scale=S,
        parameters={p.name: p.default for p in loss.parameters},
        generator=generator,
    )
    p = ROUTES[loss.route](two_classes, subject, request)
    denoised = two_classes.denoise_at(scaled_of(p), sigma_of(p).flatten(), ["a"] * 3 + [""] * 3).chunk(2)
    expected = subject.latents - classifier_free_guidance(*denoised, S)
    exactly(sigma_of(p) * loss.gradient(p, S), expected)


def test_ism_is_the_sds_of_its_own_noise_less_what_the_way_there_already_said(two_classes, ask, draw) -> None:
    """The interval's answer stands where SDS has the noise; the last step adds it, so both are on one line."""
    asked = ask(two_classes, "ism", draw(3, 1, 2, 2), [300, 420, 700])
    p = asked.predictions
    exactly(asked.gradient - sds.gradient(p, S), p.reference_noise - p.interval)
