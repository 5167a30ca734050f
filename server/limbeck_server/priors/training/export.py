"""The trained model as a folder in diffusers' layout: half precision, safetensors, 10 MB.

`model_index.json` names no VAE, which makes it a model of pixels, and `limbeck.json` says which language its prompts
are written in and how it was trained. The parts load by diffusers' and transformers' own `from_pretrained`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import diffusers
from safetensors.torch import save_file
from torch import Tensor

from limbeck_server.known_world.views import world_digest
from limbeck_server.priors.languages import KNOWN_WORLD
from limbeck_server.priors.model_card import CARD
from limbeck_server.priors.training.architecture import Denoiser, build_scheduler, build_tokenizer
from limbeck_server.priors.training.held_out import HELD_OUT
from limbeck_server.priors.training.settings import TrainingSettings

_TEXT_PREFIX = "text_model."


def export_model(
    denoiser: Denoiser, weights: Mapping[str, Tensor], settings: TrainingSettings, iteration: int, folder: Path
) -> None:
    """Write the model; a folder that is there already is replaced as a whole.

    Args:
        denoiser: gives the configurations.
        weights: parameter's name in the denoiser -> what to write for it.
        settings: of the training run.
        iteration: how many of its steps were done.
        folder: made.
    """
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    for stale in (part, old):
        shutil.rmtree(stale, ignore_errors=True)
    for name, module in (("unet", denoiser.unet), ("text_encoder", denoiser.text_encoder)):
        if name == "unet":
            module.save_config(part / name)
        else:
            module.config.save_pretrained(part / name)
        own = {key.removeprefix(name + "."): value for key, value in weights.items() if key.startswith(name + ".")}
        file = "model.safetensors" if name == "text_encoder" else "diffusion_pytorch_model.safetensors"
        save_file(
            {_file_key(name, key): value.detach().cpu().half().contiguous() for key, value in own.items()},
            part / name / file,
            {"format": "pt"},
        )
    build_tokenizer(part / "tokenizer", settings.architecture)
    build_scheduler().save_pretrained(part / "scheduler")
    index = {
        "_class_name": "DiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
    }
    card = {
        "language": KNOWN_WORLD.name,
        "shaded": True,
        "training": settings.as_json() | {"iteration": iteration, "held_out": HELD_OUT, "world": world_digest()},
    }
    for name, content in (("model_index.json", index), (CARD, card)):
        (part / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _file_key(part: str, key: str) -> str:
    """Return a weight's name in its file: transformers 4 knows the text encoder's with a prefix, and 5 reads both."""
    return _TEXT_PREFIX + key.removeprefix(_TEXT_PREFIX) if part == "text_encoder" else key
