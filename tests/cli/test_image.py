"""`limbeck image`: a real server, a real worker, the exact prior; and what is refused before a job begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = ("--size", "32", "--threads", "1")


@pytest.fixture(scope="module")
def made(limbeck, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("out")
    out = str(folder / "cube.png")
    answer = limbeck("image", "a red cube, front view", *SMALL, "--json", "--out", out)
    assert answer.returncode == 0, answer.stderr
    assert "cube (the prompt's own: " in answer.stderr
    return folder / "cube.png", json.loads(answer.stdout)


def test_json_is_one_object_with_what_scripts_need(made: tuple[Path, dict]) -> None:
    path, summary = made
    assert summary["state"] == "succeeded"
    assert summary["out"] == str(path)
    assert summary["recipe"]["image"] == {"generator": "latents", "size": 32}
    assert summary["recipe"]["preset"] == "image"
    names = [artifact["name"] for artifact in summary["artifacts"]]
    assert set(names) == {"image.png", "thumbnail.npy", "recipe.json", "metrics.json"}
    assert path.stat().st_size == next(a["size_bytes"] for a in summary["artifacts"] if a["name"] == "image.png")


def test_the_picture_shows_a_red_cube(made: tuple[Path, dict]) -> None:
    metrics = made[1]["metrics"]
    assert (metrics["seen_shape"], metrics["seen_colour"]) == ("cube", "red")
    with Image.open(made[0]) as file:
        assert file.size == (32, 32)
        red, green, blue = np.asarray(file, dtype=float)[12:20, 12:20].mean(axis=(0, 1))
    assert red > green + 50
    assert red > blue + 50


def test_a_picture_is_what_fetch_fetches_of_its_job(limbeck, made: tuple[Path, dict], tmp_path: Path) -> None:
    answer = limbeck("jobs", "fetch", made[1]["job_id"], cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "image.png").read_bytes() == made[0].read_bytes()


def test_the_same_recipe_gives_the_same_picture(limbeck, tmp_path: Path) -> None:
    digests = set()
    for attempt in range(2):
        out = str(tmp_path / f"{attempt}.png")
        more = ("--steps", "5", "--generator", "mlp", "--loss", "nfsd", "--preset", "nfsd-image")
        answer = limbeck("image", "a blue torus", *SMALL, *more, "--json", "--out", out)
        assert answer.returncode == 0, answer.stderr
        digests.add(json.loads(answer.stdout)["metrics"]["image_digest"])
    assert len(digests) == 1
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_picture_without_a_name_is_named_after_its_prompt_and_replaces_nothing(limbeck, tmp_path: Path) -> None:
    for name in ("a-red-ball.png", "a-red-ball-2.png"):
        answer = limbeck("image", "a red ball", *SMALL, "--steps", "2", cwd=tmp_path)
        assert answer.returncode == 0, answer.stderr
        assert (tmp_path / name).is_file()


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "empty prompt": ((" ",), "the prompt is blank"),
    "no PNG": (("a duck", "--out", "duck.glb"), "does not end in .png"),
    "missing folder": (("a duck", "--out", "nowhere/duck.png"), "There is no folder"),
    "size": (("a duck", "--size", "48"), "32 or 64 pixels wide"),
    "size out of range": (("a duck", "--size", "7"), "image.size"),
    "generator": (("a duck", "--generator", "oils"), "latents, pixels, mlp"),
    "dds": (("a duck", "--loss", "dds"), "limbeck edit PICTURE.png"),
    "preset of objects": (("a duck", "--preset", "quick"), "there are: image, nfsd-image, msd-image"),
    "vsd on the exact prior": (("a duck", "--loss", "vsd"), "has no network"),
    "word": (("a unicorn",), "unicorn"),
    "a field's setting": (("a duck", "--set", "field_resolution=48"), "field_resolution means nothing for it"),
    "two of them": (("a duck", "--set", "field=voxels", "--set", "shading=albedo"), "shading, field mean nothing"),
    "unknown setting": (("a duck", "--set", "colour=red"), "A setting is not usable"),
    "parameter": (("a duck", "--parameter", "threshold=3"), "no parameter of sds 'threshold'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_a_sentence_and_no_job(case: str, limbeck, tmp_path: Path) -> None:
    arguments, words = REFUSED[case]
    answer = limbeck("image", *arguments, cwd=tmp_path)
    assert answer.returncode == 1, answer.stdout
    assert words in " ".join(answer.stderr.split())
    assert "Traceback" not in answer.stderr
    assert "Job " not in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_object_s_command_sends_image_presets_away(limbeck, tmp_path: Path) -> None:
    answer = limbeck("generate", "a duck", "--preset", "image", "--out", str(tmp_path / "duck.glb"))
    assert answer.returncode == 1
    assert "makes images, and the recipe asks for an object" in answer.stderr
