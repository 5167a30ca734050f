"""Training the network prior: interrupted or not, the same weights; and a model in the layout of all others."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from limbeck_server.priors.training.architecture import Architecture
from limbeck_server.priors.training.settings import TrainingError, TrainingSettings
from limbeck_server.priors.training.state import INDEX, load_state
from limbeck_server.priors.training.trainer import LOG, Step, train

TINY = TrainingSettings(
    iterations=8, batch=4, warm_up=2, views_per_shape=4, architecture=Architecture(8, (8, 16), 16, 1, 2)
)
# What a process of its own does, so that it can be killed.
TRAIN = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from limbeck_server.priors.training.architecture import Architecture
from limbeck_server.priors.training.settings import TrainingSettings
from limbeck_server.priors.training.trainer import train
settings = TrainingSettings(
    iterations=100000, batch=4, warm_up=2, views_per_shape=4, architecture=Architecture(8, (8, 16), 16, 1, 2)
)
train(settings, Path(sys.argv[1]), cache_folder=Path(sys.argv[2]), save_seconds=0.1, preview_every=10**9)
"""


@pytest.fixture
def views(training_views: Path) -> Path:
    return training_views


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    state = load_state(folder)
    assert state is not None
    return state.tensors


def assert_same_bits(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path, views: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        train(replace(TINY, seed=seed), tmp_path / name, cache_folder=views)
    assert_same_bits(weights_in(tmp_path / "one"), weights_in(tmp_path / "two"))
    other = weights_in(tmp_path / "three")
    assert any(not torch.equal(value, other[name]) for name, value in weights_in(tmp_path / "one").items())


@pytest.mark.parametrize("expected_noise", [True, False])
def test_a_run_that_was_asked_to_stop_goes_on_as_if_it_had_not(
    tmp_path: Path, views: Path, expected_noise: bool
) -> None:
    settings = replace(TINY, expected_noise=expected_noise)
    train(settings, tmp_path / "whole", cache_folder=views)
    steps: list[Step] = []
    for stop_at in (3, 5, 100):
        train(
            settings,
            tmp_path / "parts",
            cache_folder=views,
            save_seconds=0.0,
            progress=steps.append,
            stop=lambda iteration, stop_at=stop_at: iteration >= stop_at,
        )
    assert [step.iteration for step in steps] == list(range(1, 9))
    assert_same_bits(weights_in(tmp_path / "whole"), weights_in(tmp_path / "parts"))


def iteration_in(folder: Path) -> int:
    index = folder / INDEX
    return json.loads(index.read_text())["iteration"] if index.is_file() else 0


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path, views: Path) -> None:
    """SIGKILL at a random moment, twice; then on to a fixed end, against a run that was never interrupted."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for _ in range(2):
        begun_at = iteration_in(killed)
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(killed), str(views)])
        try:
            deadline = time.monotonic() + 120
            while iteration_in(killed) <= begun_at:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(float(torch.rand(1)) * 0.3)  # anywhere in a step, or in the saving of a state
        finally:
            process.kill()
            process.wait()
    end = iteration_in(killed) + 3
    for folder in (killed, whole):
        # The same plan as in the other process: the learning rate depends on it.
        run = replace(TINY, iterations=100_000)
        train(run, folder, cache_folder=views, preview_every=10**9, stop=lambda iteration: iteration >= end)
    assert_same_bits(weights_in(killed), weights_in(whole))


def test_a_folder_of_other_settings_is_refused(tmp_path: Path, views: Path) -> None:
    train(replace(TINY, iterations=1), tmp_path, cache_folder=views)
    with pytest.raises(TrainingError, match="batch 4"):
        train(replace(TINY, batch=5), tmp_path, cache_folder=views)
    train(replace(TINY, iterations=2), tmp_path, cache_folder=views)
    state = load_state(tmp_path)
    assert state is not None
    assert state.iteration == 2


def test_an_altered_state_is_refused(tmp_path: Path, views: Path) -> None:
    train(replace(TINY, iterations=1), tmp_path, cache_folder=views)
    file = next(tmp_path.glob("state-*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(TrainingError, match="was altered"):
        train(TINY, tmp_path, cache_folder=views)


def test_the_log_has_every_iteration_once(tmp_path: Path, views: Path) -> None:
    train(replace(TINY, iterations=3), tmp_path, cache_folder=views, save_seconds=0.0)
    with (tmp_path / LOG).open("a") as log:
        log.write('{"iteration": 4, "loss": 1.0}\n{"iterat')
    train(replace(TINY, iterations=5), tmp_path, cache_folder=views, save_seconds=0.0)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5]
    assert all({"loss", "seconds", "iterations_per_second"} <= set(line) for line in lines)
