"""`limbeck prior`: a short training, gone on with, scored, looked at; sentences for what cannot be done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHORT = ("--views", "6", "--batch", "2", "--device", "cpu")


@pytest.fixture(scope="module")
def trained(limbeck, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps."""
    folder = tmp_path_factory.mktemp("run") / "prior"
    answer = limbeck("prior", "train", "--out", str(folder), "--iterations", "2", *SHORT, "--json")
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert (said["iterations_done"], said["batch"], said["views_per_shape"]) == (2, 2, 6)
    assert said["model"] == str(folder / "model")
    assert "The model is in" in answer.stderr
    return folder


def test_training_leaves_model_log_samples_and_state(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"model", "log.jsonl", "samples-0000002.png", "state.json", "state-0000002.safetensors"} <= names
    assert (trained / "model" / "model_index.json").is_file()


def test_training_goes_on_where_it_was_and_keeps_its_settings(limbeck, trained: Path) -> None:
    answer = limbeck("prior", "train", "--out", str(trained), "--iterations", "3", "--json")
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert (said["iterations_done"], said["iterations"], said["batch"]) == (3, 3, 2)
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [2, 3]


def test_a_trained_model_is_scored(limbeck, trained: Path) -> None:
    few = ("--prompts", "2", "--samples", "1", "--steps", "1", "--pictures", "1", "--device", "cpu")
    answer = limbeck("prior", "score", str(trained / "model"), *few, "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert {"seen", "unseen", "truth", "azimuth", "denoising", "training", "seed", "seconds"} <= set(found)
    assert found["seen"]["pictures"] == found["unseen"]["pictures"] == 2
    assert all(row["error"] > 0 for row in found["denoising"])
    assert found["training"]["views_per_shape"] == 6
    # The second judge, and the distance that its features give.
    assert all(set(found[row]["classifier"]) >= {"colour", "shape", "both"} for row in ("seen", "unseen", "truth"))
    assert found["frechet"] > 0
    table = limbeck("prior", "score", str(trained / "model"), *few[:-4], "--pictures", "0", "--device", "cpu")
    assert table.returncode == 0, table.stderr
    assert all(words in table.stdout for words in ("seen pairs", "unseen pairs", "the world itself", "view as asked"))
    assert all(
        words in table.stdout for words in ("as the exact prior sees it", "as the classifier sees it", "Frechet")
    )
    assert "timestep" not in table.stdout


def test_a_classifier_is_trained_and_says_how_good_it_is(limbeck, tmp_path: Path) -> None:
    out = tmp_path / "classifier"
    answer = limbeck("prior", "classifier", "--out", str(out), "--iterations", "2", "--views", "2", "--json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["accuracy"]["pictures"] == 4 * 28
    assert found["parameters"] <= 400_000
    assert {path.name for path in out.iterdir()} == {"classifier.safetensors", "classifier.json", "log.jsonl"}
    assert "Right about 112 pictures of other views" in answer.stderr


def test_a_sheet_of_samples_is_drawn(limbeck, trained: Path, tmp_path: Path) -> None:
    prompts = ("--prompt", "a red cube", "--prompt", "a blue torus, back view")
    answer = limbeck("prior", "samples", str(trained / "model"), *prompts, "--steps", "1", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "samples.png").stat().st_size > 500
    assert "a red cube, a blue torus, back view" in answer.stderr


def test_a_trained_model_is_made_ready_to_ship(limbeck, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "shipped"
    answer = limbeck("prior", "export", str(trained), "--out", str(out), "--without-score", "--device", "cpu", "--json")
    assert answer.returncode == 0, answer.stderr
    said = json.loads(answer.stdout)
    assert (said["out"], said["scored"]) == (str(out), False)
    assert 8e6 < said["bytes"] < 15e6
    assert {path.name for path in out.iterdir()} >= {"model_index.json", "log.jsonl", "samples.png", "README.md"}
    (tmp_path / "score.json").write_text("[]")
    refused = limbeck("prior", "export", str(trained), "--out", str(out), "--score", str(tmp_path / "score.json"))
    assert refused.returncode != 0
    assert "lacks azimuth" in refused.stderr


# what is refused -> (arguments after `prior`, words that the sentence must hold)
REFUSED: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "no such model": (["samples", "nowhere"], ("'nowhere'", "model_index.json")),
    "no model of this world": (["score", "empty"], ("model_index.json",)),
    "an unknown word": (["samples", "MODEL", "--prompt", "a zeppelin"], ("zeppelin", "duck")),
    "a folder's place taken": (["train", "--out", "taken"], ("taken", "--out")),
    "a file in the classifier's place": (["classifier", "--out", "taken"], ("taken", "--out")),
    "other settings": (["train", "--out", "RUN", "--batch", "7"], ("batch 2", "another folder")),
    "no such device": (["samples", "MODEL", "--device", "tpu"], ("tpu", "cuda")),
    "nowhere to write": (["samples", "MODEL", "--out", "none/sheet.png"], ("none",)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_a_sentence(limbeck, trained: Path, tmp_path: Path, case: str) -> None:
    arguments, words = REFUSED[case]
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "empty").mkdir()
    places = {"MODEL": str(trained / "model"), "RUN": str(trained)}
    answer = limbeck("prior", *(places.get(argument, argument) for argument in arguments), cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert all(word in answer.stderr for word in words), answer.stderr


@pytest.mark.slow
def test_an_interrupted_training_saves_its_state_and_says_how_to_go_on(home: Path, tmp_path: Path) -> None:
    command = ["prior", "train", "--out", str(tmp_path), "--iterations", "100000", *SHORT]
    process = subprocess.Popen(
        [sys.executable, "-m", "limbeck_server.cli", *command],
        env={**os.environ, "LIMBECK_HOME": str(home)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "log.jsonl").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert "the same command goes on from here" in told
    done = json.loads((tmp_path / "state.json").read_text())["iteration"]
    lines = [json.loads(line)["iteration"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1] == done
    assert (tmp_path / "model" / "limbeck.json").is_file()
