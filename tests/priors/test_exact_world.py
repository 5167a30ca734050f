"""The exact prior over real views of the known world."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior, degraded_views, load_exact_prior
from limbeck_server.priors.prior import PromptError
from limbeck_server.scene.cameras import orbit_views
from torch import Tensor

NAMES = ("cube", "torus", "car", "duck")
VIEWS = (96, 96, 192, 192)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> ViewLibrary:
    return load_library(dict(zip(NAMES, VIEWS, strict=True)), 32, tmp_path_factory.mktemp("views"))


@pytest.fixture(scope="module")
def prior(library) -> ExactPrior:
    return ExactPrior(library, degraded_views(library))


def true_pictures(name: str, azimuth_deg: Tensor, colour: str, background: float) -> Tensor:
    """What new cameras see, under a light that no stored view has."""
    count = len(azimuth_deg)
    places = torch.linspace(5, 40, count)
    views = orbit_views(azimuth_deg, places, torch.full((count,), 2.05), torch.full((count,), 41.0))
    buffers = render_buffers(SHAPES[name], views, 32)
    return compose_picture(buffers, torch.tensor(COLOURS[colour]), torch.full((3,), background))


@pytest.mark.parametrize("colour", ["yellow", "purple"])
@pytest.mark.parametrize("name", NAMES)
def test_true_pictures_from_new_cameras_are_recognised(prior, name, colour):
    pictures = true_pictures(name, torch.arange(8) * 45.0 + 10, colour, 0.4)
    for over, word in (("shape", name), ("colour", colour)):
        words, shares = prior.posterior(pictures, 0.3, over)
        assert float(shares[:, words.index(word)].mean()) > 0.9


def test_the_true_duck_has_one_front(prior):
    words, shares = prior.posterior(true_pictures("duck", torch.arange(8) * 45.0, "red", 0.6), 0.3, "azimuth", "a duck")
    assert float(shares[:, words.index("front")].sum()) == pytest.approx(1, abs=0.1)
    assert int(shares[:, words.index("front")].argmax()) == 0


def test_sampling_a_prompt_draws_what_it_says(prior):
    """DDIM from pure noise, guidance scale 2."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4, 3, 32, 32, generator=generator)
    timesteps = torch.linspace(999, 0, 20).round().long()
    for now, later in zip(timesteps, [*timesteps[1:], None], strict=True):
        prompts = {"conditional": ["a yellow duck, right side view"] * 4, "unconditional": [""] * 4}
        answers = prior.predict_noise(latents, now.repeat(4), prompts)
        noise = answers["unconditional"] + 2 * (answers["conditional"] - answers["unconditional"])
        clean = (latents - prior.schedule.noise_stds[now].float() * noise) / prior.schedule.signal_scales[now].float()
        if later is not None:
            signal, std = prior.schedule.signal_scales[later].float(), prior.schedule.noise_stds[later].float()
            latents = signal * clean + std * noise
    pictures = prior.decode_latents(clean)
    for over, word in (("shape", "duck"), ("colour", "yellow"), ("azimuth", "right side")):
        words, shares = prior.posterior(pictures, 0.1, over)
        assert float(shares[:, words.index(word)].min()) > 0.95


def test_degraded_views_cover_every_shape_and_are_the_same_every_time(library):
    degraded = degraded_views(library)
    assert torch.bincount(degraded.shape_index).tolist() == [12] * len(NAMES)
    assert degraded.shape_names == library.shape_names
    assert degraded.azimuth_deg.std() > 60
    assert torch.equal(degraded.buffers, degraded_views(library).buffers)


def test_a_degraded_picture_is_told_from_a_clean_one(prior, library):
    degraded = degraded_views(library)
    colour, background = torch.tensor(COLOURS["green"]), torch.full((3,), 0.7)
    bad = compose_picture(degraded.buffers[::5], colour, background)
    good = compose_picture(library.buffers[::40].float() / 255, colour, background)
    for pictures, sign in ((bad, 1), (good, -1)):
        margin = prior.log_likelihood(pictures, 0.05, "blurry") - prior.log_likelihood(pictures, 0.05, "a green object")
        assert (sign * margin > 0).all()


@pytest.mark.parametrize("size", [0, 16, 48, 512])
def test_a_size_that_is_not_offered_is_refused(size, tmp_path):
    with pytest.raises(ValueError, match=f"32 or 64 pixels wide, but {size} were asked for"):
        load_exact_prior("a duck", size, cache_folder=tmp_path)


def test_an_unknown_word_is_refused_before_anything_is_rendered(tmp_path):
    with pytest.raises(PromptError, match='no word "zebra"'):
        load_exact_prior("a zebra", 32, cache_folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_prompts_prior_holds_its_shape_in_every_sector(tmp_path):
    told: list[tuple[int, int]] = []
    prior = load_exact_prior(
        "a duck", 32, cache_folder=tmp_path, progress=lambda done, total: told.append((done, total))
    )
    assert told[-1][0] == told[-1][1]
    for azimuth_deg in range(0, 360, 45):
        for elevation_deg in (-5, 15, 40):
            prior.check_prompt("a duck" + prior.view_suffix(azimuth_deg, elevation_deg))
    assert prior.size == 32
