"""The classifier: the same seed makes the same one, what ships is small and right about pictures it never saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture
from limbeck_server.known_world.views import halve, render_block
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.training.batches import load_world
from limbeck_server.priors.training.classifier import (
    CARD,
    FOLDER,
    WEIGHTS,
    Classifier,
    ClassifierArchitecture,
    build_classifier,
    classifier_card,
    judge_by_classifier,
    load_classifier,
    save_classifier,
)
from limbeck_server.priors.training.classifier_training import ClassifierSettings, draw_pictures, train_classifier
from limbeck_server.priors.training.held_out import HELD_OUT
from limbeck_server.priors.training.settings import TrainingError
from limbeck_server.priors.training.trainer import Step
from torch import Tensor

TINY = ClassifierSettings(
    iterations=12,
    batch=8,
    warm_up=2,
    views_per_shape=4,
    architecture=ClassifierArchitecture(8, (8, 8), (2, 1), 4),
)
UNSEEN_BLOCK = 20
"""Views 960 to 1007 of a shape: neither the classifier's training nor its test has them."""


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return load_classifier()


@pytest.fixture(scope="module")
def unseen() -> dict[str, Tensor]:
    """Shape -> buffers (48, 5, 32, 32) of views that nothing was trained on."""
    names = ("duck", "car", "torus", "table", "mushroom")
    return {name: halve(render_block(name, UNSEEN_BLOCK)).float() / 255 for name in names}


def pictures_of(buffers: Tensor, colour: str, grey: float = 0.35) -> Tensor:
    return compose_picture(buffers, torch.tensor(COLOURS[colour]), torch.full((3,), grey))


# --- training ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, training_views: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        train_classifier(replace(TINY, seed=seed), tmp_path / name, cache_folder=training_views)
    weights = [(tmp_path / name / WEIGHTS).read_bytes() for name in ("one", "two", "three")]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_training_tells_how_far_it_is_and_leaves_log_card_and_accuracy(tmp_path: Path, training_views: Path) -> None:
    steps: list[Step] = []
    found = train_classifier(TINY, tmp_path, cache_folder=training_views, progress=steps.append)
    assert [(step.iteration, step.iterations) for step in steps] == [(10, 12), (12, 12)]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [10, 12]
    card = classifier_card(tmp_path)
    assert card["accuracy"] == found["accuracy"]
    assert found["accuracy"]["pictures"] == 4 * 28
    assert (card["training"]["seed"], card["training"]["iterations"]) == (0, 12)


def test_it_learns(tmp_path: Path, training_views: Path) -> None:
    settings = replace(TINY, iterations=150, batch=32, views_per_shape=6, learning_rate=1e-2)
    found = train_classifier(settings, tmp_path, cache_folder=training_views)
    assert found["accuracy"]["colour"] > 0.25, "one of twelve would be chance"


def test_batches_hold_all_colours_all_shapes_and_what_a_screen_shows(training_views: Path) -> None:
    world = load_world(4, 8, training_views)
    shown = draw_pictures(world, replace(TINY, batch=600), torch.Generator().manual_seed(0))
    assert shown.pictures.shape == (600, 3, 8, 8)
    assert 0.0 <= float(shown.pictures.min()) < float(shown.pictures.max()) <= 1.0
    assert len(shown.shapes.unique()) == 28
    assert len(shown.colours.unique()) == 12


@pytest.mark.parametrize(
    ("change", "words"), [({"batch": 1}, "2 or more batch"), ({"views_per_shape": 1}, "2 or more")]
)
def test_a_training_that_could_not_work_is_refused(change: dict[str, int], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        replace(TINY, **change)


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_is_loaded_judges_as_what_was_saved(tmp_path: Path) -> None:
    made = build_classifier(ClassifierArchitecture(), 3).eval()
    save_classifier(made, tmp_path, {"note": "no training"})
    loaded = load_classifier(tmp_path)
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded.features(pictures), made.features(pictures), rtol=1e-2, atol=1e-2)
    assert classifier_card(tmp_path)["note"] == "no training"


def test_a_missing_or_damaged_classifier_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="limbeck prior classifier") as caught:
        load_classifier(tmp_path)
    assert caught.value.code == "MODEL_NOT_FOUND"
    save_classifier(build_classifier(ClassifierArchitecture(), 0), tmp_path, {})
    data = bytearray((tmp_path / WEIGHTS).read_bytes())
    data[-100] ^= 1
    (tmp_path / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(ModelError, match="is not what") as caught:
        load_classifier(tmp_path)
    assert caught.value.code == "MODEL_CORRUPT"
    for content in ("{", "[]", json.dumps({"sha256": "?"})):
        (tmp_path / CARD).write_text(content)
        with pytest.raises(ModelError, match="is damaged"):
            load_classifier(tmp_path)


# --- the one that ships -----------------------------------------------------------------------------------------------


def test_it_is_small_and_says_how_good_it_is(shipped: Classifier) -> None:
    assert sum(parameter.numel() for parameter in shipped.parameters()) <= 400_000
    assert (FOLDER / WEIGHTS).stat().st_size <= 1e6
    accuracy = classifier_card()["accuracy"]
    assert accuracy["colour"] >= 0.97
    assert accuracy["shape"] >= 0.97


def test_it_is_right_about_views_that_nothing_was_trained_on(shipped: Classifier, unseen: dict[str, Tensor]) -> None:
    for index, (name, buffers) in enumerate(unseen.items()):
        colour = list(COLOURS)[2 * index]
        found = judge_by_classifier(shipped, pictures_of(buffers, colour), [f"a {colour} {name}"] * len(buffers))
        assert found["colour"] >= 0.9, name
        assert found["shape"] >= 0.9, name


def test_it_knows_the_pairs_that_the_network_prior_never_sees(shipped: Classifier, unseen: dict[str, Tensor]) -> None:
    pictures = torch.cat([pictures_of(buffers, HELD_OUT[name], 0.8) for name, buffers in unseen.items()])
    texts = [f"a {HELD_OUT[name]} {name}" for name, buffers in unseen.items() for _ in buffers]
    assert judge_by_classifier(shipped, pictures, texts)["both"] >= 0.9


def test_larger_pictures_are_judged_by_their_mean_and_smaller_ones_refused(
    shipped: Classifier, unseen: dict[str, Tensor]
) -> None:
    pictures = pictures_of(unseen["duck"], "yellow")
    large = pictures.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(shipped.features(large), shipped.features(pictures), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="32 pixels or more"):
        shipped.words(pictures[:, :, ::2, ::2])
    with pytest.raises(ValueError, match="square pictures"):
        shipped.words(pictures[:, :, :, ::2])


def test_words_are_read_off_the_features(shipped: Classifier, unseen: dict[str, Tensor]) -> None:
    pictures = pictures_of(unseen["car"], "red")
    features = shipped.features(pictures)
    assert features.shape == (48, shipped.architecture.features)
    colours = features.float() @ shipped.colour.weight.T + shipped.colour.bias
    assert [list(COLOURS)[index] for index in colours.argmax(dim=1).tolist()] == shipped.words(pictures)["colour"]


def test_a_prompt_that_names_no_colour_is_right_about_it(shipped: Classifier, unseen: dict[str, Tensor]) -> None:
    pictures = pictures_of(unseen["duck"], "yellow")
    assert judge_by_classifier(shipped, pictures, ["a duck"] * 48)["colour"] == 1.0
    assert judge_by_classifier(shipped, pictures, ["a blue duck"] * 48)["colour"] < 0.1
