"""The losses against what they must be: coefficient tables, exact predictors, the identities of the papers."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from limbeck_server.distillation.losses import BRANCHES, LOSSES, csd, nfsd, sds
from limbeck_server.distillation.noising import add_noise, schedule_values
from limbeck_server.distillation.predictions import NoisePredictions, classifier_free_guidance
from limbeck_server.priors.prior import NoiseSchedule
from torch import Tensor

S = 7.5
NAMES = ("conditional", "unconditional", "negative", "reference_noise")


def exactly(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance)


# --- guidance ---------------------------------------------------------------------------------------------------------


def test_guidance_scale_one_is_conditional_and_zero_is_unconditional(predictions_at) -> None:
    p = predictions_at([500])
    exactly(classifier_free_guidance(p.conditional, p.unconditional, 1.0), p.conditional)
    exactly(classifier_free_guidance(p.conditional, p.unconditional, 0.0), p.unconditional)


@settings(max_examples=50, deadline=None)
@given(w=st.floats(-10, 200), conditional=st.floats(-10, 10), unconditional=st.floats(-10, 10))
def test_both_guidance_conventions_agree_with_s_equal_to_1_plus_w(
    w: float, conditional: float, unconditional: float
) -> None:
    """Score-algebra N3."""
    c, u = torch.tensor([conditional, unconditional], dtype=torch.float64)
    exactly(classifier_free_guidance(c, u, 1 + w), (1 + w) * c - w * u)


# --- coefficients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "timestep", "coefficients"),
    [
        ("sds", 100, {"conditional": S, "unconditional": 1 - S, "negative": 0.0, "reference_noise": -1.0}),
        ("sds", 700, {"conditional": S, "unconditional": 1 - S, "negative": 0.0, "reference_noise": -1.0}),
        ("nfsd", 199, {"conditional": S, "unconditional": 1 - S, "negative": 0.0, "reference_noise": 0.0}),
        ("nfsd", 200, {"conditional": S, "unconditional": 1 - S, "negative": -1.0, "reference_noise": 0.0}),
        ("nfsd", 980, {"conditional": S, "unconditional": 1 - S, "negative": -1.0, "reference_noise": 0.0}),
        ("csd", 100, {"conditional": S, "unconditional": -S, "negative": 0.0, "reference_noise": 0.0}),
        ("csd", 980, {"conditional": S, "unconditional": -S, "negative": 0.0, "reference_noise": 0.0}),
    ],
)
def test_unit_vectors_read_off_the_coefficients(
    predictions_at, loss: str, timestep: int, coefficients: dict[str, float]
) -> None:
    ones = torch.ones(1, 4, 3, 3, dtype=torch.float64)
    for probed, expected in coefficients.items():
        unit = {name: ones * (name == probed) for name in NAMES}
        exactly(LOSSES[loss].gradient(predictions_at([timestep], **unit), S), ones * expected)


def test_every_loss_is_linear_in_its_predictions(predictions_at) -> None:
    timesteps = [50, 500]
    one, two = predictions_at(timesteps), predictions_at(timesteps)
    both = predictions_at(timesteps, **{name: 2 * getattr(one, name) - getattr(two, name) for name in NAMES})
    for loss in LOSSES.values():
        expected = 2 * loss.gradient(one, S) - loss.gradient(two, S)
        exactly(loss.gradient(both, S), expected)


def test_a_mixed_batch_takes_each_views_own_branch(predictions_at) -> None:
    p = predictions_at([20, 199, 200, 980])
    together = nfsd.gradient(p, S)
    for view in range(4):
        alone = NoisePredictions(
            **{
                name: None if value is None else value[view : view + 1]
                for name, value in ((f, getattr(p, f)) for f in p.__dataclass_fields__)
            }
        )
        exactly(together[view : view + 1], nfsd.gradient(alone, S))


def test_a_view_below_the_threshold_is_blind_to_its_negative_prediction(predictions_at) -> None:
    nan = torch.full((2, 4, 3, 3), float("nan"), dtype=torch.float64)
    p = predictions_at([20, 199])
    poisoned = NoisePredictions(**{**vars(p), "negative": nan})
    exactly(nfsd.gradient(poisoned, S), nfsd.gradient(NoisePredictions(**{**vars(p), "negative": None}), S))


# --- what a loss asks for ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "timesteps", "parameters", "count"),
    [
        ("sds", [20, 980], {}, 2),
        ("nfsd", [199], {}, 2),
        ("nfsd", [20, 150, 199], {"threshold": 200.0}, 2),
        ("nfsd", [200], {}, 3),
        ("nfsd", [20, 980], {}, 3),
        ("nfsd", [0, 999], {"threshold": 1000.0}, 2),
        ("nfsd", [0], {"threshold": 0.0}, 3),
        ("csd", [20, 980], {}, 2),
        ("csd", [20, 980], {"negative_weight": 0.25}, 3),
    ],
)
def test_a_loss_asks_for_no_more_than_it_reads(
    predictions_at, loss: str, timesteps: list[int], parameters: dict[str, float], count: int
) -> None:
    needed = LOSSES[loss].branches(timesteps, parameters)
    assert len(needed) == count
    assert needed <= LOSSES[loss].needs
    missing = {name: None for name in BRANCHES - needed}
    assert LOSSES[loss].gradient(predictions_at(timesteps, **missing), S, **parameters).isfinite().all()


def test_nfsd_without_the_negative_prediction_says_where_it_was_needed(predictions_at) -> None:
    with pytest.raises(ValueError, match=r"negative prediction at timesteps from 200 on.*\[100, 300\]"):
        nfsd.gradient(predictions_at([100, 300], negative=None), S)


def test_csd_without_the_negative_prediction_says_what_asked_for_it(predictions_at) -> None:
    with pytest.raises(ValueError, match=r"negative weight of 0\.5 needs the negative prediction"):
        csd.gradient(predictions_at([100], negative=None), S, negative_weight=0.5)


# --- exact predictors -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    timestep=st.integers(0, 999),
    guidance_scale=st.floats(0, 100),
    seed=st.integers(0, 2**31),
    x=st.floats(-3, 3),
    target=st.floats(-3, 3),
)
def test_point_mass_data_gives_a_over_s_times_the_way_to_the_target_for_every_noise(
    timestep: int, guidance_scale: float, seed: int, x: float, target: float
) -> None:
    """The ideal predictor of one picture is (z - a target) / s, so that the SDS gradient is a/s (x - target)."""
    t = torch.tensor([timestep])
    a, s = schedule_values(NoiseSchedule.stable_diffusion(), t, torch.device("cpu"), torch.float64)
    noise = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    latents = torch.full_like(noise, x)
    answer = (add_noise(latents, noise, a, s) - a * target) / s
    p = NoisePredictions(answer, answer, None, None, noise, t, a, s)
    exactly(sds.gradient(p, guidance_scale), a / s * (latents - target))


@pytest.mark.parametrize("timestep", [50, 300, 700])
def test_point_mass_data_in_single_precision(timestep: int, generator: torch.Generator) -> None:
    t = torch.tensor([timestep])
    a, s = schedule_values(NoiseSchedule.stable_diffusion(), t, torch.device("cpu"), torch.float32)
    noise, latents, target = torch.randn(3, 1, 4, 3, 3, generator=generator)
    answer = (add_noise(latents, noise, a, s) - a * target) / s
    gradient = sds.gradient(NoisePredictions(answer, answer, None, None, noise, t, a, s), 1.0)
    expected = a / s * (latents - target)
    # Rounding of z, of size 1e-7, is divided by s: what is exact is the difference in units of 1/s.
    exactly(gradient * s, expected * s, 1e-6)


@pytest.mark.parametrize("timestep", [20, 200, 500, 980])
def test_gaussian_data_gives_the_closed_form_in_the_mean(
    timestep: int, schedule: NoiseSchedule, generator: torch.Generator
) -> None:
    """N(mu, tau^2): predictor s (z - a mu) / (a^2 tau^2 + s^2); mean gradient s a (x - mu) / (a^2 tau^2 + s^2)."""
    mu, tau, x, views = 0.3, 0.5, 1.1, 40_000
    t = torch.full((views,), timestep)
    a, s = schedule_values(schedule, t, torch.device("cpu"), torch.float64)
    noise = torch.randn(views, 1, 1, 1, generator=generator, dtype=torch.float64)
    variance = a**2 * tau**2 + s**2
    answer = s * (add_noise(torch.full_like(noise, x), noise, a, s) - a * mu) / variance
    gradient = sds.gradient(NoisePredictions(answer, answer, None, None, noise, t, a, s), S)
    expected = (s * a * (x - mu) / variance)[0].item()
    standard_error = (gradient.std() / views**0.5).item()
    assert abs(gradient.mean().item() - expected) < 4 * standard_error
    assert abs(expected) > 4 * standard_error, "the test could not tell the slope from zero"


# --- identities -------------------------------------------------------------------------------------------------------


def test_antithetic_noise_gives_the_same_mean_with_and_without_the_subtraction(
    schedule: NoiseSchedule, generator: torch.Generator
) -> None:
    """Score-algebra S3: over the pairs +-eps the subtracted noise cancels, whatever the predictor."""
    t = torch.full((8,), 400)
    a, s = schedule_values(schedule, t, torch.device("cpu"), torch.float64)
    half = torch.randn(4, 4, 3, 3, generator=generator, dtype=torch.float64)
    noise, latents = torch.cat([half, -half]), torch.randn(1, 4, 3, 3, generator=generator, dtype=torch.float64)
    z = add_noise(latents, noise, a, s)
    conditional, unconditional = torch.tanh(z), torch.sin(z)
    subtracted = sds.gradient(NoisePredictions(conditional, unconditional, None, None, noise, t, a, s), S)
    exactly(subtracted.mean(0), classifier_free_guidance(conditional, unconditional, S).mean(0), 1e-10)


def test_csd_is_what_guidance_adds_to_sds(predictions_at) -> None:
    p = predictions_at([20, 500, 980])
    exactly(csd.gradient(p, S - 1), sds.gradient(p, S) - sds.gradient(p, 1.0))


def test_csd_moves_its_baseline_from_the_empty_to_the_negative_prompt(predictions_at) -> None:
    """The authors' c = 1, u = -v, n = v - 1; with the negative prompt alone it is NFSD's branch with s = 1."""
    p = predictions_at([500])
    for v in (0.0, 0.25, 1.0):
        expected = S * (p.conditional - v * p.negative - (1 - v) * p.unconditional)
        exactly(csd.gradient(p, S, negative_weight=v), expected)
    exactly(csd.gradient(p, 1.0, negative_weight=1.0), nfsd.gradient(p, 1.0))


def test_csd_between_two_gaussians_of_equal_width_is_a_constant_without_noise(
    schedule: NoiseSchedule, generator: torch.Generator
) -> None:
    """Their predictors differ by s a (mu_0 - mu_c) / (a^2 tau^2 + s^2), wherever and with whatever noise."""
    t = torch.tensor([50, 300, 700, 950])
    a, s = schedule_values(schedule, t, torch.device("cpu"), torch.float64)
    noise, latents = torch.randn(2, 4, 4, 3, 3, generator=generator, dtype=torch.float64)
    z, mean_c, mean_0, tau = add_noise(latents, noise, a, s), 0.7, -0.4, 0.3
    variance = a**2 * tau**2 + s**2
    conditional, unconditional = (s * (z - a * mean) / variance for mean in (mean_c, mean_0))
    gradient = csd.gradient(NoisePredictions(conditional, unconditional, None, None, noise, t, a, s), 1.0)
    exactly(gradient, (s * a * (mean_0 - mean_c) / variance).expand_as(gradient))


def test_nfsd_below_the_threshold_is_sds_plus_the_noise(predictions_at) -> None:
    """Score-algebra N8."""
    p = predictions_at([20, 100, 199])
    exactly(nfsd.gradient(p, S) - sds.gradient(p, S), p.reference_noise)


def test_nfsd_above_the_threshold_is_guidance_against_the_negative_direction(predictions_at) -> None:
    """Score-algebra N9, with delta_C = conditional - unconditional and delta_neg = negative - unconditional."""
    p = predictions_at([200, 500, 980])
    delta_c = p.conditional - p.unconditional
    exactly(nfsd.gradient(p, S), S * delta_c - (p.negative - p.unconditional))
    empty = NoisePredictions(**{**vars(p), "negative": p.unconditional})
    exactly(nfsd.gradient(empty, S), S * delta_c)
    prompt = NoisePredictions(**{**vars(p), "negative": p.conditional})
    exactly(nfsd.gradient(prompt, S), (S - 1) * delta_c)


def test_nfsd_between_two_classes_is_guidance_of_scale_s_plus_the_odds(
    schedule: NoiseSchedule, generator: torch.Generator
) -> None:
    """Score-algebra N10, with the exact predictors of two Gaussians and of their mixture, posteriors at z."""
    t = torch.tensor([250, 400, 600, 900])
    a, s = schedule_values(schedule, t, torch.device("cpu"), torch.float64)
    weights, means, tau = (0.3, 0.7), (-0.6, 0.8), 0.4
    z = torch.randn(4, 1, 1, 1, generator=generator, dtype=torch.float64)
    variance = a**2 * tau**2 + s**2
    answers = [s * (z - a * mean) / variance for mean in means]
    densities = [w * torch.exp(-((z - a * m) ** 2) / (2 * variance)) for w, m in zip(weights, means, strict=True)]
    posterior = densities[0] / (densities[0] + densities[1])
    whole = posterior * answers[0] + (1 - posterior) * answers[1]

    # The mixture's predictor is what the density says: -s d log p / dz.
    z_free = z.clone().requires_grad_()
    log_density = torch.log(
        sum(w * torch.exp(-((z_free - a * m) ** 2) / (2 * variance)) for w, m in zip(weights, means, strict=True))
    )
    exactly(-s * torch.autograd.grad(log_density.sum(), z_free)[0], whole)

    p = NoisePredictions(answers[0], whole, answers[1], None, torch.zeros_like(z), t, a, s)
    odds = posterior / (1 - posterior)
    exactly(nfsd.gradient(p, S), (S + odds) * (answers[0] - whole))


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_table_tells_the_truth_about_every_loss(name: str) -> None:
    loss = LOSSES[name]
    assert loss.name == name
    assert loss.title
    assert "arXiv:" in loss.paper
    assert loss.needs <= BRANCHES
    signature = inspect.signature(loss.gradient).parameters
    assert [p.name for p in loss.parameters] == list(signature)[2:]
    for parameter in loss.parameters:
        assert parameter.minimum <= parameter.default <= parameter.maximum
        assert signature[parameter.name].default == parameter.default
        assert parameter.description


@pytest.mark.parametrize("module", ["losses", "weighting", "schedules", "predictions"])
def test_importing_what_the_server_lists_leaves_torch_out(module: str) -> None:
    code = f"import sys, limbeck_server.distillation.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_gradients_carry_no_graph_of_their_own(predictions_at: Callable[..., NoisePredictions]) -> None:
    p = predictions_at([100, 500])
    assert not any(loss.gradient(p, S).requires_grad for loss in LOSSES.values())
