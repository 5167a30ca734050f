"""A trained model made ready to ship: its folder, with the log of its training, its pictures, its score and a card.

What is written is a plain model folder (`export`), so that everything which loads one loads this one.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from limbeck_server.priors.kinds import CARD
from limbeck_server.priors.model_files import NETWORKS, reason
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.training.model_readme import model_readme
from limbeck_server.priors.training.preview import PROMPTS, write_preview
from limbeck_server.priors.training.settings import TrainingError
from limbeck_server.priors.training.trained import load_trained

LOG, SAMPLES, SCORE, README = "log.jsonl", "samples.png", "score.json", "README.md"
LOG_LINES = 400
"""At most so many lines of the log are kept, the last always."""


def model_of(run: Path) -> Path:
    """Return the model of a training run's folder; a model's own folder is its own.

    Raises:
        ModelError: there is none.
    """
    for folder in (run, run / "model"):
        if (folder / "model_index.json").is_file():
            return folder
    raise ModelError(
        "MODEL_NOT_FOUND",
        f"The folder {str(run)!r} holds no model: neither model_index.json nor model/model_index.json. Name the --out "
        "of a limbeck prior train that has written its model.",
    )


def publish_model(
    run: Path,
    folder: Path,
    score: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    prompts: Sequence[str] = PROMPTS,
) -> None:
    """Write the model of a training run with all that ships beside it; a folder that is there is replaced as a whole.

    Args:
        run: the folder of the run, or that of a model.
        folder: what ships. Made.
        score: what `limbeck prior score --json` says of this very model; None leaves the score out, and the card says
            so.
        device: where the pictures are drawn.
        prompts: of the sheet of samples.

    Raises:
        ModelError: the run's model is missing or cannot be used.
        TrainingError: the score is another model's, or the folder to be replaced holds something else.
    """
    folder = folder.resolve()  # `.` has no name to put another beside
    if folder.exists() and not (folder / CARD).is_file() and any(folder.iterdir()):
        raise TrainingError(
            f"the folder {folder} holds something that is no model of the known world, and would be replaced as a "
            "whole. Choose another --out."
        )
    source = model_of(run)
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    for stale in (part, old):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        _copy_model(source, part)
        _write_besides(source, part, score, torch.device(device), prompts)
        _replace(folder, part, old)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace(folder: Path, part: Path, old: Path) -> None:
    """Put `part` in the place of `folder`, which is there until then, and again if that fails."""
    is_there = folder.exists()
    if is_there:
        folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        if is_there:
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write_besides(
    source: Path, folder: Path, score: Mapping[str, Any] | None, device: torch.device, prompts: Sequence[str]
) -> None:
    """Write what lies beside the model that was copied from `source` into `folder`."""
    prior = load_trained(str(folder), device)
    training = prior.card.training
    _check_score(score, training)
    log = _thinned_log(source, int(training.get("iteration", 0)))
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")
    write_preview(str(folder), folder / SAMPLES, device, prompts)
    if score is not None:
        told = {name: value for name, value in score.items() if name not in ("model", "training")}
        (folder / SCORE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    weights = {name: _count_weights(folder / name) for name in NETWORKS if (folder / name).is_dir()}
    (folder / README).write_text(model_readme(prior, weights, log, score, prompts), encoding="utf-8")


def read_score(path: Path) -> dict[str, Any]:
    """Return the score in a file that holds what `limbeck prior score --json` printed.

    Raises:
        TrainingError: it holds something else.
    """
    try:
        score = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"the score {path} cannot be read ({reason(error)}). Name a file that holds one JSON object."
        ) from error
    wanted = {"seen", "unseen", "truth", "azimuth", "azimuth_pictures", "guidance_scale", "steps", "seed", "training"}
    missing = sorted(wanted - set(score)) if isinstance(score, dict) else sorted(wanted)
    if missing:
        raise TrainingError(
            f"the score {path} lacks {', '.join(missing)}. Write it with: limbeck prior score MODEL --json > FILE"
        )
    return dict(score)


def _copy_model(source: Path, folder: Path) -> None:
    """Copy the model's own files, and none that lie about; readable by everybody, which safetensors' are not."""
    for part in ("unet", "text_encoder", "tokenizer", "scheduler"):
        (folder / part).mkdir(parents=True)
        for file in sorted((source / part).iterdir()):
            shutil.copyfile(file, folder / part / file.name)
    for name in ("model_index.json", CARD):
        shutil.copyfile(source / name, folder / name)


def _check_score(score: Mapping[str, Any] | None, training: Mapping[str, Any]) -> None:
    if score is None or score["training"] == training:
        return
    scored = score["training"].get("iteration") if isinstance(score["training"], dict) else None
    raise TrainingError(
        f"the score is another model's: it was taken after iteration {scored}, and this model, with "
        f"{training.get('iteration')}, was trained otherwise or further. Score this one: limbeck prior score"
    )


def _thinned_log(source: Path, iteration: int) -> list[dict[str, Any]]:
    """Return lines of the run's log up to the model's iteration; a model that was published has a log of its own.

    Raises:
        TrainingError: what lies there is no log of a training.
    """
    path = next((path for path in (source / LOG, source.parent / LOG) if path.is_file()), None)
    if path is None:
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if line["iteration"] <= iteration]
        is_log = all({"error", "seconds"} <= set(line) for line in lines)
    except (ValueError, KeyError, TypeError):
        is_log = False
    if not is_log:
        raise TrainingError(
            f"{path} is no log of a limbeck prior train. Move it away, or name the folder that the training wrote."
        )
    every = max(1, math.ceil(len(lines) / LOG_LINES))
    return [line for index, line in enumerate(lines, 1) if index % every == 0 or index == len(lines)]


def _count_weights(part: Path) -> int:
    """Return how many numbers the weights of one network are."""
    total = 0
    for file in part.glob("*.safetensors"):
        with safe_open(file, framework="pt") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total
