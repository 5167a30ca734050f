"""A Stable Diffusion of random weights on disk, in diffusers' layout: for timing, where no weights can be had.

    python benchmarks/random_model.py FOLDER [--scale full|small] [--half]

`full` has the sizes of Stable Diffusion 2.1 base (Rombach et al. 2022; its published config.json files): a UNet of 866
million weights at 64 x 64 latents. It takes 2.6 GB in half precision. `small` has the same layout in 2 MB, to try a
command on. What it predicts means nothing; what it costs is what the real one costs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from limbeck_server.priors.training.tokenizer import world_words, write_tokenizer
from transformers import CLIPTextConfig, CLIPTextModel

MAX_TOKENS = 77
_DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
_UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
_SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "full": {
        "unet": {
            "sample_size": 64,
            "block_out_channels": (320, 640, 1280, 1280),
            "attention_head_dim": (5, 10, 20, 20),
            "cross_attention_dim": 1024,
        },
        "vae": {"sample_size": 768, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
        "text": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
    },
    "small": {
        "unet": {
            "sample_size": 8,
            "block_out_channels": (16, 16, 32, 32),
            "attention_head_dim": (2, 2, 4, 4),
            "cross_attention_dim": 16,
            "norm_num_groups": 8,
        },
        "vae": {"sample_size": 64, "block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
        "text": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    },
}


def write_random_model(folder: Path, scale: str, half: bool, seed: int = 0) -> Path:
    """Write the model and return its folder.

    Args:
        folder: made if it is not there.
        scale: `full` or `small`.
        half: half the bytes, read back in whatever precision the device wants.
        seed: draws the weights.
    """
    sizes = _SIZES[scale]
    tokens = write_tokenizer(folder / "tokenizer", world_words(), MAX_TOKENS)
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(down_block_types=_DOWN, up_block_types=_UP, use_linear_projection=True, **sizes["unet"])
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        scaling_factor=0.18215,
        **sizes["vae"],
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
            pad_token_id=tokens - 1,
            hidden_act="gelu",
            **sizes["text"],
        )
    )
    for part, network in (("unet", unet), ("vae", vae), ("text_encoder", text_encoder)):
        (network.half() if half else network).save_pretrained(folder / part)
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    classes = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(classes, indent=2))
    return folder


def main() -> None:
    """Write the model that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", choices=sorted(_SIZES), default="full")
    parser.add_argument("--half", action="store_true")
    options = parser.parse_args()
    for library in (diffusers, transformers):
        library.utils.logging.disable_progress_bar()
    print(write_random_model(options.folder, options.scale, options.half))


if __name__ == "__main__":
    main()
