"""The network prior's parts, as diffusers and transformers know them: a small UNet on pixels and a small text encoder.

Stable Diffusion's kind in small: the same classes, the same schedule, the same call. What differs: no VAE, and the text
also acts as a whole, pooled and added to the time embedding (diffusers' `addition_embed_type="text"`), since
cross-attention alone takes long to be listened to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from limbeck_server.priors.training.tokenizer import world_words, write_tokenizer


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network prior.

    Attributes:
        picture_size: side of its pictures in pixels: 8, 16, 32 or 64.
        channels: of the UNet's levels, the first at the full size, each further one at half the size before. Only the
            last level attends, to itself and to the text.
        text_width: of the text encoder and of what the UNet attends to.
        text_layers: of the text encoder.
        heads: of every attention layer; they divide the text's width and the last level's channels.
        max_tokens: the longest text, its start and end marks included. The longest caption of a degraded picture takes
            47: a word for everything and the whole negative prompt.
    """

    picture_size: int = 32
    channels: tuple[int, ...] = (32, 64, 128)
    text_width: int = 128
    text_layers: int = 2
    heads: int = 4
    max_tokens: int = 48

    @property
    def norm_groups(self) -> int:
        """Of the UNet's group normalisations."""
        return self.channels[0] // 2


class Denoiser(nn.Module):
    """UNet and text encoder, trained together."""

    def __init__(self, unet: Any, text_encoder: Any) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Return the predicted noise, shaped like `noisy` (n, 3, s, s), under the texts of `tokens` (n, max_tokens)."""
        hidden = self.text_encoder(tokens).last_hidden_state
        predicted: torch.Tensor = self.unet(noisy, timesteps, encoder_hidden_states=hidden).sample
        return predicted


def build_denoiser(architecture: Architecture, tokens: int, seed: int) -> Denoiser:
    """Return networks of random weights, the same for the same seed.

    Args:
        architecture: their sizes.
        tokens: how many tokens the tokenizer has; the last is the end mark, the last but one the start mark.
        seed: draws the weights.
    """
    last = len(architecture.channels) - 1
    with torch.random.fork_rng(devices=[]):  # The libraries draw from everybody's generator.
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=architecture.picture_size,
            in_channels=3,
            out_channels=3,
            block_out_channels=architecture.channels,
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * last + ("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * last,
            cross_attention_dim=architecture.text_width,
            # diffusers' name for the number of heads.
            attention_head_dim=architecture.heads,
            norm_num_groups=architecture.norm_groups,
            addition_embed_type="text",
            addition_embed_type_num_heads=architecture.heads,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=tokens,
                hidden_size=architecture.text_width,
                intermediate_size=4 * architecture.text_width,
                num_hidden_layers=architecture.text_layers,
                num_attention_heads=architecture.heads,
                max_position_embeddings=architecture.max_tokens,
                projection_dim=architecture.text_width,
                bos_token_id=tokens - 2,
                eos_token_id=tokens - 1,
                pad_token_id=tokens - 1,
            )
        )
    return Denoiser(unet, text_encoder)


def build_tokenizer(folder: Path, architecture: Architecture) -> Any:
    """Write the world's tokenizer into `folder` and return it."""
    write_tokenizer(folder, world_words(), architecture.max_tokens)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def build_scheduler() -> Any:
    """Return Stable Diffusion's schedule as diffusers' DDIM scheduler, set as that model's own.

    Nothing is clipped: the known world's backgrounds may lie outside of -1..1.
    """
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )
