"""Stable Diffusion 1.x and 2.x as a prior: UNet, VAE, text encoder and schedule, read from diffusers' layout.

The one importer of diffusers and transformers, and the one place that keeps them quiet: both print progress bars and
advice, which would end up in other programs' output. Gradients go through the VAE's encoder, never through the UNet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import CLIPTextModel, CLIPTokenizer

from limbeck_server.priors import prompts as words
from limbeck_server.priors.model_files import NETWORKS, ModelFiles, corrupt, find_model, reason
from limbeck_server.priors.prior import ModelError, NoiseSchedule, ParticleModel, ParticleSettings, PromptError

for _library in (diffusers, transformers):
    _library.utils.logging.set_verbosity_error()
    _library.utils.logging.disable_progress_bar()

_CLASSES = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Networks:
    """The parts of a loaded model: frozen, in one precision, on one device."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any


class StableDiffusionPrior:
    """A latent diffusion network behind the contract of `prior.py`.

    Latents have the VAE's channels (4) and an eighth of its input's side; they are scaled to a variance of about 1.
    """

    shaded = False
    """Its pictures show light, but it says nothing of where that comes from: the scene may add its own shading."""
    default_negative_prompt = words.NEGATIVE_PROMPT

    def __init__(self, name: str, networks: Networks) -> None:
        self.name = name
        self.evaluations = 0
        self.device: torch.device = networks.unet.device
        self.dtype: torch.dtype = networks.unet.dtype
        self.prediction_type: str = networks.scheduler.config.prediction_type
        # In double, since 1 - alpha_bar of the first timesteps loses digits in single precision.
        self.schedule = NoiseSchedule.from_alphas_cumprod(networks.scheduler.alphas_cumprod.double())
        vae_config = networks.vae.config
        self.latent_scale: float = vae_config.scaling_factor
        self.image_size: int = networks.unet.config.sample_size * 2 ** (len(vae_config.block_out_channels) - 1)
        """Side in pixels of the pictures that the VAE is given: 512 for the base models, 768 for 2.1."""
        self.max_tokens = min(networks.tokenizer.model_max_length, networks.text_encoder.config.max_position_embeddings)
        self._networks = networks
        self._embeddings: dict[str, Tensor] = {}

    def check_prompt(self, text: str) -> None:
        """Raise `PromptError` if the text is empty, or too long once view words are appended to it."""
        if not text.strip():
            raise PromptError("the prompt is empty; say what to make, such as 'a yellow duck'")
        longest = max(words.VIEW_SUFFIXES, key=lambda suffix: self._count_tokens(text + suffix))
        view_words = self._count_tokens(text + longest) - self._count_tokens(text)
        room = self.max_tokens - view_words
        if self._count_tokens(text) > room:
            # The start and end marks are the network's own business; people count words.
            raise PromptError(
                f"the prompt has {self._count_tokens(text) - 2} tokens, and {self.name} reads {room - 2} besides the "
                f"{view_words} of the view words; shorten it"
            )

    def view_suffix(self, azimuth_deg: float, elevation_deg: float) -> str:
        """Return DreamFusion's view words, such as ", front view"."""
        return words.view_suffix(azimuth_deg, elevation_deg)

    def view_negatives(self, azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
        """Return Perp-Neg's two negative view words, such as ", side view", and their weights."""
        return words.view_negatives(azimuth_deg, elevation_deg)

    def encode_images(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return clean latents (views, c, h', w') of pictures (views, 3, h, w) in 0..1; differentiable.

        Args:
            images: of any size; resized to `image_size`.
            generator: draws from the VAE's posterior, as threestudio does. By default the posterior's mean is taken:
                its width is far below the noise that is added next, and one picture should mean one latent.
        """
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = interpolate(images, size, mode="bilinear", antialias=images.shape[-1] > self.image_size)
        posterior = self._networks.vae.encode(images.to(self.dtype) * 2.0 - 1.0).latent_dist
        latents: Tensor = posterior.mean if generator is None else posterior.sample(generator)
        return (latents * self.latent_scale).to(torch.promote_types(images.dtype, torch.float32))

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pictures (views, 3, `image_size`, `image_size`) in 0..1 of clean latents; not differentiable."""
        decoded: Tensor = self._networks.vae.decode(latents.to(self.dtype) / self.latent_scale).sample
        return (decoded.to(latents.dtype) / 2.0 + 0.5).clamp(0.0, 1.0)

    @torch.no_grad()
    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        """Return, for every branch of `prompts`, the predicted noise, shaped like `noisy`; one call of the UNet.

        Args:
            noisy: (views, c, h', w') noisy latents.
            timesteps: (views,) int64, index into the schedule.
            prompts: branch name -> one text per view; the empty string is the empty prompt.

        Raises:
            PromptError: a text is too long; nothing is ever cut off in silence.
        """
        texts = [text for branch in prompts.values() for text in branch]
        if len(texts) != len(prompts) * len(noisy):
            raise ValueError(f"every branch needs {len(noisy)} texts, one per view, got {len(texts)} in all")
        answer = self._networks.unet(
            noisy.to(self.dtype).repeat(len(prompts), 1, 1, 1),
            timesteps.repeat(len(prompts)),
            encoder_hidden_states=torch.cat([self._embed(text) for text in texts]),
        ).sample
        self.evaluations += len(texts)
        answers = dict(zip(prompts, answer.to(noisy.dtype).split(len(noisy)), strict=True))
        if self.prediction_type == "epsilon":
            return answers
        return {branch: self.schedule.noise_from_velocity(v, noisy, timesteps) for branch, v in answers.items()}

    def particle_model(self, settings: ParticleSettings) -> ParticleModel:
        """Return a fresh model of our own renders: LoRA on this prior's UNet, whose weights are shared and stay frozen.

        Raises:
            ParticleError: the UNet has no attention layers that LoRA could adapt.
        """
        # Imported here: only VSD needs peft.
        from limbeck_server.priors.particle_model import LoraParticleModel

        predicts_velocity = self.prediction_type == "v_prediction"
        return LoraParticleModel(self._networks.unet, self._embed, self.schedule, predicts_velocity, settings)

    def _count_tokens(self, text: str) -> int:
        return len(self._networks.tokenizer(text).input_ids)

    @torch.no_grad()
    def _embed(self, text: str) -> Tensor:
        """Return what the text encoder makes of the text, (1, tokens, width); each text is encoded once."""
        if text not in self._embeddings:
            tokenizer = self._networks.tokenizer
            ids = tokenizer(text, padding="max_length", max_length=self.max_tokens, return_tensors="pt").input_ids
            if ids.shape[1] > self.max_tokens:
                raise PromptError(
                    f"the text {text[:60]!r}... has {ids.shape[1] - 2} tokens, and {self.name} reads "
                    f"{self.max_tokens - 2}; shorten the prompt, the negative prompt or the camera's suffix"
                )
            self._embeddings[text] = self._networks.text_encoder(ids.to(self.device)).last_hidden_state
        return self._embeddings[text]


def load_stable_diffusion(
    model: str, device: torch.device, dtype: torch.dtype, allow_download: bool = False
) -> StableDiffusionPrior:
    """Return the prior, ready to predict.

    Args:
        model: `stable-diffusion` (the first known one in the Hugging Face cache), a hub id, or a local folder.
        device: where its networks live.
        dtype: their precision: half on CUDA, single on a CPU.
        allow_download: fetch what is missing from the hub, with its progress shown on standard error.

    Raises:
        ModelError: the model is missing, unsafe, damaged, or of another kind.
    """
    files = find_model(model, allow_download)
    try:
        networks = {part: _load_network(files, part) for part in NETWORKS}
        tokenizer = CLIPTokenizer.from_pretrained(files.folder / "tokenizer", local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(files.folder / "scheduler", local_files_only=True)
    except (ModelError, MemoryError):
        raise
    except Exception as error:
        # Both libraries let through whatever a damaged file provokes, down to a bare Exception of the tokenizer's.
        # Nothing has touched the device yet, so this is no lack of GPU memory.
        raise corrupt(files.name, f"{type(error).__name__}: {reason(error)}") from error
    _check_fit(files, networks, tokenizer, scheduler)
    for network in networks.values():
        network.requires_grad_(False).eval().to(device, dtype)
    return StableDiffusionPrior(files.name, Networks(tokenizer=tokenizer, scheduler=scheduler, **networks))


def _load_network(files: ModelFiles, part: str) -> Any:
    """Return one network, with every weight read from its file: libraries would fill what is missing with noise."""
    network, report = _CLASSES[part].from_pretrained(
        files.folder / part,
        variant=files.variant[part],
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )
    missing = sorted(str(key) for key in (*report["missing_keys"], *report["mismatched_keys"]))
    if missing:
        raise corrupt(files.name, f"{len(missing)} weights of its {part} are missing, such as {missing[0]}")
    return network


def _check_fit(files: ModelFiles, networks: Mapping[str, Any], tokenizer: Any, scheduler: Any) -> None:
    """Raise `ModelError` unless the parts are those of a text-to-image model and fit each other."""
    unet, vae, text_encoder = (networks[part].config for part in ("unet", "vae", "text_encoder"))
    prediction_type = scheduler.config.prediction_type
    if prediction_type not in PREDICTION_TYPES:
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"The model {files.name!r} predicts {prediction_type!r}; known are {' and '.join(PREDICTION_TYPES)}. "
            "Choose another model.",
        )
    if not isinstance(unet.sample_size, int):
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"The UNet of {files.name!r} has the sample size {unet.sample_size}, not one side of a square. "
            "Choose another model.",
        )
    if unet.in_channels != vae.latent_channels:
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"The UNet of {files.name!r} takes {unet.in_channels} channels where its VAE makes {vae.latent_channels}: "
            "models for inpainting, depth or upscaling do not serve. Choose a text-to-image model.",
        )
    if unet.cross_attention_dim != text_encoder.hidden_size or len(tokenizer) > text_encoder.vocab_size:
        raise corrupt(
            files.name,
            f"its parts do not belong together (UNet: texts of width {unet.cross_attention_dim}; text encoder: width "
            f"{text_encoder.hidden_size}, {text_encoder.vocab_size} tokens; tokenizer: {len(tokenizer)} tokens)",
        )
