"""Predictions made by hand, and a small prior in closed form; float64, so that identities hold to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import pytest
import torch
from limbeck_server.distillation.asking import Request, Subject
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.noising import schedule_values
from limbeck_server.distillation.observations import ROUTES
from limbeck_server.distillation.predictions import NoisePredictions
from limbeck_server.priors.prior import NoiseSchedule, ParticleSettings, PromptError
from torch import Tensor
from torch.nn import functional

SHAPE = (4, 3, 3)
PLACES = ("timestep", "signal_scale", "noise_std")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture
def schedule() -> NoiseSchedule:
    return NoiseSchedule.stable_diffusion()


@pytest.fixture
def predictions_at(generator: torch.Generator, schedule: NoiseSchedule) -> Callable[..., NoisePredictions]:
    """Return predictions of independent random numbers at the given timesteps, any of them replaced by keyword."""

    def make(timesteps: list[int], **given: Tensor | None) -> NoisePredictions:
        timestep = torch.tensor(timesteps)
        scale, std = schedule_values(schedule, timestep, torch.device("cpu"), torch.float64)
        shape = (len(timesteps), *SHAPE)
        names = [field.name for field in fields(NoisePredictions) if field.name not in PLACES]
        drawn = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in names}
        return NoisePredictions(timestep=timestep, signal_scale=scale, noise_std=std, **(drawn | given))

    return make


# --- a prior in closed form -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussians:
    """A mixture of isotropic Gaussians over latents; a spread of 0 is a point mass.

    Attributes:
        weights: (k,), adding up to 1.
        means: (k, c, h, w).
        stds: (k,).
    """

    weights: Tensor
    means: Tensor
    stds: Tensor

    def parts(self, scaled: Tensor, sigmas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weight times density (n, k), what is left of each mean (n, k, c, h, w), and variances (n, k)."""
        variances = self.stds**2 + sigmas[:, None] ** 2
        away = scaled[:, None] - self.means
        size = self.means[0].numel()
        log_joint = (
            self.weights.log()
            - 0.5 * size * (2 * torch.pi * variances).log()
            - away.square().flatten(2).sum(2) / (2 * variances)
        )
        return log_joint, away, variances


def gaussians(*parts: tuple[float, Tensor, float]) -> Gaussians:
    """Return the mixture of (weight, mean, std)."""
    weights, means, stds = zip(*parts, strict=True)
    weight, std = (torch.tensor(numbers, dtype=torch.float64) for numbers in (weights, stds))
    return Gaussians(weight / weight.sum(), torch.stack(means).double(), std)


@dataclass(frozen=True)
class Call:
    """One call of `predict_noise`."""

    noisy: Tensor
    timesteps: list[int]
    texts: dict[str, list[str]]


class MixturePrior:
    """A prior whose texts are Gaussian mixtures: exact predictions and densities, by Bayes and nothing else.

    Args:
        texts: text -> what it says; a text may be followed by view words, which say nothing.
        latent_size: side of the latents.
    """

    name = "mixture"
    shaded = True
    default_negative_prompt = "b"

    def __init__(self, texts: Mapping[str, Gaussians], latent_size: int = 2) -> None:
        self.texts, self.latent_size = dict(texts), latent_size
        self.schedule = NoiseSchedule.stable_diffusion()
        self.device = torch.device("cpu")
        self.evaluations = 0
        self.calls: list[Call] = []
        """What `predict_noise` was asked, in order."""

    def check_prompt(self, text: str) -> None:
        if text not in self.texts:
            raise PromptError(f"there is no text {text!r}; there are: {', '.join(self.texts)}")

    def view_suffix(self, azimuth_deg: float, elevation_deg: float) -> str:
        return ""

    def view_negatives(self, azimuth_deg: float, elevation_deg: float) -> tuple[tuple[str, float], ...]:
        return ("", -1.0), ("", 0.0)

    def encode_images(self, images: Tensor) -> Tensor:
        return 2 * functional.adaptive_avg_pool2d(images, self.latent_size) - 1

    def decode_latents(self, latents: Tensor) -> Tensor:
        return ((latents.detach() + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def predict_noise(self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]) -> dict:
        self.calls.append(Call(noisy, timesteps.tolist(), {name: list(texts) for name, texts in prompts.items()}))
        alphas, stds = self.schedule.at(timesteps, noisy)
        scaled, sigmas = noisy / alphas, (stds / alphas).flatten()
        return {branch: self.noise_in(scaled, sigmas, texts) for branch, texts in prompts.items()}

    @torch.no_grad()
    def denoise_at(self, scaled: Tensor, sigmas: Tensor, texts: Sequence[str]) -> Tensor:
        copies = len(texts) // len(scaled)
        scaled, sigmas = scaled.repeat(copies, 1, 1, 1), sigmas.repeat(copies)
        return scaled - sigmas.view(-1, 1, 1, 1) * self.noise_in(scaled, sigmas, texts)

    def noise_in(self, scaled: Tensor, sigmas: Tensor, texts: Sequence[str]) -> Tensor:
        """Return -sigma grad log p_sigma, each view under its text."""
        assert len(texts) == len(scaled) == len(sigmas), "one text and one noise level for each view"
        self.evaluations += len(texts)
        noise = torch.empty_like(scaled)
        for text in dict.fromkeys(texts):
            self.check_prompt(text)
            rows = torch.tensor([view for view, its in enumerate(texts) if its == text])
            log_joint, away, variances = self.texts[text].parts(scaled[rows], sigmas[rows])
            shares = (log_joint.softmax(1) / variances)[:, :, None, None, None]
            noise[rows] = (sigmas[rows].view(-1, 1, 1, 1) * (shares * away).sum(1)).to(noise)
        return noise

    def log_density(self, text: str, scaled: Tensor, sigmas: Tensor) -> Tensor:
        """Return log p_sigma(scaled) under a text (n,), differentiable."""
        return self.texts[text].parts(scaled, sigmas)[0].logsumexp(1)

    def particle_model(self, settings: ParticleSettings) -> ExactParticles:
        return ExactParticles(self)


class ExactParticles:
    """The exact model of the renders of the last update: a point mass on each; before any, what the prior says."""

    def __init__(self, prior: MixturePrior, renders: Tensor | None = None) -> None:
        self.prior = prior
        self.renders = renders
        self.evaluations = self.training_passes = 0

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return iter(())

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, texts: Sequence[str], camera_to_world: Tensor) -> Tensor:
        self.evaluations += len(noisy)
        known = self.prior.texts
        if self.renders is not None:
            known = {text: gaussians(*((1.0, render, 0.0) for render in self.renders)) for text in set(texts)}
        return MixturePrior(known).predict_noise(noisy, timesteps, {"own": texts})["own"]

    def train_step(self, latents: Tensor, texts: Sequence[str], camera_to_world: Tensor, generator: object) -> float:
        self.renders = latents.clone()
        self.training_passes += len(latents)
        return 0.0


def _mean(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 2, 2)


@pytest.fixture
def mixture_of() -> Callable[..., MixturePrior]:
    """Return a function: text -> [(weight, mean (c, h, w), std), ...] to a prior."""
    return lambda texts: MixturePrior({text: gaussians(*parts) for text, parts in texts.items()})


@pytest.fixture
def two_classes(mixture_of: Callable[..., MixturePrior]) -> MixturePrior:
    """Return a prior of two classes "a" (0.3, two blobs) and "b" (0.7, one); the empty prompt is both together."""
    a = [(0.5, _mean(1.0, 0.2, -0.4, 0.0), 0.3), (0.5, _mean(0.6, 0.9, 0.1, -0.5), 0.4)]
    b = [(1.0, _mean(-0.7, -0.2, 0.5, 0.3), 0.35)]
    whole = [(0.3 * weight, mean, std) for weight, mean, std in a] + [(0.7, b[0][1], b[0][2])]
    # Of two classes each is all that the other is not: what Perp-Neg keeps of a negative prompt takes a third.
    return mixture_of({"a": a, "b": b, "": whole, "c": [(1.0, _mean(0.3, -1.1, 0.2, 0.8), 0.5)]})


@pytest.fixture
def exact_particles() -> type[ExactParticles]:
    return ExactParticles


@pytest.fixture
def draw(generator: torch.Generator) -> Callable[..., Tensor]:
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


# --- asking a route ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a route saw, and what the loss made of it."""

    predictions: NoisePredictions
    gradient: Tensor
    scale: Tensor
    """(views, 1, 1, 1) the guidance scale that the loss was handed."""


@pytest.fixture
def subject_of() -> Callable[..., Subject]:
    """Return a function: latents, any field of `Subject` -> a subject under "a", the empty prompt, and against "b"."""

    def make(latents: Tensor, **given: object) -> Subject:
        views = len(latents)
        texts = {"conditional": ["a"] * views, "unconditional": [""] * views, "negative": ["b"] * views}
        values = {
            "plain_texts": ["a"] * views,
            "reference": latents,
            "reference_texts": ["b"] * views,
            "camera_to_world": torch.eye(4).expand(views, 4, 4),
        }
        return Subject(latents=latents, texts=texts, **(values | given))  # type: ignore[arg-type]

    return make


@pytest.fixture
def subject(subject_of: Callable[..., Subject], draw: Callable[..., Tensor]) -> Subject:
    """Seven views with a reference, and two negatives each for Perp-Neg."""
    views = 7
    texts = (["c"] * views, ["b" if view % 2 else "c" for view in range(views)])
    weights = [-0.3 * (1 + view % 3) for view in range(views)]
    return subject_of(
        draw(views, 1, 2, 2),
        reference=draw(views, 1, 2, 2),
        opposites=[(texts[0], weights), (texts[1], [-0.5] * views)],
        reference_opposites=[(["a"] * views, weights), (["c"] * views, [-0.2] * views)],
    )


@pytest.fixture
def ask(subject_of: Callable[..., Subject], generator: torch.Generator) -> Callable[..., Asked]:
    """Return a function that takes latents through a loss's own route at given timesteps, to its gradient."""

    def through(
        prior: MixturePrior,
        name: str,
        latents: Tensor | Subject,
        timesteps: Sequence[int],
        *,
        guidance_scale: float = 7.5,
        noise: Tensor | None = None,
        parameters: Mapping[str, float | str] | None = None,
        **given: object,
    ) -> Asked:
        loss = LOSSES[name]
        subject = latents if isinstance(latents, Subject) else subject_of(latents)
        parameters = {p.name: p.default for p in loss.parameters} | dict(parameters or {})
        if noise is None:
            noise = torch.randn(subject.latents.shape, generator=generator, dtype=torch.float64)
        if "particle" in loss.needs:
            given = {"particle": ExactParticles(prior, subject.latents)} | given
        request = Request(
            needed=loss.branches(timesteps, parameters),
            timesteps=torch.tensor(timesteps),
            noise=noise,
            guidance_scale=guidance_scale,
            parameters=parameters,
            **({"generator": generator} | given),  # type: ignore[arg-type]
        )
        predictions = ROUTES[loss.route](prior, subject, request)
        scale = request.scale_at(request.timesteps, prior.schedule, loss.unguided_scale).to(subject.latents)
        return Asked(predictions, loss.gradient(predictions, scale, **loss.own(parameters)), scale)

    return through
