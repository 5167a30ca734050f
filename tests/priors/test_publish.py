"""What ships of a trained model: its own files and what lies beside them, written whole, about this very model."""

from __future__ import annotations

import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from limbeck_server.priors.kinds import CARD
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.training.model_readme import prolonged_at
from limbeck_server.priors.training.publish import LOG_LINES, model_of, publish_model, read_score
from limbeck_server.priors.training.settings import TrainingError
from limbeck_server.priors.training.trained import load_trained

PROMPTS = ("a red cube", "a blue torus")
DENOISING = {"timestep": 20.0, "error": 0.05432, "error_empty": 0.06789, "exact_spread": 0.00123}
ROW = {"pictures": 4, "colour": 0.5, "shape": 0.25, "both": 0.125, "prompts": {"a red cube": 0.75}}


@pytest.fixture
def run(tiny_pixel_model: Path, tmp_path: Path) -> Path:
    """A training run's folder after its iteration 900, whose log has gone on to 1000."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_pixel_model, folder / "model")
    card = json.loads((folder / "model" / CARD).read_text())
    card["training"]["iteration"] = 900
    (folder / "model" / CARD).write_text(json.dumps(card))
    (folder / "model" / "stray.bin").write_bytes(b"not the model's")
    rates = [1e-3 / i if i <= 500 else 1.0 / i**2 for i in range(1, 1001)]  # falls; at 500 it rises, and falls again
    lines = [
        {"iteration": i, "loss": 0.5, "error": 1.0 / i, "learning_rate": rate, "seconds": 3.6 * i}
        for i, rate in enumerate(rates, 1)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def score_of(model: Path) -> dict[str, Any]:
    return {
        **{"seen": ROW, "unseen": ROW, "truth": ROW, "azimuth": 0.6, "azimuth_pictures": 48},
        "denoising": [DENOISING, DENOISING | {"timestep": 50.0, "error_empty": 0.05}],
        **{"guidance_scale": 5.0, "steps": 25, "seed": 0, "seconds": 1.0, "model": "model"},
        "training": json.loads((model / CARD).read_text())["training"],
    }


def test_the_folder_is_a_model_with_log_samples_score_and_card(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shipped" / "network"
    publish_model(run, out, score_of(run / "model"), prompts=PROMPTS)
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    model = {p.relative_to(run / "model").as_posix() for p in (run / "model").rglob("*") if p.is_file()} - {"stray.bin"}
    assert names == model | {"log.jsonl", "samples.png", "score.json", "README.md"}
    assert all((out / name).read_bytes() == (run / "model" / name).read_bytes() for name in model)
    assert all(path.stat().st_mode & stat.S_IROTH for path in out.rglob("*"))
    assert load_trained(str(out)).card.training["iteration"] == 900
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert len(log) <= LOG_LINES + 1
    assert log[-1]["iteration"] == 900
    score = json.loads((out / "score.json").read_text())
    assert score["seen"] == ROW
    assert not {"model", "training"} & set(score)
    readme = (out / "README.md").read_text()
    # A table within a table: its blank line must not let it be wrapped.
    assert [line.split()[0] for line in readme.splitlines() if "0.06789" in line] == ["20"]
    assert "Of 48 pictures whose view can be told, 60 % show" in " ".join(readme.split())
    assert "900 of 10000 iterations" in readme
    views = score_of(run / "model")["training"]["views_per_shape"]
    assert f"--views {views}" in " ".join(readme.split())
    assert "0.9 hours" in readme
    found = re.search(r"made longer near iteration (\d+),", " ".join(readme.split()))
    assert abs(int(found[1]) - 500) <= 1000 / LOG_LINES
    assert "seen pairs" in readme
    assert "green sphere" in readme
    assert all(len(line) <= 120 for line in readme.splitlines() if not line.startswith("|"))
    assert list(out.parent.iterdir()) == [out]


def test_a_plan_was_prolonged_where_the_rate_rose_after_the_warm_up() -> None:
    rates = [0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.1, 0.0, 0.1]
    log = [{"iteration": 10 * i, "learning_rate": rate} for i, rate in enumerate(rates)]
    assert prolonged_at(log, warm_up=20) == [40, 70]
    assert prolonged_at(log[:5], warm_up=20) == []


def test_a_model_that_ships_already_is_replaced_as_a_whole(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "network"
    publish_model(run, out, score_of(run / "model"), prompts=PROMPTS)
    publish_model(run / "model", out, None, prompts=PROMPTS)
    assert not (out / "score.json").exists()
    assert "was not scored" in (out / "README.md").read_text()
    # Its own log is kept when it is published again from where it lies.
    publish_model(out, tmp_path / "again", None, prompts=PROMPTS)
    assert (tmp_path / "again" / "log.jsonl").read_text().splitlines()[-1].startswith('{"iteration": 900')


def test_another_models_score_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    score = score_of(run / "model")
    score["training"] = {"iteration": 800}
    with pytest.raises(TrainingError, match=r"after iteration 800, and this model, with 900.*limbeck prior score"):
        publish_model(run, tmp_path / "network", score, prompts=PROMPTS)
    assert list(tmp_path.iterdir()) == [run]


def test_a_folder_of_something_else_is_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match=r"holds something that is no model.*another --out"):
        publish_model(run, tmp_path / "mine", None, prompts=PROMPTS)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_what_was_there_is_there_again_if_it_cannot_be_replaced(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "network"
    publish_model(run, out, score_of(run / "model"), prompts=PROMPTS)
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise PermissionError(13, "Permission denied", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PermissionError):
        publish_model(run, out, None, prompts=PROMPTS)
    assert (out / "score.json").exists()
    assert sorted(tmp_path.iterdir()) == [out, run]


def test_the_folder_that_one_stands_in_can_be_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    publish_model(run, Path(), None, prompts=PROMPTS)
    assert load_trained(str(tmp_path / "here")).card.training["iteration"] == 900


def test_a_published_model_keeps_its_own_log_beside_another_run(run: Path, tmp_path: Path) -> None:
    publish_model(run, tmp_path / "other" / "model", None, prompts=PROMPTS)
    (tmp_path / "other" / "log.jsonl").write_text('{"iteration": 1, "loss": 0.1, "shape": 0.9}\n')
    publish_model(tmp_path / "other" / "model", tmp_path / "again", None, prompts=PROMPTS)
    assert (tmp_path / "again" / "log.jsonl").read_text().splitlines()[-1].startswith('{"iteration": 900')


@pytest.mark.parametrize("line", ['{"iteration": 1, "loss": 0.1, "shape": 0.9}', '{"iteration": 1, "err', "[]", "7"])
def test_a_log_of_something_else_is_refused(line: str, run: Path, tmp_path: Path) -> None:
    (run / "log.jsonl").write_text(line + "\n")
    with pytest.raises(TrainingError, match=r"log\.jsonl is no log of a limbeck prior train"):
        publish_model(run, tmp_path / "network", None, prompts=PROMPTS)
    assert list(tmp_path.iterdir()) == [run]


def test_a_run_without_a_model_and_a_file_without_a_score_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        model_of(tmp_path)
    file = tmp_path / "score.json"
    for content, words in (("{", "cannot be read"), ("[]", "lacks"), ('{"seen": 1}', "lacks azimuth")):
        file.write_text(content)
        with pytest.raises(TrainingError, match=words):
            read_score(file)
    with pytest.raises(TrainingError, match="cannot be read"):
        read_score(tmp_path / "none.json")
