"""Stable Diffusion 1.x and 2.x as a prior: UNet, VAE, text encoder and schedule, read from diffusers' layout.

A folder without a VAE is a model of pixels in the same kind, such as the one that `limbeck prior train` makes.

Outside of `training` the one importer of diffusers and transformers, and the one place that keeps them quiet: both
print progress bars and advice, which would end up in other programs' output. Gradients go through the VAE's encoder,
never through the UNet.
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
from transformers import CLIPTextModel, CLIPTokenizer

from limbeck_server.priors.latent_space import LatentSpace, PixelSpace, VaeSpace
from limbeck_server.priors.model_card import ModelCard, read_card
from limbeck_server.priors.model_files import ModelFiles, corrupt, find_model, reason
from limbeck_server.priors.prior import ModelError, NoiseSchedule, ParticleModel, ParticleSettings, PromptError

for _library in (diffusers, transformers):
    _library.utils.logging.set_verbosity_error()
    _library.utils.logging.disable_progress_bar()

_CLASSES = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextModel}
PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class Networks:
    """The parts of a loaded model: frozen, in one precision, on one device. A model of pixels has no VAE."""

    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    vae: Any = None


class StableDiffusionPrior:
    """A diffusion network behind the contract of `prior.py`.

    Latents have the VAE's channels (4) and an eighth of its input's side, scaled to a variance of about 1; without a
    VAE they are the pictures themselves, in -1..1.

    Attributes:
        card: what its folder says of itself.
        space: what its latents are.
        shaded: unless the model's card says so, its pictures show light, but it says nothing of where that comes from:
            the scene may add its own shading.
    """

    def __init__(self, name: str, networks: Networks, card: ModelCard | None = None) -> None:
        card = card or ModelCard()
        self.name = name
        self.evaluations = 0
        self.shaded = card.shaded
        self.default_negative_prompt = card.language.negative_prompt
        self.device: torch.device = networks.unet.device
        self.dtype: torch.dtype = networks.unet.dtype
        self.prediction_type: str = networks.scheduler.config.prediction_type
        # In double, since 1 - alpha_bar of the first timesteps loses digits in single precision.
        self.schedule = NoiseSchedule.from_alphas_cumprod(networks.scheduler.alphas_cumprod.double())
        size: int = networks.unet.config.sample_size
        self.space: LatentSpace = VaeSpace(networks.vae, size) if networks.vae is not None else PixelSpace(size)
        self.image_size = self.space.image_size
        """Side in pixels of the pictures that latents are made of: 512 for the base models, 768 for 2.1."""
        self.max_tokens = min(networks.tokenizer.model_max_length, networks.text_encoder.config.max_position_embeddings)
        self.card = card
        self._networks = networks
        self._embeddings: dict[str, Tensor] = {}

    def check_prompt(self, text: str) -> None:
        """Raise `PromptError` if the text is empty, has words unknown to the model, or is too long with view words."""
        self.card.language.check(text)
        longest = max(self.card.language.view_suffixes, key=lambda suffix: self._count_tokens(text + suffix))
        view_words = self._count_tokens(text + longest) - self._count_tokens(text)
        room = self.max_tokens - view_words
        if self._count_tokens(text) > room:
            # The start and end marks are the network's own business; people count words.
            raise PromptError(
                f"the prompt has {self._count_tokens(text) - 2} tokens, and {self.name} reads {room - 2} besides the "
                f"{view_words} of the view words; shorten it"
            )

    def view_suffix(self, azimuth_deg: float, elevation_deg: float) -> str:
        """Return the view words of a camera: DreamFusion's, such as ", front view", or what the card's language has."""
        return self.card.language.view_suffix(azimuth_deg, elevation_deg)

    def view_negatives(self, azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
        """Return Perp-Neg's two negative view words, such as ", side view", and their weights."""
        return self.card.language.view_negatives(azimuth_deg, elevation_deg)

    def encode_images(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return clean latents (views, c, h', w') of pictures (views, 3, h, w) in 0..1; differentiable.

        Args:
            images: of any size; resized to `image_size`.
            generator: draws from the VAE's posterior, as threestudio does. By default the posterior's mean is taken:
                its width is far below the noise that is added next, and one picture should mean one latent.
        """
        return self.space.encode(images, generator)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pictures (views, 3, `image_size`, `image_size`) in 0..1 of clean latents; not differentiable."""
        return self.space.decode(latents)

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
        model: `network` (the one that ships), `stable-diffusion` (the first known one in the Hugging Face cache), a hub
            id, or a local folder.
        device: where its networks live.
        dtype: their precision: half on CUDA, single on a CPU.
        allow_download: fetch what is missing from the hub, with its progress shown on standard error.

    Raises:
        ModelError: the model is missing, unsafe, damaged, or of another kind.
    """
    files = find_model(model, allow_download)
    card = read_card(files.folder, files.name)
    try:
        networks = {part: _load_network(files, part) for part in files.variant}
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
    return StableDiffusionPrior(files.name, Networks(tokenizer=tokenizer, scheduler=scheduler, **networks), card)


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
    unet, text_encoder = networks["unet"].config, networks["text_encoder"].config
    made, maker = (
        (networks["vae"].config.latent_channels, "its VAE makes") if "vae" in networks else (3, "pictures have")
    )
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
    if unet.in_channels != made:
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"The UNet of {files.name!r} takes {unet.in_channels} channels where {maker} {made}: "
            "models for inpainting, depth or upscaling do not serve. Choose a text-to-image model.",
        )
    if unet.cross_attention_dim != text_encoder.hidden_size or len(tokenizer) > text_encoder.vocab_size:
        raise corrupt(
            files.name,
            f"its parts do not belong together (UNet: texts of width {unet.cross_attention_dim}; text encoder: width "
            f"{text_encoder.hidden_size}, {text_encoder.vocab_size} tokens; tokenizer: {len(tokenizer)} tokens)",
        )
