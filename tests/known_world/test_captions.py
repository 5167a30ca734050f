"""Captions are read as they are meant, written in many ways, and refused in sentences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from limbeck_server.known_world import captions as c
from limbeck_server.known_world.captions import Caption, compose_caption, parse_caption
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS

ANY_CAPTION = st.builds(
    Caption,
    shape=st.none() | st.sampled_from(SHAPE_NAMES),
    colour=st.none() | st.sampled_from(tuple(COLOURS)),
    azimuth=st.none() | st.sampled_from(c.AZIMUTH_WORDS),
    elevation=st.none() | st.sampled_from(c.ELEVATION_WORDS),
    degraded=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(ANY_CAPTION, st.integers(0, 2**31))
def test_what_is_composed_is_read_back_exactly(caption, seed):
    text = compose_caption(caption, torch.Generator().manual_seed(seed))
    assert parse_caption(text) == caption


def test_there_are_at_least_eight_templates():
    generator = torch.Generator().manual_seed(0)
    assert len({compose_caption(Caption("duck", "yellow"), generator) for _ in range(200)}) >= 8


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Caption()),
        ("  ", Caption()),
        ("something", Caption()),
        ("a duck", Caption("duck")),
        ("something red", Caption(colour="red")),
        ("A Photo of a YELLOW duck!", Caption("duck", "yellow")),
        ("a 3-D render of an orange airplane", Caption("airplane", "orange")),
        ("a gray rubber duck", Caption("duck", "grey")),
        ("a yellow duck, front view", Caption("duck", "yellow", "front")),
        ("a yellow duck, front left view, eye-level", Caption("duck", "yellow", "front left", "eye level")),
        ("a chair seen from behind, from above", Caption("chair", None, "back", "high angle")),
        ("a mug, low angle, low contrast", Caption("mug", None, None, "low angle", True)),
        ("a blurry house, out of focus", Caption("house", degraded=True)),
        (c.NEGATIVE_PROMPT, Caption(degraded=True)),
        ("a red red cube, a box", Caption("cube", "red")),
    ],
)
def test_captions_mean_what_they_say(text, expected):
    assert parse_caption(text) == expected


def test_the_negative_prompt_has_all_ten_quality_terms():
    assert c.NEGATIVE_PROMPT == (
        "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a unicorn", ("unicorn",)),
        ("a blue hippo on a skateboard, a hippo", ("hippo", "skateboard")),
        ("no duck", ("no",)),
        ("ducks", ("ducks",)),
        ("a duck \N{DUCK}", ("\N{DUCK}",)),
        ("\u9e2d", ("\u9e2d",)),
        ("a duck's hat", ("duck's", "hat")),
    ],
)
def test_unknown_words_are_named_and_the_vocabulary_is_shown(text, words):
    with pytest.raises(c.UnknownWordError) as error:
        parse_caption(text)
    assert error.value.words == words
    for expected in (*words, *SHAPE_NAMES, *COLOURS, "--prior stable-diffusion"):
        assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("a duck and a car", "duck", "car"),
        ("a red blue cube", "red", "blue"),
        ("a duck, front view, back view", "front", "back"),
        ("a duck from above, low angle", "high angle", "low angle"),
    ],
)
def test_contradictions_are_refused_in_a_sentence_of_their_own(text, first, second):
    with pytest.raises(c.ContradictoryCaptionError, match=f'"{first}" and "{second}"'):
        parse_caption(text)


def test_a_caption_outside_the_vocabulary_cannot_be_made():
    with pytest.raises(ValueError, match="a caption's shape is one of"):
        Caption(shape="unicorn")


@pytest.mark.parametrize(
    ("azimuth_deg", "word"),
    [
        (0.0, "front"),
        (22.0, "front"),
        (-22.0, "front"),
        (23.0, "front left"),
        (90.0, "left side"),
        (135.0, "back left"),
        (180.0, "back"),
        (-180.0, "back"),
        (-135.0, "back right"),
        (-90.0, "right side"),
        (315.0, "front right"),
        (359.999, "front"),
        (720.0, "front"),
        (-1e-15, "front"),
    ],
)
def test_azimuth_words_are_centred_sectors(azimuth_deg, word):
    assert c.azimuth_word(azimuth_deg) == word


def test_elevation_words_change_at_5_and_25_degrees():
    assert [c.elevation_word(angle) for angle in (-90.0, 4.9, 5.0, 25.0, 25.1, 90.0)] == [
        *("low angle", "low angle", "eye level", "eye level", "high angle", "high angle")
    ]


@given(st.floats(-720.0, 720.0), st.floats(-90.0, 90.0))
def test_a_view_suffix_completes_any_prompt(azimuth_deg, elevation_deg):
    caption = parse_caption("a yellow duck" + c.view_suffix(azimuth_deg, elevation_deg))
    assert caption == Caption("duck", "yellow", c.azimuth_word(azimuth_deg), c.elevation_word(elevation_deg))


def test_every_word_of_the_vocabulary_is_read():
    words = c.vocabulary()
    for kind in ("shapes", "colours", "azimuths", "elevations", "degradations"):
        for word in words[kind]:
            assert parse_caption(word) != Caption()
    assert words["shapes"] == list(SHAPE_NAMES)
