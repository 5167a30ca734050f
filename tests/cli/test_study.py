"""`limbeck study`: the list, a study in small, one JSON object, and sentences for what cannot be done."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

NAMES = ("densities", "variance", "bandwidth", "ablation", "losses", "decomposition", "nfsd-3d", "text-to-2d")


def test_without_a_name_the_studies_are_listed(limbeck) -> None:
    answer = limbeck("study")
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in NAMES)
    listed = json.loads(limbeck("study", "--json").stdout)["studies"]
    assert set(listed) == set(NAMES)
    assert all(sentence.endswith(".") for sentence in listed.values())


# name -> (arguments after `study`, words that the sentence must hold)
REFUSED: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "unknown study": (["colours"], ("colours", *NAMES)),
    "unknown loss": (["variance", "--loss", "sdz"], ("sdz", "nfsd")),
    "an option that the study does not take": (["densities", "--prompt", "a red cube"], ("--prompt", "variance")),
    "a prior where only the exact one serves": (["variance", "--prior", "network"], ("--prior", "decomposition")),
    "a prior that is not there": (["decomposition", "--prior", "./nowhere"], ("./nowhere", "--prior")),
    "jobs on a prior that is not there": (["nfsd-3d", "--prior", "./nowhere"], ("./nowhere", "--prior")),
    "a word that the prior has not": (["decomposition", "--prompt", "a zeppelin"], ("zeppelin", "duck")),
    "no colour": (["variance", "--prompt", "a duck"], ("colour", "a yellow duck")),
    "unknown word": (["bandwidth", "--prompt", "a yellow zeppelin"], ("zeppelin", "duck")),
    "a loss without meaning here": (["variance", "--loss", "vsd"], ("vsd", "sds, draw by draw")),
    "a loss that makes nothing": (["losses", "--loss", "dds"], ("dds", "msd")),
    "a file in the folder's place": (["variance", "--out", "taken"], ("taken", "--out")),
    "a figure that cannot be written": (
        ["variance", "--loss", "csd", "--out", "odd"],
        ("odd/variance.png cannot be written", "Choose another --out"),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_a_sentence(limbeck, tmp_path: Path, case: str) -> None:
    arguments, words = REFUSED[case]
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "odd" / "variance.png").mkdir(parents=True)
    answer = limbeck("study", *arguments, "--quick", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert all(word in answer.stderr for word in words), answer.stderr
    assert "Correct the field" not in answer.stderr


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    limbeck, tmp_path: Path, closed_folder: Path
) -> None:
    begun = time.monotonic()
    answer = limbeck("study", "ablation", "--out", str(closed_folder), cwd=tmp_path)
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    assert f"The folder {closed_folder} cannot be written" in answer.stderr
    assert "Choose another --out." in answer.stderr
    assert time.monotonic() - begun < 60.0


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    """One in which nobody can make a file, root included where there is a /proc."""
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
        return folder
    if not Path("/proc/self").is_dir():
        pytest.skip("who runs this may write everywhere")
    return Path("/proc/self")


def test_a_study_prints_its_table_and_its_choices_and_leaves_figures(limbeck, tmp_path: Path) -> None:
    answer = limbeck("study", "variance", "--quick", "--loss", "csd", "--prompt", "a red cube", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert all(word in answer.stdout for word in ("csd", "wrong colour", "Choices", "guidance scale", "a red cube"))
    assert "sds " not in answer.stdout.split("Choices")[0]
    found = {path.name for path in (tmp_path / "study-variance").iterdir()}
    assert found == {"variance.png", "variance-nfsd.png"}


def test_json_is_one_object_with_seed_seconds_and_choices(limbeck, tmp_path: Path) -> None:
    out = tmp_path / "here"
    answer = limbeck("study", "variance", "--quick", "--loss", "csd", "--seed", "3", "--json", "--out", str(out))
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert (result["study"], result["seed"], result["quick"], result["out"]) == ("variance", 3, True, str(out))
    assert result["seconds"] > 0
    assert result["choices"]["guidance scale"]
    assert set(result["states"]["start"]) == {"csd"}


def test_the_decomposition_is_of_the_prior_that_is_named(limbeck, tmp_path: Path, tiny_pixel_model: Path) -> None:
    folder = str(tiny_pixel_model)
    answer = limbeck("study", "decomposition", "--quick", "--prior", folder, "--json", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    assert (result["study"], result["prior"]) == ("decomposition", folder)
    assert {"noise_part", "domain", "condition"} <= set(result["pairs"]["unfinished"][0])
    figures = {path.name for path in (tmp_path / "study-decomposition").iterdir()}
    assert figures == {"decomposition.png", "decomposition-curves.png"}


@pytest.mark.slow
def test_sds_against_nfsd_runs_real_jobs_and_goes_on_where_it_was(limbeck, tmp_path: Path) -> None:
    arguments = ("study", "nfsd-3d", "--quick", "--prompt", "a blue torus", "--json")
    answer = limbeck(*arguments, cwd=tmp_path, timeout_s=900)
    assert answer.returncode == 0, answer.stderr
    result = json.loads(answer.stdout)
    cases = result["prompts"]["a blue torus"]
    assert sorted(one["guidance_scale"] for one in cases.values()) == [2.0, 2.0, 7.5, 7.5, 100.0]
    assert all(one["metrics"]["iou"] > one["metrics"]["start"]["iou"] for one in cases.values())
    assert (tmp_path / "study-nfsd-3d" / "nfsd-3d.png").is_file()
    again = limbeck(*arguments, cwd=tmp_path)
    assert again.stderr.count("kept from an earlier run") == len(cases)
    assert json.loads(again.stdout)["prompts"] == result["prompts"]


@pytest.mark.slow
def test_the_comparison_of_losses_runs_real_jobs(limbeck, tmp_path: Path) -> None:
    answer = limbeck(
        "study", "losses", "--quick", "--loss", "sds", "--prompt", "a red cube", "--json", cwd=tmp_path, timeout_s=500
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)["losses"]["sds"]
    assert found["error"] == ""
    assert found["metrics"]["prior_evaluations"] == 2 * found["metrics"]["steps"]
    assert found["metrics"]["iou"] > found["metrics"]["start"]["iou"]
    assert (tmp_path / "study-losses" / "losses.png").is_file()
