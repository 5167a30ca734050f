"""The exact prior: the ideal denoiser of the known world's pictures, in closed form. Nothing is trained or downloaded.

It answers like any diffusion prior (prompts, empty and negative prompt, view words, Stable Diffusion's noise schedule),
yet its answers are exact: of every picture that a caption allows, over stored views, any shade of a colour word, any
plain background. It knows a small world of shapes and nothing else; it is for seeing, testing and comparing.

Pictures live in 0..1, latents in -1..1, so z_t = alpha_t z + sigma_t eps is the picture (z_t / alpha_t + 1) / 2 under
noise of standard deviation sigma_t / (2 alpha_t).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from limbeck_server.known_world import captions, views
from limbeck_server.known_world.degradations import degrade
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.caption_prior import CaptionPrior
from limbeck_server.priors.languages import KNOWN_WORLD
from limbeck_server.priors.latent_space import pixel_latents
from limbeck_server.priors.mixture import ColourModel, Explanation, ViewMixture, posterior_weights
from limbeck_server.priors.prior import NoiseSchedule, ParticleError, ParticleModel, ParticleSettings, PromptError
from limbeck_server.priors.view_stack import ViewStack

SIZES = (32, 64)
"""Picture sizes, in pixels, that the exact prior is offered at."""
COLOUR_STD = 0.04
"""How far a picture's main colour strays from the palette colour of its colour word."""
DEGRADED_SHARE = 0.1
"""Probability that a picture of the world is degraded: blurred, dark, of low contrast or coarse pixels."""
DEGRADED_VIEWS_PER_SHAPE = 12
_DEGRADED_SEED = 20260
_DROPPED_MASS = 1e-7


class ExactPrior:
    """The known world's ideal denoiser, as a prior (see `limbeck_server.priors.prior.Prior`).

    Args:
        library: the clean views.
        degraded: the degraded views, of the same shapes and size; without them, degraded captions are refused.
        device: where pictures and matrices live.
        dtype: of the products over pixels. All scalars are float64.
        dropped_mass: how much posterior mass may be left out of a denoised picture, in its least probable views.
    """

    name = "exact"
    shaded = True
    default_negative_prompt = captions.NEGATIVE_PROMPT

    def __init__(
        self,
        library: ViewLibrary,
        degraded: ViewLibrary | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        dropped_mass: float = _DROPPED_MASS,
    ) -> None:
        self.device = torch.device(device)
        self.schedule = NoiseSchedule.stable_diffusion()
        self.size = library.size
        self.evaluations = 0
        self._dropped_mass = dropped_mass
        self._captions = CaptionPrior(library, degraded, DEGRADED_SHARE, self.device)
        # Degraded pictures fill the frame where clean ones leave it empty: kept apart, these have a small support.
        stacks = [library] if degraded is None else [library, degraded]
        means = torch.tensor(list(COLOURS.values()), dtype=torch.float64)
        self._mixture = ViewMixture(
            [ViewStack.from_buffers(stack.buffers, self.device, dtype) for stack in stacks],
            ColourModel(means, COLOUR_STD),
        )

    def check_prompt(self, text: str) -> None:
        """Raise `PromptError` unless every word is known and some stored view fits."""
        self._captions.restrict(text)

    def view_suffix(self, azimuth_deg: float, elevation_deg: float) -> str:
        """Return the view words of a camera that stands there, to be appended to a prompt."""
        return captions.view_suffix(azimuth_deg, elevation_deg)

    def view_negatives(self, azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
        """Return Perp-Neg's two negative view words, seen from the same height, and their weights.

        See `languages.known_world_view_negatives`.
        """
        return KNOWN_WORLD.view_negatives(azimuth_deg, elevation_deg)

    def encode_images(self, images: Tensor) -> Tensor:
        """Return latents in -1..1, (n, 3, size, size), of square pictures (n, 3, h, h) in 0..1; differentiable.

        Raises:
            ValueError: if the pictures are not square RGB.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise ValueError(f"the exact prior looks at square pictures (n, 3, h, h), but got {tuple(images.shape)}")
        return pixel_latents(images, self.size)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return the pictures in 0..1 of latents."""
        return ((latents.detach() + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        """Return the exact expected noise of every branch; see `limbeck_server.priors.prior.Prior.predict_noise`.

        Raises:
            PromptError: if a text has an unknown word, or no stored view fits it.
            ValueError: if shapes or the number of texts disagree.
        """
        signal, noise = self._scales(noisy, timesteps)
        texts = [text for branch in prompts.values() for text in branch]
        denoised = self._denoise(noisy, signal, noise, texts, branches=len(prompts))
        repeated = noisy.double().repeat(len(prompts), 1, 1, 1)
        predicted = (repeated - signal.repeat(len(prompts), 1, 1, 1) * denoised) / noise.repeat(len(prompts), 1, 1, 1)
        self.evaluations += len(texts)
        return dict(zip(prompts, torch.split(predicted.to(noisy.dtype), noisy.shape[0]), strict=True))

    @torch.no_grad()
    def denoise(self, noisy: Tensor, timesteps: Tensor, texts: Sequence[str]) -> Tensor:
        """Return the expected clean latents, shaped like the noisy ones (n, 3, size, size), each under its own text.

        Raises:
            PromptError: if a text has an unknown word, or no stored view fits it.
            ValueError: if shapes or the number of texts disagree.
        """
        signal, noise = self._scales(noisy, timesteps)
        self.evaluations += len(texts)
        return self._denoise(noisy, signal, noise, texts, branches=1).to(noisy.dtype)

    @torch.no_grad()
    def denoise_at(self, scaled: Tensor, sigmas: Tensor, texts: Sequence[str]) -> Tensor:
        """Return the expected clean latents at any noise level; see `prior.ClosedFormPrior.denoise_at`.

        Raises:
            PromptError: if a text has an unknown word, or no stored view fits it.
            ValueError: if shapes or the number of texts disagree.
        """
        branches = max(len(texts) // max(len(scaled), 1), 1)
        noise = sigmas.to(self.device, torch.float64)[:, None, None, None]
        self.evaluations += len(texts)
        return self._denoise(scaled, torch.ones_like(noise), noise, texts, branches).to(scaled.dtype)

    def particle_model(self, settings: ParticleSettings) -> ParticleModel:
        """Refuse: there is no network here to adapt, and the exact answer is known.

        Raises:
            ParticleError: always.
        """
        raise ParticleError(
            "the loss 'vsd' trains a particle model, and the exact prior has no network to adapt. Nor would an exact "
            "one help: the exact particle model of a single render predicts the very noise that was added, so that VSD "
            "equals SDS draw by draw. Choose another loss, such as 'sds', or a prior that is a network, such as "
            "'network'."
        )

    def log_likelihood(self, pictures: Tensor, noise_std: float | Tensor, text: str) -> Tensor:
        """Return log p(picture + noise | text) of n pictures, float64; differentiable with respect to them.

        Args:
            pictures: (n, 3, size, size) in 0..1, with noise of that strength already in them. A clean picture may be
                given too: noise_std then says how large deviations from a perfect picture are forgiven.
            noise_std: above 0, in the pictures' units; one number, or one per picture.
            text: a caption; the empty string for the whole known world.
        """
        restriction = self._captions.restrict(text)
        explanation = self._explain(pictures, noise_std)
        return (explanation.log_density + restriction.log_joint).logsumexp(dim=(1, 2))

    @torch.no_grad()
    def posterior(
        self,
        pictures: Tensor,
        noise_std: float | Tensor,
        over: str,
        given: str = "",
        include_degraded: bool = False,
    ) -> tuple[tuple[str, ...], Tensor]:
        """Return words and their exact posterior probabilities (n, words), float64, for n pictures.

        To judge pictures that come from elsewhere, give a noise_std that forgives standing between two stored views,
        0.2 to 0.5 at 32 px and 0.5 to 1 at 64 px, and to judge shapes, as many stored views of each (200 do).

        Args:
            pictures: (n, 3, size, size), see `log_likelihood`.
            noise_std: see `log_likelihood`.
            over: `shape`, `colour`, `azimuth` or `elevation`.
            given: a caption known to hold, such as "a duck" when asking for the azimuth.
            include_degraded: whether an empty caption allows for degraded pictures, as it does elsewhere. A blurred
                view of the wrong shape can lie closer to a picture than a sharp one of the right shape, so a judge of
                sharp pictures leaves them out.

        Raises:
            PromptError: if the caption has an unknown word, or no stored view fits it.
            ValueError: if `over` is another word.
        """
        if over not in self._captions.labels:
            raise ValueError(f"over must be one of {', '.join(self._captions.labels)}, but is {over!r}")
        restriction = self._captions.restrict(given, include_degraded)
        log_joint = self._explain(pictures, noise_std).log_density + restriction.log_joint
        weights = torch.softmax(log_joint.flatten(1), dim=1).view_as(log_joint)
        labels = self._captions.labels[over]
        per_label = weights.sum(dim=1 if over == "colour" else 2)
        totals = torch.zeros(len(pictures), len(labels.words), dtype=torch.float64, device=self.device)
        return labels.words, totals.index_add(1, labels.index, per_label)

    def _explain(self, pictures: Tensor, noise_std: float | Tensor) -> Explanation:
        """Return the explanation of noisy pictures in 0..1."""
        if pictures.ndim != 4 or pictures.shape[1:] != (3, self.size, self.size):
            raise ValueError(f"expected pictures (n, 3, {self.size}, {self.size}), but got {tuple(pictures.shape)}")
        std = torch.as_tensor(noise_std, dtype=torch.float64, device=self.device).expand(len(pictures))
        return self._mixture.explain(pictures, std)

    def _scales(self, noisy: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return alpha_t and sigma_t, each (n, 1, 1, 1) float64, for every noisy latent."""
        if timesteps.shape != noisy.shape[:1]:
            raise ValueError(
                f"expected one timestep for each of {noisy.shape[0]} noisy latents, but got {tuple(timesteps.shape)}"
            )
        at = timesteps.to(self.schedule.signal_scales.device)
        signal, noise = self.schedule.signal_scales[at], self.schedule.noise_stds[at]
        return signal.to(self.device)[:, None, None, None], noise.to(self.device)[:, None, None, None]

    def _denoise(self, noisy: Tensor, signal: Tensor, noise: Tensor, texts: Sequence[str], branches: int) -> Tensor:
        """Return expected clean latents (branches * n, 3, size, size) float64; every noisy latent is explained once."""
        n = noisy.shape[0]
        if len(texts) != branches * n:
            raise ValueError(f"expected {branches} texts for each of {n} noisy latents, but got {len(texts)} texts")
        explanation = self._explain((noisy / signal + 1) / 2, (noise / (2 * signal)).flatten())
        rows = torch.arange(n, device=self.device).repeat(branches)
        log_prior = torch.stack([self._captions.restrict(text).log_joint for text in texts])
        weights = posterior_weights(explanation.log_density[rows] + log_prior, self._dropped_mass)
        return 2 * self._mixture.mean_pictures(explanation, rows, weights, (self.size, self.size)).double() - 1


def load_exact_prior(
    prompt: str,
    size: int,
    device: torch.device | str = "cpu",
    cache_folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    also: Sequence[str] = (),
) -> ExactPrior:
    """Return the exact prior for a prompt: many views of the prompt's shape, some of every other, and degraded ones.

    The views are rendered at first use and kept in the cache; see `limbeck_server.known_world.views.load_library`.

    Args:
        prompt: what will be asked; its shape gets most of the views. A prompt without a shape treats all alike.
        size: side of the pictures in pixels, one of `SIZES`.
        device: where the prior lives.
        cache_folder: where rendered views are kept; the user's cache folder if left out.
        progress: called with (views done, views in all) as they are rendered or read.
        also: other prompts that will be asked, whose shapes get as many views.

    Raises:
        PromptError: if a prompt has an unknown word, or no stored view fits it.
        ValueError: if the size is another.
    """
    if size not in SIZES:
        raise ValueError(
            f"the exact prior's pictures are {' or '.join(map(str, SIZES))} pixels wide, but {size} were asked for"
        )
    try:
        wanted = [views.default_counts(captions.parse_caption(text).shape) for text in (prompt, *also)]
    except captions.CaptionError as error:
        raise PromptError(str(error)) from error
    counts = {name: max(each[name] for each in wanted) for name in wanted[0]}
    library = views.load_library(counts, size, cache_folder, progress)
    prior = ExactPrior(library, degraded_views(library), device)
    prior.check_prompt(prompt)
    return prior


def load_exact_judge(shape: str, progress: Callable[[int, int], None] | None = None) -> ExactPrior:
    """Return who knows 32-pixel pictures of one shape, by as many views as its own prior has: see `posterior`.

    Args:
        shape: one of the known world's; every caption that is asked about must name it.
        progress: see `load_exact_prior`.
    """
    return ExactPrior(views.load_library({shape: views.default_counts(shape)[shape]}, min(SIZES), None, progress))


def degraded_views(library: ViewLibrary, per_shape: int = DEGRADED_VIEWS_PER_SHAPE) -> ViewLibrary:
    """Return degraded versions of a few views of every shape, the same ones every time."""
    rows = torch.cat([_spread(library.shape_index == shape, per_shape) for shape in range(len(library.shape_names))])
    generator = torch.Generator().manual_seed(_DEGRADED_SEED)
    return replace(
        library,
        buffers=degrade(library.buffers[rows].float() / 255, generator),
        shape_index=library.shape_index[rows],
        azimuth_deg=library.azimuth_deg[rows],
        elevation_deg=library.elevation_deg[rows],
    )


def _spread(chosen: Tensor, count: int) -> Tensor:
    """Return at most `count` of the chosen rows, evenly spread over them."""
    rows = chosen.nonzero().squeeze(1)
    return rows[torch.linspace(0, len(rows) - 1, min(count, len(rows))).round().long()]
