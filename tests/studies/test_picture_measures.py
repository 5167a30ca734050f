"""What pictures are measured by: flat ones, striped ones, and errors in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.training.classifier import load_classifier
from limbeck_server.studies import pictures
from limbeck_server.studies.picture_measures import Figure, figure, hits, looks, table


def test_a_grey_picture_has_neither_saturation_nor_contrast_nor_detail() -> None:
    found = looks(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5))
    assert all(bool((values == 0).all()) and values.shape == (2,) for values in found.values())


def test_stripes_of_black_and_white_are_all_contrast() -> None:
    stripes = torch.zeros(1, 3, 8, 8)
    stripes[..., ::2] = 1.0
    found = looks(2 * stripes - 1, stripes)
    assert float(found["contrast"]) == pytest.approx(0.5)
    assert float(found["detail"]) == pytest.approx(0.5), "every neighbour across differs, none up or down"
    assert float(found["saturation"]) == 0.0


def test_pure_red_is_saturated_and_what_lies_outside_is_burnt() -> None:
    red = torch.zeros(1, 3, 4, 4)
    red[:, 0] = 1.0
    latents = 2 * red - 1
    latents[:, 0, :2] = 1.5
    found = looks(latents, red)
    assert float(found["saturation"]) == 1.0
    assert float(found["burnt"]) == pytest.approx(1 / 6)


def test_a_mean_has_the_error_of_its_sample() -> None:
    found = figure(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert (found.mean, found.error) == (2.5, pytest.approx((5 / 3) ** 0.5 / 2))
    assert math.isnan(figure(torch.tensor([1.0])).error)
    assert (str(found), str(Figure(1.0, math.nan))) == ("2.500 (0.645)", "1.000")


def test_true_pictures_are_hits_and_others_are_not() -> None:
    buffers = pictures.true_buffers("duck", 32)
    yellow = pictures.compose_picture(buffers, torch.tensor(COLOURS["yellow"]), torch.full((3,), 0.35))
    classifier = load_classifier()
    assert {name: float(right) for name, right in hits(classifier, yellow, ["a yellow duck"]).items()} == {
        "colour": 1.0,
        "shape": 1.0,
        "both": 1.0,
    }
    wrong = hits(classifier, yellow, ["a yellow cube"])
    assert (float(wrong["colour"]), float(wrong["shape"]), float(wrong["both"])) == (1.0, 0.0, 0.0)


def test_a_table_has_every_column_that_any_row_names() -> None:
    lines = table({"one": {"a": "1"}, "two": {"a": "2", "b": "3"}})
    assert lines[0].split() == ["a", "b"]
    assert lines[1].split() == ["one", "1", "-"]
