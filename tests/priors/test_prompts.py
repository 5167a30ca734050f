"""View words and the negative prompt."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limbeck_server.priors import prompts
from limbeck_server.priors.prompts import NEGATIVE_PROMPT, VIEW_SUFFIXES, view_suffix


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


def test_the_negative_prompt_is_nfsds_ten_terms() -> None:
    terms = NEGATIVE_PROMPT.split(", ")
    assert len(terms) == 10
    assert (terms[0], terms[-1]) == ("unrealistic", "gloomy")


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(prompts).failed == 0
