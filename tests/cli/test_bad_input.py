"""Bad input at the command line: a sentence with the fix, an exit code, no traceback, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

NAN_RIG = {
    "cameras": {
        "camera_to_world": np.full((1, 4, 4), np.nan).tolist(),
        "lens": [[1.3, 0.0, 0.0]],
        "weight": [1.0],
        "prompt_suffix": [""],
    }
}

# name -> (arguments after `generate`, words that the sentence must hold)
TABLE: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "empty prompt": ([""], ("prompt",)),
    "blank prompt": (["   "], ("prompt",)),
    "5,000 characters": (["duck " * 1000], ("prompt", "2000")),
    "unknown word": (["a yellow zeppelin"], ("zeppelin", "duck", "stable-diffusion")),
    "two shapes": (["a duck cube"], ("cube",)),
    "unknown loss": (["a duck", "--loss", "sdz"], ("sdz", "nfsd")),
    "unknown preset": (["a duck", "--preset", "best"], ("best", "quick")),
    "unknown prior": (["a duck", "--prior", "dalle"], ("dalle", "exact")),
    "folder that is no model": (["a duck", "--prior", "./empty"], ("empty", "model_index.json")),
    "no steps": (["a duck", "--steps", "0"], ("steps", "1")),
    "negative guidance": (["a duck", "--guidance-scale", "-1"], ("guidance_scale",)),
    "unknown setting": (["a duck", "--set", "colour=3"], ("colour", "learning_rate")),
    "parameter without value": (["a duck", "--parameter", "threshold"], ("NAME=VALUE", "--parameter threshold=300")),
    "parameter without name": (["a duck", "--parameter", "=3"], ("NAME=VALUE",)),
    "parameter twice": (
        ["a duck", "--loss", "nfsd", "--parameter", "threshold=1", "--parameter", "threshold=2"],
        ("threshold", "twice"),
    ),
    "parameter of no loss": (["a duck", "--loss", "nfsd", "--parameter", "treshold=1"], ("treshold", "threshold")),
    "parameter that is no number": (
        ["a duck", "--loss", "nfsd", "--parameter", "threshold=high"],
        ("threshold", "number", "between 0 and 1000", "high"),
    ),
    "parameter that is infinite": (["a duck", "--parameter", "threshold=inf"], ("threshold", "finite", "inf")),
    "unknown choice": (
        ["a duck", "--loss", "msd", "--parameter", "sampler=exact"],
        ("sampler", "splitting, product", "exact"),
    ),
    "number for a choice": (["a duck", "--loss", "msd", "--parameter", "sampler=1"], ("sampler", "splitting, product")),
    "choice of 41 letters": (["a duck", "--loss", "msd", "--parameter", f"sampler={'x' * 41}"], ("40",)),
    "parameters that contradict": (
        ["a duck", "--loss", "msd", "--parameter", "bandwidth=0.1", "--parameter", "bandwidth_min=1"],
        ("bandwidth_min", "bandwidth"),
    ),
    "closed-form sampler of a network": (
        ["a duck", "--loss", "msd", "--prior", "owner/name", "--parameter", "sampler=product"],
        ("splitting", "exact"),
    ),
    "parameters that are no map": (
        ["a duck", "--set", "loss_parameters=3", "--parameter", "threshold=1"],
        ("loss_parameters",),
    ),
    "setting without value": (["a duck", "--set", "steps"], ("NAME=VALUE", "--set field_resolution=48")),
    "half a step": (
        ["a duck", "--loss", "msd", "--parameter", "sampling_steps=2.7"],
        ("sampling_steps", "whole number", "2.7"),
    ),
    "seed that no generator takes": (["a duck", "--seed", "99999999999999999999999"], ("seed",)),
    "output longer than names are": (["a duck", "--out", "a" * 300 + ".glb"], ("name",)),
    "wrong render size": (["a duck", "--set", "render_size=[[0, 48]]"], ("render_size", "64")),
    "missing rig": (["a duck", "--rig", "nowhere.json"], ("nowhere.json",)),
    "rig that is no JSON": (["a duck", "--rig", "broken.json"], ("broken.json",)),
    "rig without cameras": (["a duck", "--rig", "nothing.json"], ("rig", "camera")),
    "NaN matrix": (["a duck", "--rig", "nan.json"], ("camera_to_world",)),
    "unwritable output": (["a duck", "--out", "missing/duck.glb"], ("missing",)),
    "output is a folder": (["a duck", "--out", "empty"], ("empty", "folder")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("work")
    (place / "empty").mkdir()
    (place / "broken.json").write_text("{")
    (place / "nothing.json").write_text("{}")
    (place / "nan.json").write_text(json.dumps(NAN_RIG))
    return place


@pytest.mark.parametrize("name", TABLE)
def test_bad_input_gets_a_sentence_and_loses_nothing(name: str, limbeck, folder: Path) -> None:
    arguments, words = TABLE[name]
    before = sorted(path.name for path in folder.rglob("*"))
    answer = limbeck("generate", *arguments, cwd=folder)
    assert answer.returncode not in (0, None), answer.stdout
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    for word in words:
        assert word in answer.stderr, answer.stderr
    assert sorted(path.name for path in folder.rglob("*")) == before


def run_alone(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`limbeck ARGUMENTS` in a home where no server runs."""
    return subprocess.run(
        [sys.executable, "-m", "limbeck_server.cli", *arguments],
        env={**os.environ, "LIMBECK_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("flags", [[], ["--wide"]])
def test_a_wide_address_is_refused_with_the_fix(tmp_path: Path, flags: list[str]) -> None:
    answer = run_alone(tmp_path, "serve", "--bind", "tcp://0.0.0.0:*", *flags)
    assert answer.returncode == 3
    assert "Traceback" not in answer.stderr
    assert ("allowed.json" if flags else "--wide") in answer.stderr


@pytest.mark.parametrize("command", [["jobs", "list"], ["status"], ["jobs", "show", "abcdefgh"]])
def test_commands_that_need_a_server_say_how_to_start_one(tmp_path: Path, command: list[str]) -> None:
    answer = run_alone(tmp_path, *command)
    assert answer.returncode == 1
    assert "limbeck serve" in answer.stderr
    assert "Traceback" not in answer.stderr
