"""What the network prior is trained on: the world's words, the exact prior's distribution, the noise to be expected."""

from __future__ import annotations

import doctest
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from limbeck_server.known_world.captions import NEGATIVE_PROMPT, Caption, parse_caption
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.exact import DEGRADED_SHARE, ExactPrior
from limbeck_server.priors.prior import NoiseSchedule
from limbeck_server.priors.training import tokenizer
from limbeck_server.priors.training.architecture import Architecture, build_tokenizer
from limbeck_server.priors.training.batches import World, draw_batch, load_world, stratified_timesteps
from limbeck_server.priors.training.held_out import HELD_OUT, is_held_out
from limbeck_server.priors.training.targets import ExpectedNoise
from limbeck_server.priors.training.texts import CaptionShares, draw_caption, write_caption

FULL = Caption("airplane", "yellow", "front left", "high angle", degraded=True)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world(training_views: Path) -> World:
    return load_world(24, 8, training_views)


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_word_of_the_world_is_one_token_and_no_text_is_unknown(tmp_path: Path) -> None:
    reader = build_tokenizer(tmp_path, Architecture())
    words = tokenizer.world_words()
    assert {"duck", "automobile", "unrealistic", "doughnut", "viewed"} <= set(words)
    assert [word for word in words if len(reader(word).input_ids) != 3] == []
    assert len(reader(NEGATIVE_PROMPT).input_ids) == 27
    ids = reader("A zéppelin 🦆!").input_ids
    assert reader.eos_token_id not in ids[1:-1], "letters and bytes stand for what no word covers"


def test_merges_are_laid_out_as_documented() -> None:
    assert doctest.testmod(tokenizer).failed == 0


def test_the_longest_caption_fits_the_text_encoder(tmp_path: Path) -> None:
    reader, draws = build_tokenizer(tmp_path, Architecture()), generator()
    shares = CaptionShares(synonym=0.5)
    longest = max(len(reader(write_caption(FULL, shares, draws)).input_ids) for _ in range(1000))
    assert longest == 46 <= Architecture().max_tokens


def test_texts_mean_what_they_are_written_for() -> None:
    shares, draws = CaptionShares(synonym=0.5), generator()
    for _ in range(500):
        caption = draw_caption(FULL, shares, draws)
        text = write_caption(caption, shares, draws)
        assert parse_caption(text) == caption, text
        assert " a a" not in f" {text}", "the article fits"


def test_captions_leave_out_as_much_as_asked_whatever_the_picture() -> None:
    shares = CaptionShares()
    for full in (FULL, Caption("cube", "red", "back", "low angle")):
        draws = generator(1)
        drawn = [draw_caption(full, shares, draws) for _ in range(4000)]
        empty = [caption for caption in drawn if caption == Caption()]
        assert len(empty) / 4000 == pytest.approx(shares.empty, abs=0.02)
        assert all(caption.degraded == full.degraded for caption in drawn if caption != Caption())
    said = [caption for caption in drawn if caption != Caption()]
    assert sum(caption.colour is None for caption in said) / len(said) == pytest.approx(shares.without_colour, abs=0.02)


# --- batches ----------------------------------------------------------------------------------------------------------


def test_every_shape_lacks_one_colour_and_every_colour_two_or_three_shapes() -> None:
    assert tuple(HELD_OUT) == SHAPE_NAMES
    assert set(Counter(HELD_OUT.values())) == set(COLOURS)
    assert set(Counter(HELD_OUT.values()).values()) == {2, 3}
    assert is_held_out("duck", "grey")
    assert not is_held_out("duck", "yellow")
    assert not is_held_out(None, "grey")


def test_the_held_out_table_is_the_draw_that_it_says() -> None:
    draws = generator(7)
    colours = torch.cat([torch.randperm(len(COLOURS), generator=draws) for _ in range(3)])[: len(SHAPE_NAMES)]
    assert list(HELD_OUT.values()) == [list(COLOURS)[index] for index in colours.tolist()]


def test_batches_are_the_exact_priors_distribution_without_the_held_out_pairs(world: World) -> None:
    draws = generator()
    full = [caption for _ in range(20) for caption in draw_batch(world, 200, draws).full]
    assert not [caption for caption in full if is_held_out(caption.shape, caption.colour)]
    assert sum(caption.degraded for caption in full) / 4000 == pytest.approx(DEGRADED_SHARE, abs=0.02)
    shapes = Counter(caption.shape for caption in full)
    assert set(shapes) == set(SHAPE_NAMES)
    assert max(shapes.values()) < 1.5 * 4000 / len(SHAPE_NAMES)
    left_out = draw_batch(world, 50, draws, colours="held out").full
    assert all(is_held_out(caption.shape, caption.colour) for caption in left_out)


def test_a_picture_is_a_likely_one_of_its_own_caption(world: World) -> None:
    """The exact prior finds the pictures of batches far more likely under their own captions than under others'."""
    prior = ExactPrior(world.clean, world.degraded)
    batch = draw_batch(world, 24, generator(), CaptionShares(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    pictures = (batch.latents + 1) / 2
    own = torch.cat([prior.log_likelihood(pictures[i : i + 1], 0.02, text) for i, text in enumerate(batch.texts)])
    everything = prior.log_likelihood(pictures, 0.02, "")
    assert bool((own - everything > -1e-6).all())
    assert float((own - everything).mean()) > math.log(100)


def test_a_batch_follows_from_its_generator(world: World) -> None:
    one, two, other = (draw_batch(world, 8, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.latents, two.latents)
    assert one.texts == two.texts
    assert not torch.equal(one.latents, other.latents)


def test_timesteps_are_uniform_and_one_in_every_part() -> None:
    draws = generator()
    drawn = torch.stack([stratified_timesteps(8, 1000, draws) for _ in range(500)])
    assert bool((drawn.sort(dim=1).values // 125 == torch.arange(8)).all())
    assert float(drawn.double().mean()) == pytest.approx(499.5, abs=10)
    assert float(drawn[:, 0].double().std()) == pytest.approx(288.7, abs=20)


# --- targets ----------------------------------------------------------------------------------------------------------


def noisy(world: World, shares: CaptionShares, timestep: int, count: int = 12):
    draws = generator(timestep)
    batch = draw_batch(world, count, draws, shares)
    noise = torch.randn(batch.latents.shape, generator=draws)
    at = torch.full((count,), timestep)
    alpha, sigma = NoiseSchedule.stable_diffusion().at(at, noise)
    return batch, noise, at, alpha * batch.latents + sigma * noise


@pytest.mark.parametrize("timestep", [100, 500, 900])
def test_the_expected_noise_is_the_exact_priors_where_the_caption_says_all(world: World, timestep: int) -> None:
    batch, _, at, latents = noisy(world, CaptionShares(0.0, 0.0, 0.0, 0.0, 0.0, 0.0), timestep)
    found = ExpectedNoise(world, NoiseSchedule.stable_diffusion())(batch, latents, at)
    exact = ExactPrior(world.clean, world.degraded, dropped_mass=0.0)
    expected = exact.predict_noise(latents, at, {"text": list(batch.texts)})["text"]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("timestep", [100, 500, 900])
def test_the_expected_noise_scatters_less_about_the_same_mean(world: World, timestep: int) -> None:
    """Both have the mean E[noise | noisy, caption], so drawn less expected is orthogonal to all that is a function of
    what is given; its share of the noise is what the target no longer has to carry."""
    batch, noise, at, latents = noisy(world, CaptionShares(), timestep, count=200)
    found = ExpectedNoise(world, NoiseSchedule.stable_diffusion())(batch, latents, at)
    left = noise - found
    assert 0.0 < float(left.square().mean()) < 0.1
    correlation = (left * found).flatten(1).sum(dim=1) / found.flatten(1).square().sum(dim=1)
    assert abs(float(correlation.mean())) < 4 * float(correlation.std()) / math.sqrt(200) + 1e-3
