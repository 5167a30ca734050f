"""What the routes ask for, and that guidance, Perp-Neg and mean-shift distillation's chain are as they are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from limbeck_server.distillation import trajectories
from limbeck_server.distillation.asking import Request, guided_predictor
from limbeck_server.distillation.guidance import perpendicular
from limbeck_server.distillation.predictions import classifier_free_guidance
from torch import Tensor

S = 7.5
TIMESTEPS = [0, 7, 49, 120, 399, 701, 999]


# --- guidance with negative prompts -----------------------------------------------------------------------------------


def published(answers: list[Tensor], weights: list[list[float]], scale: float) -> Tensor:
    """Perp-Neg's eq. as printed: e_0 + s [(e_c - e_0) + sum of w_i perp_i]; answers are e_c, e_0, e_1, ..."""
    conditional, unconditional, *negatives = answers
    delta = conditional - unconditional
    for negative, weight in zip(negatives, weights, strict=True):
        factor = torch.tensor(weight, dtype=torch.float64).view(-1, 1, 1, 1)
        delta = delta + factor * perpendicular(negative - unconditional, conditional - unconditional)
    return unconditional + scale * delta


@pytest.mark.parametrize("loss", ["sds", "nfsd", "sdi", "ism", "vsd", "dds"])
def test_perp_neg_with_guidance_is_the_published_formula(two_classes, ask, subject, loss: str) -> None:
    p = ask(two_classes, loss, subject, TIMESTEPS, perp_neg=1.5).predictions
    z = two_classes.calls[0 if loss == "dds" else -1].noisy
    texts = [subject.texts["conditional"], subject.texts["unconditional"], *(its for its, _ in subject.opposites)]
    answers = two_classes.predict_noise(z, p.timestep, {str(index): its for index, its in enumerate(texts)})
    weights = [[1.5 * weight for weight in its] for _, its in subject.opposites]
    torch.testing.assert_close(p.guided(S), published(list(answers.values()), weights, S), rtol=1e-9, atol=1e-9)


def test_on_trajectories_perp_neg_is_the_published_formula_too(two_classes, subject, generator, draw) -> None:
    request = Request(
        needed=frozenset(), timesteps=torch.tensor(TIMESTEPS), noise=subject.latents, guidance_scale=S, perp_neg=1.0
    )
    sigmas = two_classes.schedule.sigmas[request.timesteps]
    z = draw(*subject.latents.shape)
    texts = [subject.texts["conditional"], subject.texts["unconditional"], *(its for its, _ in subject.opposites)]
    answers = [two_classes.noise_in(z, sigmas, its) for its in texts]
    expected = published(answers, [its for _, its in subject.opposites], S)
    torch.testing.assert_close(guided_predictor(two_classes, subject, request)(z, sigmas), expected)


def test_the_product_sampler_guides_clean_latents_as_the_others_guide_noise(two_classes, ask, subject, draw) -> None:
    """One step is one denoised picture: of what z and x together show, at the noise level that they have together."""
    noise, bandwidth, timesteps = draw(*subject.latents.shape), 0.8, [100, 200, 300, 400, 500, 600, 700]
    how = {"sampler": "product", "bandwidth": bandwidth, "bandwidth_min": bandwidth, "sampling_steps": 1.0}
    p = ask(two_classes, "msd", subject, timesteps, noise=noise, parameters=how, perp_neg=1.0).predictions
    sigmas = two_classes.schedule.sigmas[timesteps]
    together = 1 / (1 / sigmas**2 + 2 / bandwidth**2)
    z = subject.latents + sigmas.view(-1, 1, 1, 1) * noise
    seen = together.view(-1, 1, 1, 1) * (z / sigmas.view(-1, 1, 1, 1) ** 2 + 2 * subject.latents / bandwidth**2)
    texts = [subject.texts["conditional"], subject.texts["unconditional"], *(its for its, _ in subject.opposites)]
    answers = [two_classes.denoise_at(seen, together.sqrt(), its) for its in texts]
    torch.testing.assert_close(p.target, published(answers, [its for _, its in subject.opposites], S))


# --- what they ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "timestep", "parameters", "names"),
    [
        ("sds", 500, {}, {"conditional", "unconditional"}),
        ("nfsd", 199, {}, {"conditional", "unconditional"}),
        ("nfsd", 200, {}, {"conditional", "unconditional", "negative"}),
        ("csd", 500, {}, {"conditional", "unconditional"}),
        ("csd", 500, {"negative_weight": 0.1}, {"conditional", "unconditional", "negative"}),
        ("sdi", 500, {}, {"conditional", "unconditional"}),
        ("ism", 500, {}, {"conditional", "unconditional"}),
        ("vsd", 500, {}, {"conditional", "unconditional"}),
        ("dds", 500, {}, {"conditional", "unconditional"}),
    ],
)
def test_the_prior_is_asked_for_the_branches_that_are_needed_and_no_others(
    two_classes, ask, draw, loss: str, timestep: int, parameters, names: set[str]
) -> None:
    p = ask(two_classes, loss, draw(2, 1, 2, 2), [timestep] * 2, parameters=parameters).predictions
    assert set(two_classes.calls[-1].texts) == names
    assert {name for name in ("conditional", "unconditional", "negative") if getattr(p, name) is not None} == names
    others = {"particle": "vsd", "reference_conditional": "dds", "interval": "ism", "target": "msd"}
    assert all((getattr(p, name) is not None) == (loss == its) for name, its in others.items())


@pytest.mark.parametrize(
    ("loss", "parameters", "names"),
    [
        ("sdi", {}, {"conditional", "unconditional"}),
        ("sdi", {"inversion_guidance": 1.0}, {"conditional"}),
        ("ism", {}, {"unconditional"}),
        ("msd", {"centre": "mean"}, {"conditional", "unconditional"}),
    ],
)
def test_on_its_way_a_route_asks_for_what_it_guides_with(two_classes, ask, draw, loss, parameters, names) -> None:
    ask(two_classes, loss, draw(2, 1, 2, 2), [500, 800], parameters=parameters)
    assert len(two_classes.calls) > 3
    assert all(set(call.texts) == names for call in two_classes.calls[:-1])


def test_without_guidance_msd_asks_for_the_prompt_alone(two_classes, ask, draw) -> None:
    ask(two_classes, "msd", draw(2, 1, 2, 2), [500, 800], guidance_scale=1.0)
    assert all(set(call.texts) == {"conditional"} for call in two_classes.calls)


def test_dds_shows_the_reference_under_the_same_noise_and_its_own_prompt(two_classes, ask, subject) -> None:
    p = ask(two_classes, "dds", subject, TIMESTEPS).predictions
    own, reference = two_classes.calls
    assert own.texts["conditional"] == list(subject.texts["conditional"])
    assert reference.texts["conditional"] == list(subject.reference_texts)
    noise = (own.noisy - p.signal_scale * subject.latents) / p.noise_std
    torch.testing.assert_close((reference.noisy - p.signal_scale * subject.reference) / p.noise_std, noise)


def test_the_particle_model_is_told_the_plain_prompt_and_the_cameras(two_classes, exact_particles, ask, subject):
    told: list[tuple[Tensor, list[int], list[str], Tensor]] = []

    class Listening(exact_particles):
        def predict_noise(self, noisy, timesteps, texts, camera_to_world):
            told.append((noisy, timesteps.tolist(), list(texts), camera_to_world))
            return super().predict_noise(noisy, timesteps, texts, camera_to_world)

    views = replace(subject, plain_texts=["b"] * len(TIMESTEPS), camera_to_world=torch.rand(len(TIMESTEPS), 4, 4))
    p = ask(two_classes, "vsd", views, TIMESTEPS, particle=Listening(two_classes, subject.latents)).predictions
    ((noisy, timesteps, texts, cameras),) = told
    assert (timesteps, texts) == (TIMESTEPS, ["b"] * len(TIMESTEPS))
    assert cameras is views.camera_to_world
    torch.testing.assert_close(noisy, two_classes.calls[-1].noisy)
    assert p.particle is not None


# --- mean-shift distillation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "share", "bandwidth"),
    [
        ("linear", 0.0, 8.0),
        ("linear", 0.5, 5.0),
        ("linear", 1.0, 2.0),
        ("geometric", 0.5, 4.0),
        ("geometric", 1.0, 2.0),
    ],
)
def test_the_kernel_narrows_with_the_run(mixture_of, ask, draw, decay: str, share: float, bandwidth: float) -> None:
    """Seen on a point mass, where the last step of 20, 45 timesteps long, says how wide it is."""
    mean, x = draw(1, 2, 2), draw(1, 1, 2, 2)
    prior = mixture_of({text: [(1.0, mean, 0.0)] for text in ("a", "")})
    how = {"bandwidth": 8.0, "bandwidth_min": 2.0, "bandwidth_decay": decay, "kernel_low": 0.0, "kernel_high": 1.0}
    gradient = ask(prior, "msd", x, [900], parameters=how, share=share).gradient
    left = torch.exp(torch.tensor(-45.0 / bandwidth**2, dtype=torch.float64))
    torch.testing.assert_close(gradient, left * (x - mean))


@pytest.mark.parametrize("centre", ["shared_noise", "mean", "inversion"])
def test_outside_its_interval_the_kernel_pulls_nothing(two_classes, ask, subject, draw, centre: str) -> None:
    """An interval above t leaves plain sampling down from where the chain begins."""
    noise, timesteps = draw(*subject.latents.shape), [800] * len(TIMESTEPS)
    how = {"centre": centre, "kernel_low": 0.9, "kernel_high": 1.0, "bandwidth": 1.0, "bandwidth_min": 1.0}
    target = ask(two_classes, "msd", subject, timesteps, noise=noise, parameters=how).predictions.target
    first = next(call for call in two_classes.calls if "conditional" in call.texts)
    levels = two_classes.schedule.sigmas[torch.linspace(800, 0, 21).round().long()]
    levels[-1] = 0.0
    request = Request(needed=frozenset(), timesteps=torch.tensor(timesteps), noise=noise, guidance_scale=S)
    predict = guided_predictor(two_classes, subject, request)
    alpha, _ = two_classes.schedule.at(request.timesteps, noise)
    path = trajectories.sample(predict, first.noisy / alpha, levels[:, None].expand(-1, len(TIMESTEPS)))
    torch.testing.assert_close(target, path)


def test_msd_begins_at_the_latents_under_its_noise_or_at_their_inversion(two_classes, ask, subject, draw) -> None:
    noise, timesteps = draw(*subject.latents.shape), [800] * len(TIMESTEPS)
    alpha, std = two_classes.schedule.at(torch.tensor(timesteps), noise)
    for how in ({"centre": "shared_noise"}, {"centre": "mean"}):
        ask(two_classes, "msd", subject, timesteps, noise=noise, parameters=how)
        torch.testing.assert_close(two_classes.calls[-20].noisy, alpha * subject.latents + std * noise)
    two_classes.calls.clear()
    targets = [
        ask(two_classes, "msd", subject, timesteps, noise=drawn, parameters={"centre": "inversion"}).predictions.target
        for drawn in (noise, -noise)
    ]
    torch.testing.assert_close(targets[0], targets[1])
    asked = [set(call.texts) for call in two_classes.calls[:40]]
    assert asked == [{"unconditional"}] * 20 + [{"conditional", "unconditional"}] * 20, "inverted without the prompt"


def test_the_unbiased_sampler_refuses_a_network(two_classes, ask, draw) -> None:
    class Network:
        """All of a prior but its closed form."""

        def __getattr__(self, name: str) -> Any:
            if name == "denoise_at":
                raise AttributeError(name)
            return getattr(two_classes, name)

    with pytest.raises(TypeError, match=r"needs a prior in closed form, and 'mixture' is a network. Choose"):
        ask(Network(), "msd", draw(1, 1, 2, 2), [500], parameters={"sampler": "product"})


def test_the_reference_of_an_edit_has_opposites_of_its_own(two_classes, ask, subject) -> None:
    """Pushed from the new prompt's other views, the reference would lend the edit a pull towards them."""
    p = ask(two_classes, "dds", subject, TIMESTEPS, perp_neg=1.0).predictions
    asked = two_classes.calls[1].texts
    assert asked["conditional"] == list(subject.reference_texts)
    assert [asked[f"opposite {k}"] for k in range(2)] == [texts for texts, _ in subject.reference_opposites]
    texts = [subject.reference_texts, subject.texts["unconditional"], *(its for its, _ in subject.reference_opposites)]
    z = two_classes.calls[1].noisy
    answers = two_classes.predict_noise(z, p.timestep, {str(index): its for index, its in enumerate(texts)})
    expected = published(list(answers.values()), [its for _, its in subject.reference_opposites], S)
    guided = classifier_free_guidance(p.reference_conditional, p.reference_unconditional, S)
    torch.testing.assert_close(guided, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("loss", "parameters"), [("sdi", {}), ("ism", {}), ("msd", {"centre": "inversion"})])
def test_nobody_is_asked_below_the_floor_of_an_inversion(two_classes, ask, subject, loss: str, parameters) -> None:
    views = len(subject.latents)
    ask(two_classes, loss, subject, [700] * views, parameters={**parameters, "inversion_floor": 120.0})
    inverting = [call for call in two_classes.calls if "conditional" not in call.texts or loss == "sdi"]
    assert min(min(call.timesteps) for call in inverting) == 120
    two_classes.calls.clear()
    ask(two_classes, loss, subject, [700] * views, parameters=parameters)
    assert min(min(call.timesteps) for call in two_classes.calls) < 120
