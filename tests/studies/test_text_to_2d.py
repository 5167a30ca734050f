"""The study of pictures from text: both tables, and a study that was killed goes on; on a small world, a few steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_server.distillation.picture import PictureSettings
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.training.classifier import Classifier, ClassifierArchitecture, build_classifier
from limbeck_server.studies import text_to_2d
from limbeck_server.studies.picture_runs import Runs, Setup
from limbeck_server.studies.text_to_2d import Extent

EXTENT = Extent(
    direct_prompts=1,
    direct_starts=2,
    network_prompts=2,
    network_starts=2,
    truths=5,
    truth_steps=4,
    direct_steps=6,
    network_steps=4,
    chain_steps=2,
)
PROMPTS = ("a yellow duck", "a red cube")


def setups(preset: str, loss: str) -> Setup:
    """Presets of ten steps, as the paper's but shorter."""
    extra: dict[str, Any] = {}
    if loss == "sdi":
        extra = {"timestep_schedule": "linear", "timestep_min": 0.25}
    if loss == "msd":
        extra = {"timestep_min": 0.98, "loss_parameters": {"centre": "mean"}}
    settings = PictureSettings(
        **{
            "loss": loss,
            "guidance_scale": 2.0,
            "timestep_min": 0.02,
            "timestep_max": ((0.0, 0.98),),
            "weighting": "uniform" if loss == "msd" else "noise_variance",
            "steps": 10,
            "learning_rate": 0.05,
            **extra,
        }
    )
    return Setup(settings, "latents" if preset == text_to_2d.DIRECT_PRESET else "mlp")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Untrained, of the small world's pictures."""
    return build_classifier(ClassifierArchitecture(16, (8, 8), (2, 2), 4), 0).eval()


@pytest.fixture(scope="module")
def study(
    small_world: ExactPrior, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[dict[str, Any], list[str]]]:
    """Run the study in a folder; return what it found and what it told."""

    def run(out: Path, **changes: Any) -> tuple[dict[str, Any], list[str]]:
        told: list[str] = []
        options = {"setups": setups, "extent": EXTENT, "classifier": classifier, "seed": 0, "quick": True} | changes
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_to_2d, "DIRECT_PROMPTS", PROMPTS)
            patch.setattr(text_to_2d, "NETWORK_PROMPTS", PROMPTS)
            return text_to_2d.run(out=out, say=told.append, load=lambda *_: small_world, **options), told

    return run


@pytest.fixture(scope="module")
def found(study, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("text-to-2d")
    return study(out)[0], out


def test_figures_runs_and_report_are_there(found: tuple[dict[str, Any], Path]) -> None:
    result, out = found
    assert {path.name for path in out.glob("*.png")} == set(result["figures"])
    # Three ways and samples of one prompt, four ways and samples of two.
    assert len(list((out / "runs").iterdir())) == (3 + 1) + 2 * (4 + 1)
    text = text_to_2d.report(result)
    words = ("SDS 100", "NFSD", "MSD", "DDIM", "198.9", "Choices", "jackknife", "4 pictures each", "shortened")
    assert all(word in text for word in words), text


def test_every_way_has_all_measures_with_their_errors(found: tuple[dict[str, Any], Path]) -> None:
    result, _ = found
    assert list(result["direct"]) == [*text_to_2d.DIRECT, "DDIM"]
    assert list(result["network"]) == [*text_to_2d.NETWORK, "DDIM"]
    for row in result["network"].values():
        assert row["frechet"]["mean"] > 0.0
        assert not math.isnan(row["frechet"]["error"])
        assert 0.0 <= row["both"]["mean"] <= min(row["colour"]["mean"], row["shape"]["mean"])
    assert result["network"]["SDS"]["evaluations"] == 2 * EXTENT.network_steps
    assert result["network"]["MSD"]["evaluations"] >= 2 * EXTENT.chain_steps * EXTENT.network_steps
    assert (result["network"]["MSD"]["pictures"], result["network"]["DDIM"]["pictures"]) == (4, 10)


def test_guidance_of_100_burns_more_than_that_of_7(found: tuple[dict[str, Any], Path]) -> None:
    direct = found[0]["direct"]
    assert direct["SDS 100"]["saturation"]["mean"] > direct["SDS 7.5"]["saturation"]["mean"]


def test_a_second_call_makes_nothing_anew(study, found: tuple[dict[str, Any], Path], small_world: ExactPrior) -> None:
    result, out = found
    before = small_world.evaluations
    again, told = study(out)
    assert small_world.evaluations == before
    assert told == []
    assert again == result


def test_a_study_that_was_killed_makes_only_what_is_missing_or_damaged(
    study, found: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    result, out = found
    runs = tmp_path / "runs"
    runs.mkdir()
    for path in (out / "runs").iterdir():
        (runs / path.name).write_bytes(path.read_bytes())
    (runs / "network-nfsd-a-red-cube.safetensors").unlink()
    (runs / "network-sdi-a-yellow-duck.safetensors").write_bytes(b"cut short")
    again, told = study(tmp_path)
    assert {line.split(":")[0] for line in told} == {"a red cube, network NFSD", "a yellow duck, network SDI"}
    # Seconds are what the clock says; all else is as it was.
    for part in ("direct", "network"):
        for rows in (result[part], again[part]):
            rows.update({label: {**row, "seconds": 0} for label, row in rows.items()})
    assert again == result


def test_runs_of_other_settings_are_made_anew(study, found: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    _, out = found
    (tmp_path / "runs").mkdir()
    for path in (out / "runs").iterdir():
        (tmp_path / "runs" / path.name).write_bytes(path.read_bytes())
    longer = replace(EXTENT, chain_steps=3)
    _, told = study(tmp_path, extent=longer)
    assert {line.split(", ")[1].split(":")[0] for line in told} == {"network MSD"}


def test_all_ways_begin_with_the_same_pictures(small_world: ExactPrior, tmp_path: Path) -> None:
    still = [setups(text_to_2d.NETWORK_PRESET, loss).with_(steps=1, learning_rate=1e-9) for loss in ("sds", "nfsd")]
    runs = Runs(tmp_path, lambda _: None)
    one, two = (
        runs.distilled(str(index), small_world, setup, "a red cube", 16, 2) for index, setup in enumerate(still)
    )
    torch.testing.assert_close(one.pictures, two.pictures)
    assert (one.pictures[0] - one.pictures[1]).abs().max() > 1e-3, "two starts, not one twice"


def test_a_prior_of_other_pictures_is_refused(study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_to_2d, "knows_the_world", lambda prior: False)
    with pytest.raises(ModelError, match="classifier of the known world"):
        study(tmp_path, prior="other")


def test_pictures_smaller_than_the_classifier_s_are_refused(study, tmp_path: Path) -> None:
    large = build_classifier(ClassifierArchitecture(), 0).eval()
    with pytest.raises(ModelError, match="32 pixels or more"):
        study(tmp_path, classifier=large)
