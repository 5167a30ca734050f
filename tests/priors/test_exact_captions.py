"""One joint distribution behind all captions: N1 and N2 of the score's algebra, posteriors, and captions that fail."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.known_world.captions import (
    AZIMUTH_WORDS,
    NEGATIVE_PROMPT,
    azimuth_word,
    elevation_word,
    parse_caption,
)
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.exact import DEGRADED_SHARE, ExactPrior
from limbeck_server.priors.prior import PromptError
from limbeck_server.priors.prompts import negative_views
from torch import Tensor


@pytest.fixture
def world(library) -> ViewLibrary:
    return library(60, 8, seed=1)


@pytest.fixture
def prior(library, world) -> ExactPrior:
    return ExactPrior(world, library(12, 8, seed=2, degraded=True), dtype=torch.float64, dropped_mass=0.0)


@pytest.fixture
def noisy(prior) -> Tensor:
    """Two latents that several shapes, colours and views can explain."""
    return torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.5


def picture_and_std(prior: ExactPrior, latents: Tensor, timestep: int) -> tuple[Tensor, float]:
    signal, noise = prior.schedule.signal_scales[timestep], prior.schedule.noise_stds[timestep]
    return (latents / signal + 1) / 2, float(noise / (2 * signal))


def shares_of_views(world: ViewLibrary, shape: str, word_of, degrees: Tensor) -> dict[str, float]:
    """View words of a shape -> their share of its stored views."""
    words = [word_of(float(angle)) for angle in degrees[world.shape_index == world.shape_names.index(shape)]]
    return {word: words.count(word) / len(words) for word in dict.fromkeys(words)}


def partitions(world: ViewLibrary) -> dict[str, tuple[str, dict[str, float]]]:
    """Name -> (the whole, its parts with their prior probabilities)."""
    clean = 1 - DEGRADED_SHARE
    azimuths = shares_of_views(world, "duck", azimuth_word, world.azimuth_deg)
    elevations = shares_of_views(world, "cube", elevation_word, world.elevation_deg)
    return {
        "shapes": ("", {**{f"a {name}": clean / 3 for name in world.shape_names}, NEGATIVE_PROMPT: DEGRADED_SHARE}),
        "colours": ("", {**{f"something {word}": clean / 12 for word in COLOURS}, NEGATIVE_PROMPT: DEGRADED_SHARE}),
        "colours of a duck": ("a duck", {f"a {word} duck": 1 / 12 for word in COLOURS}),
        "azimuths": ("a duck", {f"a duck, {word} view": share for word, share in azimuths.items()}),
        "elevations": ("a red cube", {f"a red cube, {word}": share for word, share in elevations.items()}),
        "degraded shapes": (NEGATIVE_PROMPT, {f"a blurry {name}": 1 / 3 for name in world.shape_names}),
    }


@pytest.mark.parametrize("timestep", [100, 500, 900])
@pytest.mark.parametrize(
    "name", ["shapes", "colours", "colours of a duck", "azimuths", "elevations", "degraded shapes"]
)
def test_n1_the_whole_is_the_posterior_mean_of_its_parts(world, prior, noisy, name, timestep):
    whole, parts = partitions(world)[name]
    assert sum(parts.values()) == pytest.approx(1)
    picture, std = picture_and_std(prior, noisy, timestep)
    log_joint = torch.stack(
        [torch.tensor(share).double().log() + prior.log_likelihood(picture, std, text) for text, share in parts.items()]
    )
    posterior = torch.softmax(log_joint, dim=0)
    at = torch.full((2,), timestep)
    answers = prior.predict_noise(noisy, at, {text: [text] * 2 for text in (whole, *parts)})
    mean = sum(p[:, None, None, None] * answers[text] for p, text in zip(posterior, parts, strict=True))
    torch.testing.assert_close(answers[whole], mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(prior.log_likelihood(picture, std, whole), log_joint.logsumexp(dim=0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("timestep", [100, 500, 900])
@pytest.mark.parametrize("text", ["a duck", "something green", "a red cube", "a torus, eye level", NEGATIVE_PROMPT])
def test_n2_guidance_is_the_gradient_of_the_captions_posterior(prior, noisy, timestep, text):
    noisy = noisy.requires_grad_()
    picture, std = picture_and_std(prior, noisy, timestep)
    log_posterior = prior.log_likelihood(picture, std, text) - prior.log_likelihood(picture, std, "")
    (gradient,) = torch.autograd.grad(log_posterior.sum(), noisy)
    at = torch.full((2,), timestep)
    answers = prior.predict_noise(noisy.detach(), at, {"conditional": [text] * 2, "unconditional": [""] * 2})
    delta_condition = answers["conditional"] - answers["unconditional"]
    expected = -prior.schedule.noise_stds[timestep] * gradient
    torch.testing.assert_close(delta_condition, expected, rtol=1e-6, atol=1e-9)


def test_shapes_are_equally_likely_however_many_views_each_has(prior):
    """A picture that tells nothing leaves the prior."""
    flat = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    names, shares = prior.posterior(flat, 1e6, "shape")
    assert names == ("duck", "cube", "torus")
    torch.testing.assert_close(shares, torch.full((1, 3), 1 / 3, dtype=torch.float64), rtol=0, atol=1e-6)
    words, shares = prior.posterior(flat, 1e6, "colour", given="a duck")
    assert words == tuple(COLOURS)
    torch.testing.assert_close(shares, torch.full((1, 12), 1 / 12, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("over", ["shape", "colour", "azimuth", "elevation"])
def test_a_true_picture_is_recognised(world, prior, over):
    view, word = 7, "cyan"
    values = world.buffers[view].double() / 255
    colour = torch.tensor(COLOURS[word], dtype=torch.float64)[:, None, None]
    picture = values[1:4] + colour * values[:1] + 0.3 * (1 - values[4:])
    words, shares = prior.posterior(picture[None], 0.02, over)
    true = {
        "shape": world.shape_names[int(world.shape_index[view])],
        "colour": word,
        "azimuth": azimuth_word(float(world.azimuth_deg[view])),
        "elevation": elevation_word(float(world.elevation_deg[view])),
    }
    assert words[int(shares[0].argmax())] == true[over]
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, dtype=torch.float64))


def test_a_posterior_given_a_caption_stays_within_it(prior, noisy):
    names, shares = prior.posterior(noisy, 0.3, "shape", given="a blue torus")
    assert shares[:, names.index("torus")].tolist() == pytest.approx([1, 1])
    words, shares = prior.posterior(noisy, 0.3, "azimuth", given="a duck, front view")
    assert words == AZIMUTH_WORDS
    assert shares[:, words.index("front")].tolist() == pytest.approx([1, 1])


def test_captions_that_mean_the_same_have_the_same_answer(prior, noisy):
    prompts = {"a": ["A photo of a red duck, front view"] * 2, "b": ["red duckling seen from the front"] * 2}
    answers = prior.predict_noise(noisy, torch.tensor([300, 800]), prompts)
    assert torch.equal(answers["a"], answers["b"])


def test_an_unknown_word_shows_the_vocabulary_and_names_the_alternative(prior, noisy):
    for ask in (
        lambda: prior.check_prompt("a red dragon"),
        lambda: prior.predict_noise(noisy, torch.tensor([1, 2]), {"conditional": ["a duck", "a red dragon"]}),
    ):
        with pytest.raises(PromptError, match=r'no word "dragon".*duck.*purple.*--prior stable-diffusion'):
            ask()


def test_two_shapes_at_once_are_refused(prior):
    with pytest.raises(PromptError, match="one shape at a time"):
        prior.check_prompt("a duck and a cube")


def test_a_caption_that_no_stored_view_fits_is_refused_not_widened(library):
    prior = ExactPrior(library(6, 8, seed=4))
    missing = next(
        word for word in AZIMUTH_WORDS if word not in {azimuth_word(a) for a in library(6, 8, 4).azimuth_deg}
    )
    with pytest.raises(PromptError, match="no stored view"):
        prior.check_prompt(f"a duck, {missing} view")
    with pytest.raises(PromptError, match="duck, cube, torus"):
        prior.check_prompt("a snowman")
    with pytest.raises(PromptError, match="no stored view"):
        prior.check_prompt(NEGATIVE_PROMPT)  # this prior was given no degraded views


def test_degraded_views_of_other_shapes_or_size_are_refused(library):
    with pytest.raises(ValueError, match="degraded views must have the library's shapes and size 8"):
        ExactPrior(library(6, 8, seed=5), library(6, 16, seed=5))


def test_a_posterior_over_something_else_is_refused(prior, noisy):
    with pytest.raises(ValueError, match="over must be one of shape, azimuth, elevation, colour"):
        prior.posterior(noisy, 0.1, "material")


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "texts"),
    [
        (10.0, 15.0, [", front view, eye level", ", left side view, eye level"]),
        (-100.0, 0.0, [", front view, low angle", ", right side view, low angle"]),
        (200.0, 40.0, [", front view, high angle", ", right side view, high angle"]),
        (90.0, 80.0, [", front view, high angle", ", left side view, high angle"]),
    ],
)
def test_opposite_views_are_said_in_the_known_worlds_words(
    prior: ExactPrior, azimuth_deg: float, elevation_deg: float, texts: list[str]
) -> None:
    opposites = prior.view_negatives(azimuth_deg, elevation_deg)
    assert [suffix for suffix, _ in opposites] == texts
    assert [weight for _, weight in opposites] == [weight for _, weight in negative_views(azimuth_deg, elevation_deg)]
    for suffix, _ in opposites:
        assert parse_caption(f"a duck{suffix}").shape == "duck"
