"""The losses against what they must be: coefficients in their predictions, what they ask for, what the table says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from limbeck_server.distillation.losses import BRANCHES, LOSSES, csd, nfsd
from limbeck_server.distillation.losses import ROUTES as LOSS_ROUTES
from limbeck_server.distillation.observations import ROUTES
from limbeck_server.distillation.predictions import NoisePredictions, classifier_free_guidance
from torch import Tensor

S = 7.5
PLACES = ("timestep", "signal_scale", "noise_std")
NAMES = tuple(field.name for field in fields(NoisePredictions) if field.name not in PLACES)


def exactly(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0.0, atol=tolerance)


# --- guidance ---------------------------------------------------------------------------------------------------------


def test_guidance_scale_one_is_conditional_and_zero_is_unconditional(predictions_at) -> None:
    p = predictions_at([500])
    exactly(classifier_free_guidance(p.conditional, p.unconditional, 1.0), p.conditional)
    exactly(classifier_free_guidance(p.conditional, p.unconditional, 0.0), p.unconditional)


# --- coefficients -----------------------------------------------------------------------------------------------------

V = 0.25
FIELDS_OF = {"reference": ("reference_conditional", "reference_unconditional")}
"""Branches that are answered in other fields than the one of their name."""
COEFFICIENTS: list[tuple[str, int, dict[str, float], dict[str, float]]] = [
    # loss, timestep, its parameters, coefficient of every prediction that has one
    ("sds", 100, {}, {"conditional": S, "unconditional": 1 - S, "reference_noise": -1.0}),
    ("sds", 700, {}, {"conditional": S, "unconditional": 1 - S, "reference_noise": -1.0}),
    ("nfsd", 199, {}, {"conditional": S, "unconditional": 1 - S}),
    ("nfsd", 200, {}, {"conditional": S, "unconditional": 1 - S, "negative": -1.0}),
    ("nfsd", 980, {}, {"conditional": S, "unconditional": 1 - S, "negative": -1.0}),
    ("nfsd", 300, {"threshold": 301.0}, {"conditional": S, "unconditional": 1 - S}),
    ("csd", 100, {}, {"conditional": S, "unconditional": -S}),
    ("csd", 980, {}, {"conditional": S, "unconditional": -S}),
    (
        "csd",
        500,
        {"negative_weight": V},
        {"conditional": S, "unconditional": -S * (1 - V), "negative": -S * V},
    ),
    ("msd", 500, {}, {"latents": 1.0, "target": -1.0}),
    ("sdi", 500, {}, {"conditional": S, "unconditional": 1 - S, "reference_noise": -1.0}),
    ("ism", 500, {}, {"conditional": S, "unconditional": 1 - S, "interval": -1.0}),
    ("vsd", 500, {}, {"conditional": S, "unconditional": 1 - S, "particle": -1.0}),
    (
        "dds",
        500,
        {},
        {
            "conditional": S,
            "unconditional": 1 - S,
            "reference_conditional": -S,
            "reference_unconditional": S - 1,
        },
    ),
]


@pytest.mark.parametrize(("loss", "timestep", "parameters", "coefficients"), COEFFICIENTS)
@pytest.mark.parametrize("as_tensor", [False, True], ids=["number", "per view"])
def test_unit_vectors_read_off_the_coefficients(
    predictions_at,
    loss: str,
    timestep: int,
    parameters: dict[str, float],
    coefficients: dict[str, float],
    as_tensor: bool,
) -> None:
    ones = torch.ones(1, 4, 3, 3, dtype=torch.float64)
    scale = torch.full((1, 1, 1, 1), S, dtype=torch.float64) if as_tensor else S
    assert set(coefficients) <= set(NAMES)
    for probed in NAMES:
        unit = {name: ones * (name == probed) for name in NAMES}
        gradient = LOSSES[loss].gradient(predictions_at([timestep], **unit), scale, **parameters)
        exactly(gradient, ones * coefficients.get(probed, 0.0), 0.0)


def test_the_table_of_coefficients_leaves_no_loss_out() -> None:
    assert {loss for loss, *_ in COEFFICIENTS} == set(LOSSES)


@pytest.mark.parametrize(("loss", "timestep", "parameters", "coefficients"), COEFFICIENTS)
def test_what_every_prediction_has_alike_cancels_but_for_nfsd_below_its_threshold(
    loss: str, timestep: int, parameters: dict[str, float], coefficients: dict[str, float]
) -> None:
    """The added noise is in all of them. NFSD's first branch keeps it, and says so."""
    keeps = loss == "nfsd" and timestep < parameters.get("threshold", nfsd.THRESHOLD)
    assert sum(coefficients.values()) == (1.0 if keeps else 0.0)


def test_every_loss_is_linear_in_its_predictions(predictions_at) -> None:
    timesteps = [50, 500]
    one, two = predictions_at(timesteps), predictions_at(timesteps)
    both = predictions_at(timesteps, **{name: 2 * getattr(one, name) - getattr(two, name) for name in NAMES})
    for loss in LOSSES.values():
        expected = 2 * loss.gradient(one, S) - loss.gradient(two, S)
        exactly(loss.gradient(both, S), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_each_view_has_its_own_branch_and_its_own_scale(predictions_at, name: str) -> None:
    p = predictions_at([20, 199, 200, 980])
    scales = torch.tensor([1.0, 7.5, 2.0, 0.5], dtype=torch.float64).view(-1, 1, 1, 1)
    together = LOSSES[name].gradient(p, scales)
    for view in range(4):
        alone = NoisePredictions(**{field: value[view : view + 1] for field, value in vars(p).items()})
        exactly(together[view : view + 1], LOSSES[name].gradient(alone, float(scales[view])))


def test_a_view_below_the_threshold_is_blind_to_its_negative_prediction(predictions_at) -> None:
    nan = torch.full((2, 4, 3, 3), float("nan"), dtype=torch.float64)
    p = predictions_at([20, 199])
    exactly(nfsd.gradient(replace(p, negative=nan), S), nfsd.gradient(replace(p, negative=None), S))


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
        ("msd", [20, 980], {}, 1),
        ("sdi", [20, 980], {}, 2),
        ("ism", [20, 980], {}, 3),
        ("vsd", [20, 980], {}, 3),
        ("dds", [20, 980], {}, 3),
    ],
)
def test_a_loss_asks_for_no_more_than_it_reads(
    predictions_at, loss: str, timesteps: list[int], parameters: dict[str, float], count: int
) -> None:
    needed = LOSSES[loss].branches(timesteps, parameters)
    assert len(needed) == count
    assert needed <= LOSSES[loss].needs
    absent = {name: None for branch in BRANCHES - needed for name in FIELDS_OF.get(branch, (branch,))}
    assert LOSSES[loss].gradient(predictions_at(timesteps, **absent), S, **parameters).isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_loss_asked_for_and_did_not_get_is_named(predictions_at, name: str) -> None:
    loss = LOSSES[name]
    parameters = {"negative_weight": 0.5} if name == "csd" else {}
    for branch in loss.branches([500], parameters):
        absent = {field: None for field in FIELDS_OF.get(branch, (branch,))}
        with pytest.raises(ValueError, match=branch):
            loss.gradient(predictions_at([500], **absent), S, **parameters)


def test_nfsd_without_the_negative_prediction_says_where_it_was_needed(predictions_at) -> None:
    with pytest.raises(ValueError, match=r"negative prediction at timesteps from 200 on.*\[100, 300\]"):
        nfsd.gradient(predictions_at([100, 300], negative=None), S)


def test_csd_without_the_negative_prediction_says_what_asked_for_it(predictions_at) -> None:
    with pytest.raises(ValueError, match=r"negative weight of 0\.5 needs the negative prediction"):
        csd.gradient(predictions_at([100], negative=None), S, negative_weight=0.5)


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_table_tells_the_truth_about_every_loss(name: str) -> None:
    loss = LOSSES[name]
    assert loss.name == name
    assert loss.title
    assert "arXiv:" in loss.paper
    assert loss.needs <= BRANCHES
    assert loss.route in LOSS_ROUTES
    signature = inspect.signature(loss.gradient).parameters
    assert [p.name for p in loss.own_parameters] == list(signature)[2:]
    for parameter in loss.own_parameters:
        assert signature[parameter.name].default == parameter.default
    names = [p.name for p in loss.parameters]
    assert len(set(names)) == len(names)
    for parameter in loss.parameters:
        assert parameter.description
        if parameter.choices:
            assert parameter.default == parameter.choices[0]
        else:
            assert parameter.minimum <= parameter.default <= parameter.maximum
    defaults = {p.name: p.default for p in loss.parameters}
    assert loss.check is None or loss.check(defaults, False) is None
    for timestep in (0, 199, 200, 999):
        assert loss.branches([timestep], defaults) <= loss.needs


def test_every_route_is_there_and_used() -> None:
    assert set(ROUTES) == set(LOSS_ROUTES) == {loss.route for loss in LOSSES.values()}


def test_nfsds_terms_add_up_to_it_and_msds_is_the_way_that_is_left(predictions_at) -> None:
    p = predictions_at([20, 199, 200, 980])
    nfsd_terms, msd_terms = LOSSES["nfsd"].terms, LOSSES["msd"].terms
    assert nfsd_terms is not None
    assert msd_terms is not None
    exactly(sum(nfsd_terms(p, S).values()), LOSSES["nfsd"].gradient(p, S), 0.0)  # type: ignore[arg-type]
    exactly(msd_terms(p, S)["distance"], -LOSSES["msd"].gradient(p, S), 0.0)


@pytest.mark.parametrize("module", ["losses", "weighting", "schedules", "predictions", "timesteps"])
def test_importing_what_the_server_lists_leaves_torch_out(module: str) -> None:
    code = f"import sys, limbeck_server.distillation.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_gradients_carry_no_graph_of_their_own(predictions_at: Callable[..., NoisePredictions]) -> None:
    p = predictions_at([100, 500])
    assert not any(loss.gradient(p, S).requires_grad for loss in LOSSES.values())
