"""What several rooms' tests share."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VALIDATOR = Path(__file__).parents[1] / "packaging" / "gltf"
END_OF_WORD = "</w>"
WORDS = ("a", "duck", "yellow", "front", "side", "back", "overhead", "view")
# NFSD's negative prompt must fit into the text encoder's 77 tokens, as it does into the real one's.
WORDS += ("unrealistic", "blurry", "low", "quality", "out", "of", "focus", "ugly", "contrast", "resolution", "gloomy")


def write_tiny_tokenizer(folder: Path) -> int:
    """Write CLIP's files for an alphabet of letters, with merges that make `WORDS` one token each; return its size."""
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz,.-'"
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters)]
    merges = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + END_OF_WORD]
        while len(parts) > 1:
            merged = parts[0] + parts[1]
            if merged not in tokens:
                merges.append((parts[0], parts[1]))
                tokens.append(merged)
            parts = [merged, *parts[2:]]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {two}\n" for one, two in merges))
    names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {**names, "pad_token": "<|endoftext|>", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


def build_tiny_stable_diffusion(folder: Path, prediction_type: str) -> Path:
    """Write a Stable Diffusion of random weights in the layout of the real ones: 8 x 8 latents of 16 x 16 pictures.

    A few hundred kilobytes; every file is made by the classes that read the real ones.
    """
    # Imported here: most tests need neither, and diffusers takes seconds.
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokens = write_tiny_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        ).save_pretrained(folder / "unet")
        AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=16,
        ).save_pretrained(folder / "vae")
        text_config = CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
            pad_token_id=tokens - 1,
        )
        CLIPTextModel(text_config).save_pretrained(folder / "text_encoder")
    # As on the hub: PNDM for the epsilon models, DDIM for 2.1 and its velocities.
    schedulers = {"epsilon": PNDMScheduler, "v_prediction": DDIMScheduler}
    extra = {"skip_prk_steps": True} if prediction_type == "epsilon" else {"clip_sample": False}
    schedulers[prediction_type](
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
        **extra,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.36.0",
        "scheduler": ["diffusers", schedulers[prediction_type].__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def tiny_stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: prediction type (`epsilon`, `v_prediction`) -> folder of a tiny model. Change only copies."""
    built: dict[str, Path] = {}

    def folder(prediction_type: str = "epsilon") -> Path:
        if prediction_type not in built:
            place = tmp_path_factory.mktemp(f"tiny-{prediction_type}")
            built[prediction_type] = build_tiny_stable_diffusion(place, prediction_type)
        return built[prediction_type]

    return folder


@pytest.fixture(scope="session")
def tiny_pixel_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of 8 x 8 pixels in the layout of `limbeck prior train`. Change only copies."""
    from limbeck_server.priors.training.architecture import Architecture, build_denoiser, build_tokenizer
    from limbeck_server.priors.training.export import export_model
    from limbeck_server.priors.training.settings import TrainingSettings

    place = tmp_path_factory.mktemp("tiny-pixels")
    settings = TrainingSettings(views_per_shape=20, architecture=Architecture(8, (8, 16), 16, 1, 2))
    tokens = len(build_tokenizer(place / "words", settings.architecture))
    denoiser = build_denoiser(settings.architecture, tokens, seed=0)
    export_model(denoiser, dict(denoiser.named_parameters()), settings, 0, place / "model")
    return place / "model"


@pytest.fixture(scope="session")
def gltf_issues() -> Callable[..., dict[str, Any]]:
    """Files -> what the Khronos validator says of each; installed from the lock file beside it at first use."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("the Khronos glTF validator needs node and npm on the PATH")
    if not (VALIDATOR / "node_modules" / "gltf-validator").is_dir():
        subprocess.run(
            [shutil.which("npm"), "ci", "--prefix", str(VALIDATOR)],
            check=True,
            cwd=VALIDATOR,
            timeout=240,
            capture_output=True,
        )

    def issues(*paths: Path) -> dict[str, Any]:
        command = [shutil.which("node"), str(VALIDATOR / "validate.mjs"), *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    return issues
