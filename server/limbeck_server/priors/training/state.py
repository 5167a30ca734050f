"""A training run on disk: all that it needs to go on, bit for bit, after it was killed at any moment.

Tensors lie in `state-ITERATION.safetensors`; `state.json` names the newest file, its digest, the iteration and the
settings. Both are written beside and then put in place, the JSON last, so that there is always one whole state. No
generator is stored: every batch has a generator of its own, seeded by the run's seed and the iteration.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from limbeck_server.priors.training.settings import TrainingError

INDEX = "state.json"
VERSION = 1
_REMEDY = "Put it back from a copy, or train into another folder."


@dataclass(frozen=True)
class StoredState:
    """What was read.

    Attributes:
        iteration: steps done.
        settings: those of the run, as JSON has them.
        seconds: spent on the steps so far.
        tensors: the run's own names -> tensors.
    """

    iteration: int
    settings: dict[str, Any]
    seconds: float
    tensors: dict[str, Tensor]


def save_state(
    folder: Path, iteration: int, settings: Mapping[str, Any], seconds: float, tensors: Mapping[str, Tensor]
) -> None:
    """Write a state; the one before is removed once the new one is whole."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    file = folder / f"state-{iteration:07d}.safetensors"
    write_whole(file, data)
    index = {
        "version": VERSION,
        "iteration": iteration,
        "seconds": round(seconds, 3),
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "settings": dict(settings),
    }
    write_whole(folder / INDEX, (json.dumps(index, indent=2) + "\n").encode())
    for old in folder.glob("state-*.safetensors*"):
        if old.name != file.name:
            old.unlink()


def load_state(folder: Path) -> StoredState | None:
    """Return the newest whole state, or None where none was written yet.

    Raises:
        TrainingError: the state is damaged, or of another release.
    """
    index = stored_index(folder)
    if not index:
        return None
    try:
        data = (folder / index["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != index["sha256"]:
            raise TrainingError(f"the state of the training run, {index['file']}, was altered. {_REMEDY}")
        return StoredState(index["iteration"], index["settings"], index["seconds"], load(data))
    except (OSError, KeyError, TypeError) as error:
        raise TrainingError(
            f"the state of the training run cannot be read ({type(error).__name__}). {_REMEDY}"
        ) from error


def stored_index(folder: Path) -> dict[str, Any]:
    """Return what `state.json` says, without a look at the tensors; empty where there is none.

    Raises:
        TrainingError: it cannot be read.
    """
    if not (folder / INDEX).is_file():
        return {}
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{INDEX} cannot be read ({type(error).__name__}). {_REMEDY}") from error
    if not isinstance(index, dict) or index.get("version") != VERSION:
        raise TrainingError(f"{INDEX} is not of the layout {VERSION} that this release reads. {_REMEDY}")
    return index


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and on the disk when this returns."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
