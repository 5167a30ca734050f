"""The routes from clean latents to predictions: what they ask, of whom, where, and that views do not meddle."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from limbeck_server.distillation.asking import Subject
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.observations import ROUTES
from torch import Tensor

S = 7.5
TIMESTEPS = [0, 7, 49, 120, 399, 701, 999]
# Every way in which a loss can go: its parameters, without draws of a route's own. A new loss is here by itself.
QUIET: dict[str, dict[str, float | str]] = {"sdi": {"inversion_eta": 0.0}}
WAYS: list[tuple[str, dict[str, float | str]]] = [
    *((name, QUIET.get(name, {})) for name in LOSSES),
    ("csd", {"negative_weight": 0.5}),
    ("sdi", {"inversion_eta": 0.0, "inversion_guidance": 1.0, "inversion_steps": 37.0}),
    ("ism", {"interval": 7.0, "interval_start": 7.0, "inversion_stride": 33.0}),
    ("msd", {"centre": "mean", "bandwidth": 10.0, "sampling_steps": 9.0}),
    ("msd", {"centre": "inversion", "kernel_time": "variance", "bandwidth": 1.0, "bandwidth_min": 0.5}),
    ("msd", {"sampler": "product", "bandwidth": 0.7, "bandwidth_min": 0.3}),
]
IDS = ["-".join([loss, *(str(value) for value in parameters.values())]) for loss, parameters in WAYS]
every_way = pytest.mark.parametrize(("loss", "parameters"), WAYS, ids=IDS)


def one_view(subject: Subject, view: int) -> Subject:
    def of(value: Any) -> Any:
        return value[view : view + 1]

    return replace(
        subject,
        latents=of(subject.latents),
        texts={name: of(texts) for name, texts in subject.texts.items()},
        plain_texts=of(subject.plain_texts),
        opposites=[(of(texts), of(weights)) for texts, weights in subject.opposites],
        reference=of(subject.reference),
        reference_texts=of(subject.reference_texts),
        reference_opposites=[(of(texts), of(weights)) for texts, weights in subject.reference_opposites],
        camera_to_world=of(subject.camera_to_world),
    )


# --- batches ----------------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("perp_neg", [0.0, 1.0], ids=["plain", "perp-neg"])
def test_views_at_different_timesteps_have_the_answers_that_each_has_alone(
    two_classes, exact_particles, ask, subject, draw, loss: str, parameters: dict[str, float | str], perp_neg: float
) -> None:
    noise = draw(*subject.latents.shape)
    # One particle model for all, since it is one model of the scene.
    how: dict[str, Any] = {
        "parameters": parameters,
        "perp_neg": perp_neg,
        "guidance_interval": (0.1, 0.8),
        "particle": exact_particles(two_classes, subject.latents),
    }
    together = ask(two_classes, loss, subject, TIMESTEPS, noise=noise, **how)
    assert together.gradient.isfinite().all()
    for view, timestep in enumerate(TIMESTEPS):
        alone = ask(two_classes, loss, one_view(subject, view), [timestep], noise=noise[view : view + 1], **how)
        torch.testing.assert_close(alone.gradient[0], together.gradient[view], rtol=1e-9, atol=1e-9)


def test_added_noise_falls_on_every_view_by_its_own_amount(two_classes, ask, draw) -> None:
    """SDI's own draws, which a batch takes in another order: same mean and spread as alone."""
    x, copies = draw(2, 1, 2, 2), 2000
    mixed = x.repeat_interleave(copies, 0)
    timesteps = [150] * copies + [800] * copies
    both = ask(two_classes, "sdi", mixed, timesteps).predictions.reference_noise.split(copies)
    for row, timestep in enumerate((150, 800)):
        alone = ask(two_classes, "sdi", mixed[copies * row : copies * (row + 1)], [timestep] * copies)
        mean, std = (f(alone.predictions.reference_noise, 0) for f in (torch.mean, torch.std))
        assert torch.allclose(both[row].std(0), std, rtol=0.1)
        assert ((both[row].mean(0) - mean).abs() < 4 * std * (2 / copies) ** 0.5).all()


# --- where they ask ---------------------------------------------------------------------------------------------------


@every_way
def test_nobody_is_asked_outside_the_schedule(two_classes, ask, subject, loss: str, parameters) -> None:
    ask(two_classes, loss, subject, TIMESTEPS, parameters=parameters)
    asked_at = [timestep for call in two_classes.calls for timestep in call.timesteps]
    assert loss == "msd" or set(TIMESTEPS) <= set(asked_at)
    assert all(0 <= timestep <= 999 for timestep in asked_at)


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "msd"])
def test_the_last_answer_is_at_the_noise_that_the_predictions_name(two_classes, ask, subject, loss: str) -> None:
    p = ask(two_classes, loss, subject, TIMESTEPS).predictions
    looked_at = subject.reference if loss == "dds" else subject.latents
    shown = p.signal_scale * looked_at + p.noise_std * p.reference_noise
    assert two_classes.calls[-1].timesteps == TIMESTEPS
    torch.testing.assert_close(two_classes.calls[-1].noisy, shown, rtol=1e-9, atol=1e-9)


def test_clean_latents_have_no_inverted_noise(two_classes, ask, draw) -> None:
    p = ask(two_classes, "sdi", draw(2, 1, 2, 2), [0, 0]).predictions
    assert not p.reference_noise.any()
    assert len(two_classes.calls) == 1


@pytest.mark.parametrize(
    ("share", "timestep", "earlier"),
    [(0.0, 500, 400), (0.15, 500, 425), (0.3, 500, 450), (1.0, 500, 450), (0.0, 60, 0), (0.0, 0, 0), (1.0, 50, 0)],
)
def test_ism_looks_back_over_an_interval_that_warms_up_and_never_before_the_start(
    two_classes, ask, draw, share: float, timestep: int, earlier: int
) -> None:
    x = draw(1, 1, 2, 2)
    p = ask(two_classes, "ism", x, [timestep], share=share).predictions
    way, seen_earlier, seen = two_classes.calls[:-2], two_classes.calls[-2], two_classes.calls[-1]
    assert (seen_earlier.timesteps, seen.timesteps) == ([earlier], [timestep])
    assert all(call.texts == {"unconditional": [""]} for call in (*way, seen_earlier))
    alone = two_classes.predict_noise(seen_earlier.noisy, torch.tensor([earlier]), {"": [""]})[""]
    torch.testing.assert_close(p.interval, alone)


def test_ism_without_a_warmup_begins_with_its_interval(two_classes, ask, draw) -> None:
    ask(two_classes, "ism", draw(1, 1, 2, 2), [500], share=0.0, parameters={"interval_warmup": 0.0})
    assert two_classes.calls[-2].timesteps == [450]


@pytest.mark.parametrize(
    ("loss", "parameters", "stride"),
    [("sdi", {"inversion_steps": 10.0}, 100), ("sdi", {"inversion_steps": 3.0}, 334), ("ism", {}, 200)],
)
def test_an_inversion_rises_from_the_start_in_even_steps_of_its_stride_at_most(
    two_classes, ask, draw, loss: str, parameters: Mapping[str, float], stride: int
) -> None:
    ask(two_classes, loss, draw(3, 1, 2, 2), [90, 500, 980], parameters=parameters)
    for view, end in enumerate([90, 500, 980]):
        path = [call.timesteps[view] for call in two_classes.calls]
        steps = [later - before for before, later in itertools.pairwise(path)]
        moved = [step for step in steps[:-1] if step]
        assert (path[0], path[-1]) == (0, end)
        assert all(0 < step <= stride for step in moved)
        assert not moved or max(moved) - min(moved) <= 1
        assert steps[: len(moved)] == moved, "a view that has arrived waits; it does not set out later"


# --- guidance ---------------------------------------------------------------------------------------------------------


@every_way
def test_outside_the_guidance_interval_every_loss_is_at_scale_1(
    two_classes, ask, subject, draw, loss: str, parameters
) -> None:
    views = len(TIMESTEPS)
    noise = draw(*subject.latents.shape)

    def at(timestep: int, scale: float, interval: tuple[float, float]) -> Tensor:
        return ask(
            two_classes,
            loss,
            subject,
            [timestep] * views,
            noise=noise,
            parameters=parameters,
            guidance_scale=scale,
            guidance_interval=interval,
        ).gradient

    # A trajectory passes all the timesteps below its own: only from above can an interval leave it alone.
    none = LOSSES[loss].unguided_scale
    torch.testing.assert_close(at(300, S, (0.5, 1.0)), at(300, none, (0.0, 1.0)))
    # The product sampler asks where z and x together stand, which is never far up.
    inside = (0.0, 0.5) if parameters.get("sampler") == "product" else (0.5, 1.0)
    assert (at(700, S, inside) - at(700, 1.0, (0.0, 1.0))).abs().max() > 1e-3
    torch.testing.assert_close(at(700, S, (0.0, 0.7)), at(700, S, (0.0, 1.0)))


@every_way
def test_perp_neg_reaches_every_loss_and_weights_of_zero_do_nothing(
    two_classes, ask, subject, draw, loss: str, parameters
) -> None:
    noise, timesteps = draw(*subject.latents.shape), [300 + view for view in range(len(TIMESTEPS))]

    def gradient(perp_neg: float, seen: Subject = subject) -> Tensor:
        how = {"noise": noise, "parameters": parameters, "perp_neg": perp_neg}
        return ask(two_classes, loss, seen, timesteps, **how).gradient

    weightless = [(texts, [0.0] * len(texts)) for texts, _ in subject.opposites]
    idle = replace(subject, opposites=weightless, reference_opposites=weightless)
    torch.testing.assert_close(gradient(1.0, idle), gradient(0.0))
    torch.testing.assert_close(gradient(1.0, replace(subject, opposites=(), reference_opposites=())), gradient(0.0))
    if loss == "dds":
        # Taken from both sides alike; what is left is that the sides differ in their prompts.
        assert (gradient(1.0) - gradient(0.0)).abs().max() > 1e-6
    else:
        assert ((gradient(1.0) - gradient(0.0)).flatten(1).abs().amax(1) > 1e-6).all()


# --- where chance comes from ------------------------------------------------------------------------------------------


@every_way
def test_only_added_noise_is_drawn_and_only_from_the_given_generator(
    two_classes, ask, subject, draw, generator, loss: str, parameters
) -> None:
    noise, drawn_from_nowhere = draw(*subject.latents.shape), torch.get_rng_state()
    before = generator.get_state()
    ask(two_classes, loss, subject, TIMESTEPS, noise=noise, parameters=parameters)
    assert torch.equal(generator.get_state(), before), "without added noise a route draws nothing at all"
    assert torch.equal(torch.get_rng_state(), drawn_from_nowhere)


def test_added_noise_follows_the_seed(two_classes, ask, subject, draw) -> None:
    noise, before = draw(*subject.latents.shape), torch.get_rng_state()
    answers = [
        ask(
            two_classes,
            "sdi",
            subject,
            TIMESTEPS,
            noise=noise,
            generator=torch.Generator().manual_seed(seed),
        ).gradient
        for seed in (1, 1, 2)
    ]
    assert torch.equal(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_added_noise_without_a_generator_is_refused(two_classes, ask, draw) -> None:
    with pytest.raises(ValueError, match=r"eta = 0\.3 draws noise. Hand it a torch.Generator"):
        ask(two_classes, "sdi", draw(1, 1, 2, 2), [500], generator=None)


# --- what comes back --------------------------------------------------------------------------------------------------


@every_way
def test_what_comes_back_is_shaped_like_the_latents_in_their_precision_and_without_a_graph(
    two_classes, ask, subject, draw, loss: str, parameters
) -> None:
    single = replace(subject, latents=subject.latents.float(), reference=subject.reference.float())
    noise = draw(*subject.latents.shape).float()
    asked = ask(two_classes, loss, single, TIMESTEPS, noise=noise, parameters=parameters, perp_neg=1.0)
    assert (asked.gradient.shape, asked.gradient.dtype) == (single.latents.shape, torch.float32)
    for name, value in vars(asked.predictions).items():
        if value is not None and name != "timestep":
            assert value.dtype == torch.float32, name
            assert not value.requires_grad, name


def test_every_route_is_gone_by_some_way_above() -> None:
    assert {LOSSES[loss].route for loss, _ in WAYS} == set(ROUTES)
