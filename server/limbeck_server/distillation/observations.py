"""How a loss comes to see the latents: routes from clean latents to what the networks say of noisy ones.

A route takes a `Subject` (what is looked at) and a `Request` (what the loss wants to know), asks the prior, and returns
`NoisePredictions`. There is one for each way of making noise: at random, along DDIM inversion, over an interval, along
a whole trajectory, and at random in two places at once. How a prior is asked is `asking.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck_server.distillation import trajectories
from limbeck_server.distillation.asking import (
    Request,
    Subject,
    ask,
    branches_of,
    empty_predictor,
    guided_predictor,
    negated,
)
from limbeck_server.distillation.noising import add_noise, schedule_values
from limbeck_server.distillation.predictions import NoisePredictions, classifier_free_guidance
from limbeck_server.priors.prior import ClosedFormPrior, NoiseSchedule, Prior


def at_random(prior: Prior, subject: Subject, request: Request) -> NoisePredictions:
    """Noise drawn at random, one call of the prior, and one of the particle model where that is asked for."""
    place = _Place.of(prior, subject.latents, request.timesteps)
    noisy = add_noise(subject.latents, request.noise, place.signal_scale, place.noise_std)
    answers = ask(prior, subject, request, noisy, request.timesteps)
    particle = None
    if "particle" in request.needed:
        assert request.particle is not None, "the trainer makes the particle model of a loss that asks for it"
        assert subject.camera_to_world is not None, "a particle model is told where the cameras stand"
        particle = request.particle.predict_noise(
            noisy, request.timesteps, subject.plain_texts, subject.camera_to_world
        )
    return place.predictions(request.noise, latents=subject.latents, particle=particle, **answers)


def in_pairs(prior: Prior, subject: Subject, request: Request) -> NoisePredictions:
    """The same noise on the latents and on the reference (DDS, Hertz et al. 2023, section 3)."""
    assert subject.reference is not None, "an edit has a reference; recipes without one are refused"
    seen = at_random(prior, subject, request)
    noisy = add_noise(subject.reference, request.noise, seen.signal_scale, seen.noise_std)
    texts = {**subject.texts, "conditional": subject.reference_texts}
    as_it_was = replace(subject, texts=texts, opposites=subject.reference_opposites)
    answers = ask(prior, as_it_was, request, noisy, request.timesteps)
    return replace(seen, reference_conditional=answers["conditional"], reference_unconditional=answers["unconditional"])


def along_inversion(prior: Prior, subject: Subject, request: Request) -> NoisePredictions:
    """The noise that DDIM inversion arrives at (SDI, Lukoianov et al. 2024, section 5).

    What differs from the authors' code: every timestep is clamped at 0 (theirs asks at -99), the inverted latents are
    seen at the level at which they are (theirs stand up to 99 timesteps above it), and views may differ in timestep.
    """
    stride = prior.schedule.timesteps / request.number("inversion_steps")
    levels = _rising_levels(prior.schedule, request.timesteps, stride).to(subject.latents)
    lowest = int(request.number("inversion_floor"))
    predict = guided_predictor(prior, subject, request, request.number("inversion_guidance"), lowest)
    eta = request.number("inversion_eta")
    scaled = trajectories.invert(predict, subject.latents, levels, eta, request.generator)[-1]
    place = _Place.of(prior, subject.latents, request.timesteps)
    noise = (scaled - subject.latents) / trajectories.per_view(place.sigma, scaled)
    answers = ask(prior, subject, request, place.signal_scale * scaled, request.timesteps)
    return place.predictions(noise, latents=subject.latents, **answers)


def over_interval(prior: Prior, subject: Subject, request: Request) -> NoisePredictions:
    """Two predictions on one inversion under the empty prompt: at s, and at t = s + interval (ISM, Liang et al. 2023).

    s is clamped at 0. The last inversion step, from s to t, uses the prediction at s that the loss compares with.
    """
    warmup = request.number("interval_warmup")
    left = 1.0 - min(request.share / warmup, 1.0) if warmup > 0.0 else 0.0
    interval = request.number("interval") + left * (request.number("interval_start") - request.number("interval"))
    earlier = (request.timesteps - round(interval)).clamp(min=0)
    predict = empty_predictor(prior, subject, request, int(request.number("inversion_floor")))
    levels = _rising_levels(prior.schedule, earlier, request.number("inversion_stride")).to(subject.latents)
    scaled = trajectories.invert(predict, subject.latents, levels)[-1]
    seen_earlier = predict(scaled, levels[-1])
    place = _Place.of(prior, subject.latents, request.timesteps)
    scaled = trajectories.ddim_step(scaled, seen_earlier, levels[-1], place.sigma)
    noise = (scaled - subject.latents) / trajectories.per_view(place.sigma, scaled)
    answers = ask(prior, subject, request, place.signal_scale * scaled, request.timesteps)
    return place.predictions(noise, latents=subject.latents, interval=seen_earlier, **answers)


def along_product(prior: Prior, subject: Subject, request: Request) -> NoisePredictions:
    """A sample y of the prior near the latents (MSD, Algorithm 2): a whole trajectory, from noise to y."""
    kind = request.parameters["bandwidth_decay"]
    bandwidth = trajectories.bandwidth_at(
        "linear" if kind == "linear" else "geometric",
        request.number("bandwidth"),
        request.number("bandwidth_min"),
        request.share,
    )
    timesteps = _falling_timesteps(request.timesteps, int(request.number("sampling_steps")))
    sigmas = prior.schedule.sigmas.to(timesteps.device)[timesteps].to(subject.latents)
    sigmas[-1] = 0.0
    draw = _by_product if request.parameters["sampler"] == "product" else _by_splitting
    target = draw(prior, subject, request, timesteps, sigmas, bandwidth)
    return _Place.of(prior, subject.latents, request.timesteps).predictions(
        request.noise, latents=subject.latents, target=target
    )


ROUTES: dict[str, Callable[[Prior, Subject, Request], NoisePredictions]] = {
    "random": at_random,
    "paired": in_pairs,
    "inversion": along_inversion,
    "interval": over_interval,
    "product": along_product,
}


def _by_splitting(
    prior: Prior, subject: Subject, request: Request, timesteps: Tensor, sigmas: Tensor, bandwidth: float
) -> Tensor:
    """The paper's sampler, guided; its inversion is under the empty prompt."""
    kind = str(request.parameters["centre"])
    centre = trajectories.centres(
        "inversion" if kind == "inversion" else "mean" if kind == "mean" else "shared_noise",
        subject.latents,
        sigmas,
        noise=request.noise,
        predict=empty_predictor(prior, subject, request, int(request.number("inversion_floor"))),
    )
    times = sigmas**2 if request.parameters["kernel_time"] == "variance" else timesteps.to(sigmas)
    low, high = (request.number(name) * prior.schedule.timesteps for name in ("kernel_low", "kernel_high"))
    # Where the schedule ends, a picture's mean colour is still to be seen; a start of pure noise would be a grey one
    # (Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed").
    noised = subject.latents + trajectories.per_view(sigmas[0], request.noise) * request.noise
    start = centre[0] if kind == "inversion" else noised
    return trajectories.sample_by_splitting(
        guided_predictor(prior, subject, request),
        start,
        sigmas,
        centre,
        trajectories.keep_factors(times, bandwidth),
        (timesteps >= low) & (timesteps <= high),
    )


def _by_product(
    prior: Prior, subject: Subject, request: Request, timesteps: Tensor, sigmas: Tensor, bandwidth: float
) -> Tensor:
    """The unbiased sampler. It asks at noise levels between timesteps, which only a closed form can answer.

    Raises:
        TypeError: the prior has no closed form.
    """
    if not isinstance(prior, ClosedFormPrior):
        raise TypeError(
            f"the unbiased product sampler needs a prior in closed form, and {prior.name!r} is a network. Choose the "
            "sampler 'splitting', or the prior 'exact'."
        )

    def denoise(scaled: Tensor, sigma: Tensor) -> Tensor:
        scale = request.scale_at(prior.schedule.nearest_timesteps(sigma), prior.schedule).to(scaled)
        plain = bool((scale == 1.0).all()) and not request.perp_neg
        needed = frozenset({"conditional"}) if plain else frozenset({"conditional", "unconditional"})
        branches = branches_of(subject, replace(request, needed=needed))
        denoised = prior.denoise_at(scaled, sigma, [text for texts in branches.values() for text in texts])
        # Clean latents are an affine function of the noise, the same for all branches: guidance means the same.
        answers = negated(dict(zip(branches, denoised.chunk(len(branches)), strict=True)), subject, request)
        if plain:
            return answers["conditional"]
        return classifier_free_guidance(answers["conditional"], answers["unconditional"], scale)

    start = subject.latents + trajectories.per_view(sigmas[0], request.noise) * request.noise
    return trajectories.sample_product(denoise, subject.latents, sigmas, bandwidth, start)


# --- levels -----------------------------------------------------------------------------------------------------------


def _rising_levels(schedule: NoiseSchedule, timesteps: Tensor, stride: float) -> Tensor:
    """Return sigmas (steps + 1, views), from clean (exactly 0) to the timesteps, in steps of `stride` at most.

    A view takes the steps that it would take alone and then stands still, so that none depends on its company.
    """
    steps = (timesteps.double() / stride).ceil()
    counts = torch.arange(int(steps.max()) + 1, device=timesteps.device)[:, None]
    at = ((counts / steps.clamp(min=1.0)).clamp(max=1.0) * timesteps).round().long()
    sigmas = schedule.sigmas.to(timesteps.device)[at]
    return sigmas.masked_fill(at == 0, 0.0)


def _falling_timesteps(timesteps: Tensor, steps: int) -> Tensor:
    """Return timesteps (steps + 1, views), from those given to 0, evenly spaced."""
    shares = torch.linspace(1.0, 0.0, steps + 1, device=timesteps.device)[:, None]
    return (shares * timesteps).round().long()


@dataclass(frozen=True)
class _Place:
    """Timesteps with the schedule's values there."""

    timestep: Tensor
    signal_scale: Tensor
    noise_std: Tensor

    @staticmethod
    def of(prior: Prior, latents: Tensor, timesteps: Tensor) -> _Place:
        return _Place(timesteps, *schedule_values(prior.schedule, timesteps, latents.device, latents.dtype))

    @property
    def sigma(self) -> Tensor:
        """(views,) the noise level of the scaled latents."""
        return (self.noise_std / self.signal_scale).flatten()

    def predictions(self, reference_noise: Tensor, **answers: Tensor | None) -> NoisePredictions:
        """Return what was answered here, with the noise that was in it."""
        return NoisePredictions(
            reference_noise=reference_noise,
            timestep=self.timestep,
            signal_scale=self.signal_scale,
            noise_std=self.noise_std,
            **answers,
        )
