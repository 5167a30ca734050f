"""`limbeck edit` for jobs and for pictures: real server, real workers, the exact prior."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limbeck_protocol.errors import LimbeckError
from limbeck_server.cli.edit_picture import edit_picture_file, read_picture
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.priors import stable_diffusion
from limbeck_server.priors.prior import ModelError
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
    Image.fromarray(pixels).resize((200, 200)).save(place / "large.png")
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
    assert summary["size"] == [64, 64]
    assert hue_error_deg(mean_colour(folder / "mug.png"), COLOURS["red"]) <= 5.0
    assert hue_error_deg(mean_colour(folder / "a-blue-mug.png"), COLOURS["blue"]) <= 15.0
    before, after = (np.asarray(Image.open(folder / name).convert("RGB")) for name in ("mug.png", "a-blue-mug.png"))
    assert after.shape == before.shape
    # The background is kept.
    assert np.abs(after[:10].astype(int) - before[:10]).mean() <= 4.0


def test_the_network_edits_with_its_own_defaults(limbeck, folder: Path) -> None:
    """Stable Diffusion's guidance scale, made for latents, makes this model's pictures glow."""
    arguments = ("edit", "mug.png", "a blue mug", "--from", "a red mug", "--prior", "network", "--out", "net.png")
    answer = limbeck(*arguments, "--json", cwd=folder, timeout_s=600)
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    assert (summary["steps"], summary["guidance_scale"], summary["learning_rate"]) == (200, 3.0, 0.05)
    assert summary["size"] == [32, 32]
    edited = np.asarray(Image.open(folder / "net.png").convert("RGB"))[12:22, 10:18] / 255.0
    assert hue_error_deg(edited.mean(axis=(0, 1)).tolist(), COLOURS["blue"]) <= 15.0
    assert edited.max() <= 0.99


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_name_that_is_taken_stays_and_the_size_that_comes_back_is_said(limbeck, folder: Path, tmp_path: Path) -> None:
    """The picture to edit has the very name that the result would have, and the next one is taken as well."""
    shutil.copy(folder / "large.png", tmp_path / "a-red-mug.png")
    (tmp_path / "a-red-mug-2.png").write_text("mine")
    before = (tmp_path / "a-red-mug.png").read_bytes()
    arguments = ("edit", "a-red-mug.png", "a red mug", "--from", "a red mug", "--steps", "2", "--json")
    answer = limbeck(*arguments, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    summary = json.loads(answer.stdout)
    assert (summary["out"], summary["size"]) == ("a-red-mug-3.png", [64, 64])
    assert "edited at 64 x 64 pixels" in answer.stderr
    assert size_of(tmp_path / "a-red-mug-3.png") == (64, 64)
    assert (tmp_path / "a-red-mug.png").read_bytes() == before
    assert (tmp_path / "a-red-mug-2.png").read_text() == "mine"
    # A name that is given is meant.
    assert limbeck(*arguments, "--out", "a-red-mug-2.png", cwd=tmp_path).returncode == 0
    assert size_of(tmp_path / "a-red-mug-2.png") == (64, 64)


def test_a_picture_is_never_its_own_result(limbeck, folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "mug.png", tmp_path / "mug.png")
    (tmp_path / "link.png").symlink_to("mug.png")
    before = (tmp_path / "mug.png").read_bytes()
    for out in ("mug.png", "./mug.png", str(tmp_path / "mug.png"), "link.png"):
        answer = limbeck("edit", "mug.png", "a blue mug", "--from", "a red mug", "--out", out, cwd=tmp_path)
        assert answer.returncode == 1, answer.stderr
        assert "would be lost. Give another name with --out." in answer.stderr
    assert (tmp_path / "mug.png").read_bytes() == before


def test_a_telephones_picture_is_read_the_right_way_up(tmp_path: Path) -> None:
    """Stored lying on its side, with a note that says so."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:8] = 255
    stored = Image.fromarray(np.rot90(pixels).copy())
    exif = stored.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    stored.save(tmp_path / "photograph.png", exif=exif)
    assert torch.equal(
        read_picture(tmp_path / "photograph.png")[0, 0], torch.from_numpy(pixels[..., 0] / 255.0).float()
    )


def test_without_a_server_downloads_are_allowed_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Nothing is fetched here: only what is passed on is looked at, and what is said without leave."""
    asked: list[bool] = []

    def noted(model: str, device: Any, dtype: Any, allow_download: bool = False) -> None:
        asked.append(allow_download)
        raise ModelError("MODEL_NOT_FOUND", "not here")

    monkeypatch.setattr(stable_diffusion, "load_stable_diffusion", noted)
    for value, allowed in (("1", True), ("0", False)):
        monkeypatch.setenv("LIMBECK_ALLOW_DOWNLOAD", value)
        with pytest.raises(LimbeckError):
            edit_picture_file(
                folder / "mug.png", "a dog", "a cat", "owner/none", {}, 0, tmp_path / "out.png", as_json=False
            )
        assert asked.pop() is allowed


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
    "picture with a seed that no generator takes": (
        ["mug.png", "a blue mug", "--from", "a red mug", "--seed", "99999999999999999999999"],
        ("--seed", "between 0 and 9223372036854775807", "99999999999999999999999", "Correct the option"),
    ),
    "picture with a negative seed": (
        ["mug.png", "a blue mug", "--from", "a red mug", "--seed", "-1"],
        ("--seed", "between 0 and", "-1"),
    ),
    "a name longer than names are": (["a" * 300, "a blue mug"], ("neither a picture", "limbeck jobs list")),
    "a picture's name longer than names are": (
        ["a" * 300 + ".png", "a blue mug", "--from", "a red mug"],
        ("cannot be read",),
    ),
    "a result's name longer than names are": (
        ["mug.png", "a blue mug", "--from", "a red mug", "--out", "a" * 300 + ".png"],
        ("name",),
    ),
    "a mesh as a picture": (["01JD4ZK7Q5R8M2N3P4S5T6V7W8", "a blue mug", "--out", "mug.png"], (".glb", "mug.png")),
    "setting without value": (
        ["01JD4ZK7Q5R8M2N3P4S5T6V7W8", "a blue mug", "--set", "steps"],
        ("NAME=VALUE", "--set field_resolution=48"),
    ),
    "missing model": (
        ["mug.png", "a dog", "--from", "a cat", "--prior", "nobody/nothing"],
        ("hf download nobody/nothing", "LIMBECK_ALLOW_DOWNLOAD=1"),
    ),
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
