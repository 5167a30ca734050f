"""The loss's own parameters at the command line: how they are listed, read, and laid over `--set`."""

from __future__ import annotations

import pytest
from limbeck_protocol.errors import LimbeckError
from limbeck_server.cli.generate import read_parameters, read_settings


@pytest.mark.parametrize(
    ("pair", "value"),
    [("a=3", 3.0), ("a=1e-3", 0.001), (" a = -2 ", -2.0), ("a=product", "product"), ("a=b=c", "b=c"), ("a=3d", "3d")],
)
def test_what_is_written_as_a_number_is_one_and_all_else_is_a_word(pair: str, value: float | str) -> None:
    assert read_parameters([pair]) == {"a": value}


def test_parameters_stand_beside_those_that_were_set_and_go_before_them() -> None:
    others = ['loss_parameters={"bandwidth": 3.0, "sampler": "splitting"}', "field_resolution=48"]
    settings = read_settings(others, {"steps": 7}, read_parameters(["sampler=product", "bandwidth_min=0.5"]))
    assert settings.loss_parameters == {"bandwidth": 3.0, "sampler": "product", "bandwidth_min": 0.5}
    assert (settings.steps, settings.field_resolution) == (7, 48)
    assert read_settings([], {}, read_parameters([])) == read_settings([], {})


@pytest.mark.parametrize("pair", ["a", "=3", "a=", "", " = ", "a=nan", "a=-inf", "a=1e999"])
def test_a_pair_that_says_nothing_is_refused_with_what_was_wanted(pair: str) -> None:
    with pytest.raises(LimbeckError, match="--parameter wants"):
        read_parameters([pair])


def test_presets_lists_choices_beside_ranges(limbeck) -> None:
    answer = limbeck("presets")
    assert answer.returncode == 0, answer.stderr
    for line in (
        "    sampler = splitting (splitting | product): ",
        "    threshold = 200 (0..1000): ",
    ):
        assert line in answer.stdout, answer.stdout
