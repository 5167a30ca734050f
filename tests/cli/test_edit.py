"""`limbeck edit` for jobs and for pictures: real server, real workers, the exact prior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.scene.cameras import orbit_views
from limbeck_server.starts import hue_error_deg
from PIL import Image

SMALL = ("--set", "mesh_resolution=32", "--set", "texture_size=64", "--set", "face_budget=500")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands run: with a picture of a red mug, and some that are none."""
    place = tmp_path_factory.mktemp("work")
    view = orbit_views(torch.tensor([20.0]), torch.tensor([15.0]), torch.tensor([2.05]), torch.tensor([41.0]))
    buffers = render_buffers(SHAPES["mug"], view, 64)
    picture = compose_picture(buffers, torch.tensor(COLOURS["red"]), torch.full((3,), 0.7))[0]
    pixels = (picture.permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
    Image.fromarray(pixels).save(place / "mug.png")
    Image.fromarray(pixels[:40]).save(place / "wide.png")
    (place / "text.png").write_text("no picture")
    (place / "note.txt").write_text("no picture")
    return place


@pytest.fixture(scope="module")
def red(limbeck, folder: Path) -> dict[str, Any]:
    answer = limbeck(
        "generate", "a red sphere", "--preset", "quick", "--threads", "1", "--steps", "60",
        "--set", "field_resolution=24", *SMALL, "--json", "--out", "red.glb", cwd=folder, timeout_s=600,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    summary: dict[str, Any] = json.loads(answer.stdout)
    return summary


def test_a_job_is_edited_into_another_one(limbeck, red: dict[str, Any], folder: Path) -> None:
    answer = limbeck("edit", red["job_id"], "a blue sphere", "--steps", "60", "--json", cwd=folder, timeout_s=600)
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    recipe = summary["recipe"]
    assert recipe["start"] == {"job_id": red["job_id"], "prompt": "a red sphere"}
    assert (recipe["loss"], recipe["preset"], recipe["settings"]["steps"]) == ("dds", "quick", 60)
    assert recipe["settings"]["field_resolution"] == 24
    assert recipe["settings"]["texture_size"] == 64
    assert summary["prior_evaluations"] == 4 * 60
    assert summary["metrics"]["hue_error_deg"] <= 15.0
    assert summary["metrics"]["iou_with_start"] >= 0.85
    assert summary["out"] == "a-blue-sphere.glb"
    assert (folder / "a-blue-sphere.glb").read_bytes()[:4] == b"glTF"


def test_another_loss_and_other_words_for_the_start_are_taken(limbeck, red: dict[str, Any], folder: Path) -> None:
    answer = limbeck(
        "edit", red["job_id"], "a red ball", "--loss", "nfsd", "--from", "a red ball", "--steps", "3", "--seed", "5",
        "--parameter", "threshold=100", "--json", cwd=folder, timeout_s=600,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    recipe = json.loads(answer.stdout)["recipe"]
    assert (recipe["loss"], recipe["seed"], recipe["start"]["prompt"]) == ("nfsd", 5, "a red ball")
    assert recipe["settings"]["loss_parameters"] == {"threshold": 100.0}


def mean_colour(path: Path) -> tuple[float, float, float]:
    """Of the middle of the picture, where the mug's body is."""
    red, green, blue = (np.asarray(Image.open(path).convert("RGB"))[24:44, 20:36] / 255.0).mean(axis=(0, 1)).tolist()
    return red, green, blue


def test_a_picture_is_edited_without_a_server(limbeck, folder: Path) -> None:
    arguments = ("edit", "mug.png", "a blue mug", "--from", "a red mug", "--seed", "3", "--json")
    answer = limbeck(*arguments, cwd=folder, timeout_s=600)
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    assert (summary["out"], summary["steps"], summary["seed"]) == ("a-blue-mug.png", 200, 3)
    assert summary["prior_evaluations"] == 4 * 200
    assert hue_error_deg(mean_colour(folder / "mug.png"), COLOURS["red"]) <= 5.0
    assert hue_error_deg(mean_colour(folder / "a-blue-mug.png"), COLOURS["blue"]) <= 15.0
    before, after = (np.asarray(Image.open(folder / name).convert("RGB")) for name in ("mug.png", "a-blue-mug.png"))
    assert after.shape == before.shape
    # The background is kept.
    assert np.abs(after[:10].astype(int) - before[:10]).mean() <= 4.0


# name -> (arguments after `edit`, words that the sentence must hold)
TABLE: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "unknown job": (["01JD4ZK7Q5R8M2N3P4S5T6V7W8", "a blue mug"], ("no job", "01JD4ZK7Q5R8M2N3P4S5T6V7W8")),
    "neither job nor picture": (["mug", "a blue mug"], ("neither a picture", "'mug'", "limbeck jobs list")),
    "missing picture": (["nowhere.png", "a blue mug", "--from", "a red mug"], ("nowhere.png",)),
    "text as a picture": (["text.png", "a blue mug", "--from", "a red mug"], ("text.png", "cannot be read")),
    "text file": (["note.txt", "a blue mug", "--from", "a red mug"], ("note.txt", "cannot be read")),
    "wide picture": (["wide.png", "a blue mug", "--from", "a red mug"], ("64 x 40", "square", "Crop")),
    "picture without its own prompt": (["mug.png", "a blue mug"], ("two prompts", "--from")),
    "picture to nothing": (["mug.png", " ", "--from", "a red mug"], ("two prompts",)),
    "picture with another loss": (
        ["mug.png", "a blue mug", "--from", "a red mug", "--loss", "sds", "--set", "steps=3"],
        ("--loss", "--set", "dds alone"),
    ),
    "picture of a gryphon": (["mug.png", "a blue gryphon", "--from", "a red mug"], ("gryphon",)),
    "picture that was a gryphon": (["mug.png", "a blue mug", "--from", "a red gryphon"], ("gryphon",)),
    "picture in no steps": (["mug.png", "a blue mug", "--from", "a red mug", "--steps", "0"], ("steps", "1 and")),
    "picture as a mesh": (["mug.png", "a blue mug", "--from", "a red mug", "--out", "mug.glb"], (".png",)),
    "unknown model": (
        ["mug.png", "a blue mug", "--from", "a red mug", "--prior", "./nowhere/model"],
        ("nowhere",),
    ),
    "unwritable output": (["mug.png", "a blue mug", "--from", "a red mug", "--out", "no/mug.png"], ("no",)),
}


@pytest.mark.parametrize("name", TABLE)
def test_bad_input_gets_a_sentence_and_loses_nothing(name: str, limbeck, folder: Path) -> None:
    arguments, words = TABLE[name]
    before = sorted(path.name for path in folder.rglob("*"))
    answer = limbeck("edit", *arguments, cwd=folder)
    assert answer.returncode not in (0, None), answer.stdout
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    for word in words:
        assert word in answer.stderr, answer.stderr
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_bad_edits_of_a_job_get_a_sentence(limbeck, red: dict[str, Any], folder: Path) -> None:
    for arguments, words in (
        (("a blue gryphon",), ("gryphon",)),
        (("a blue sphere", "--set", "field=hash_grid"), ("field", "hash_grid", "voxels", "Leave field out")),
        (("a blue sphere", "--loss", "sdz"), ("sdz", "dds")),
        (("a blue sphere", "--from", "a red gryphon"), ("gryphon",)),
    ):
        answer = limbeck("edit", red["job_id"], *arguments, cwd=folder)
        assert answer.returncode == 1
        assert "Traceback" not in answer.stderr
        for word in words:
            assert word in answer.stderr, answer.stderr


def test_dds_from_nothing_says_what_to_do(limbeck, folder: Path) -> None:
    answer = limbeck("generate", "a blue mug", "--loss", "dds", "--preset", "quick", cwd=folder)
    assert answer.returncode == 1
    assert "edits something that exists" in answer.stderr
    assert "limbeck edit JOB 'a blue mug'" in answer.stderr
