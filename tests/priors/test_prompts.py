"""View words and the negative prompt."""

from __future__ import annotations

import doctest
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limbeck_server.priors import prompts
from limbeck_server.priors.prompts import (
    NEGATIVE_PROMPT,
    OVERHEAD_ELEVATION_DEG,
    VIEW_SUFFIXES,
    negative_views,
    view_negatives,
    view_suffix,
)


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "suffix"),
    [
        (0, 15, ", front view"),
        (45, 15, ", front view"),
        (-45, -10, ", front view"),
        (46, 15, ", side view"),
        (-90, 15, ", side view"),
        (134, 15, ", side view"),
        (135, 15, ", back view"),
        (180, 15, ", back view"),
        (-180, 60, ", back view"),
        (225, 15, ", back view"),
        (360, 15, ", front view"),
        (0, 61, ", overhead view"),
        (180, 90, ", overhead view"),
    ],
)
def test_view_words_follow_the_camera(azimuth_deg: float, elevation_deg: float, suffix: str) -> None:
    assert view_suffix(azimuth_deg, elevation_deg) == suffix


@given(azimuth_deg=st.floats(-180, 180), elevation_deg=st.floats(-90, 90))
def test_view_words_are_mirrored_and_periodic(azimuth_deg: float, elevation_deg: float) -> None:
    here = view_suffix(azimuth_deg, elevation_deg)
    assert here in VIEW_SUFFIXES
    assert view_suffix(-azimuth_deg, elevation_deg) == here
    edges = [abs(abs(azimuth_deg) - edge) for edge in (45, 135)]
    if min(edges) > 1e-9:  # adding 360 rounds an azimuth that sits on an edge
        assert view_suffix(azimuth_deg + 360, elevation_deg) == here


@pytest.mark.parametrize(
    ("azimuth_deg", "front", "side"),
    [
        # threestudio's -(a exp(-b r) + c), worked out by hand.
        (0, 0.0, -1.574),
        (45, -(4 * math.exp(-0.25) - 2.426), -(4 * math.exp(-0.25) - 2.426)),
        (89.999, -1.574, 0.0),
        (90, -(math.exp(-0.5) + 0.967), -(math.exp(-0.5) - 0.606)),
        (-135, -(math.exp(-0.25) + 0.967), -(math.exp(-0.25) - 0.606)),
        (180, -1.967, -0.394),
    ],
)
def test_the_weights_of_opposite_views_are_the_published_ones(azimuth_deg: float, front: float, side: float) -> None:
    (first, front_weight), (second, side_weight) = negative_views(azimuth_deg, 15.0)
    assert (first, second) == ("front", "side")
    assert (front_weight, side_weight) == pytest.approx((front, side), abs=2e-4)


@given(azimuth_deg=st.floats(-180, 180), elevation_deg=st.floats(-90, 90))
def test_there_are_always_two_opposites_that_repel_the_same_on_both_sides(
    azimuth_deg: float, elevation_deg: float
) -> None:
    here = negative_views(azimuth_deg, elevation_deg)
    assert len(here) == 2
    assert all(weight <= 0.0 for _, weight in here)
    mirrored = negative_views(-azimuth_deg, elevation_deg)
    assert [weight for _, weight in mirrored] == pytest.approx([weight for _, weight in here], abs=1e-12)
    assert (elevation_deg > OVERHEAD_ELEVATION_DEG) == (here == (("front", 0.0), ("side", 0.0)))


def test_the_weights_of_opposites_have_no_jumps_around_the_object() -> None:
    weights = [[weight for _, weight in negative_views(azimuth / 4, 0.0)] for azimuth in range(-720, 721)]
    for before, after in itertools.pairwise(weights):
        assert before == pytest.approx(after, abs=0.01)


def test_the_opposites_texts_are_view_suffixes() -> None:
    assert [suffix for suffix, _ in view_negatives(10.0, 0.0)] == [", front view", ", side view"]
    assert [weight for _, weight in view_negatives(10.0, 0.0)] == [weight for _, weight in negative_views(10.0, 0.0)]


def test_the_negative_prompt_is_nfsds_ten_terms() -> None:
    terms = NEGATIVE_PROMPT.split(", ")
    assert len(terms) == 10
    assert (terms[0], terms[-1]) == ("unrealistic", "gloomy")


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(prompts).failed == 0
