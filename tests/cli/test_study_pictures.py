"""`limbeck study text-to-2d`: the papers' values reach it, wrong priors are sentences, and a killed one goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from limbeck_server.cli.study import _setups


def test_the_study_takes_the_papers_values_from_the_presets() -> None:
    setups = _setups("exact", 3)
    direct, network = setups("nfsd-image", "nfsd"), setups("msd-image", "msd")
    assert (direct.generator, direct.settings.steps, direct.settings.guidance_scale) == ("latents", 1000, 7.5)
    assert (network.generator, network.settings.steps, network.settings.seed) == ("mlp", 400, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prior", "nowhere/at-all"], ("nowhere/at-all",)),
        (["--prompt", "a red cube"], ("--prompt", "variance")),
    ],
)
def test_bad_input_is_a_sentence(limbeck, tmp_path: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    answer = limbeck("study", "text-to-2d", *arguments, "--quick", cwd=tmp_path)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    assert all(word in answer.stderr for word in words), answer.stderr


def test_a_model_of_latents_is_refused(limbeck, tmp_path: Path, tiny_stable_diffusion) -> None:
    model = str(tiny_stable_diffusion("epsilon"))
    answer = limbeck("study", "text-to-2d", "--prior", model, "--quick", cwd=tmp_path)
    assert answer.returncode == 1
    assert "classifier of the known world" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_the_quick_form_prints_its_tables_and_goes_on_where_it_was_killed(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "limbeck_server.cli", "study", "text-to-2d", "--quick", "--json"]
    options = {"cwd": tmp_path, "env": {**os.environ, "LIMBECK_HOME": str(home)}}
    runs = tmp_path / "study-text-to-2d" / "runs"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    deadline = time.monotonic() + 300
    while len(list(runs.glob("*.safetensors"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.kill()
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in runs.glob("*.safetensors")}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=800, check=True, **options)
    found = json.loads(answer.stdout)
    assert all((runs / name).stat().st_mtime_ns == written for name, written in kept.items())
    assert set(found["network"]) == {"SDS", "SDI", "NFSD", "MSD", "DDIM"}
    assert found["network"]["DDIM"]["both"]["mean"] > 0.8
    assert found["direct"]["SDS 100"]["burnt"]["mean"] > found["direct"]["SDS 7.5"]["burnt"]["mean"]
    assert {path.name for path in runs.parent.glob("*.png")} == {"direct.png", "coordinate-network.png"}
