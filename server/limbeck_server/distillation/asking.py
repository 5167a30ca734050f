"""Asking a prior: what is looked at, what is wanted, and the answers, guidance's interval and Perp-Neg included.

Whatever is written here once holds for every loss and for every step of every trajectory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from limbeck_server.distillation.guidance import effective_guidance, perp_neg
from limbeck_server.distillation.noising import schedule_values
from limbeck_server.distillation.predictions import classifier_free_guidance
from limbeck_server.distillation.trajectories import Predictor
from limbeck_server.priors.prior import NoiseSchedule, ParticleModel, Prior

PROMPT_BRANCHES = ("conditional", "unconditional", "negative")


@dataclass(frozen=True)
class Subject:
    """What is looked at: clean latents and what may be said of them. One text per view everywhere.

    Attributes:
        latents: (views, c, h, w), detached.
        texts: branch -> texts, for `conditional`, `unconditional` and `negative`.
        plain_texts: the prompt without words for the view, which VSD's particle model is given.
        opposites: for Perp-Neg, as many entries as a view has negatives: a text and a weight for each view.
        reference: (views, c, h, w) for DDS, with `reference_texts` and, as above, `reference_opposites`.
        camera_to_world: (views, 4, 4), for the particle model.
    """

    latents: Tensor
    texts: Mapping[str, Sequence[str]]
    plain_texts: Sequence[str] = ()
    opposites: Sequence[tuple[Sequence[str], Sequence[float]]] = ()
    reference: Tensor | None = None
    reference_texts: Sequence[str] = ()
    reference_opposites: Sequence[tuple[Sequence[str], Sequence[float]]] = ()
    camera_to_world: Tensor | None = None


@dataclass(frozen=True)
class Request:
    """What the loss wants to know, and where.

    Attributes:
        needed: out of `losses.BRANCHES`.
        timesteps: (views,) int64.
        noise: (views, c, h, w), of unit variance.
        guidance_scale: diffusers' convention; for routes that guide on their way.
        guidance_interval: shares of the schedule between which it guides; elsewhere the scale is 1.
        perp_neg: factor on the published weights; 0 is off.
        parameters: the loss's.
        share: of the run, 0..1.
        generator: for what a route draws besides.
        particle: VSD's model.
    """

    needed: frozenset[str]
    timesteps: Tensor
    noise: Tensor
    guidance_scale: float
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    perp_neg: float = 0.0
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    share: float = 0.0
    generator: torch.Generator | None = None
    particle: ParticleModel | None = None

    def number(self, name: str) -> float:
        """Return a parameter that is a number."""
        return float(self.parameters[name])

    def scale_at(self, timesteps: Tensor, schedule: NoiseSchedule, unguided_scale: float = 1.0) -> Tensor:
        """Return the guidance scale (views, 1, 1, 1) at timesteps (views,)."""
        return effective_guidance(
            self.guidance_scale, timesteps, self.guidance_interval, schedule.timesteps, unguided_scale
        )


def ask(prior: Prior, subject: Subject, request: Request, noisy: Tensor, timesteps: Tensor) -> dict[str, Tensor]:
    """Return the prior's answers in the prompts' branches out of `request.needed`, all in one call.

    With Perp-Neg the answer to `conditional` has had the perpendicular parts of the opposites taken out of it.
    """
    return negated(prior.predict_noise(noisy, timesteps, branches_of(subject, request)), subject, request)


def branches_of(subject: Subject, request: Request) -> dict[str, Sequence[str]]:
    """Return what the prior is asked: branch -> texts, Perp-Neg's opposites beside the guided pair."""
    branches = {name: subject.texts[name] for name in PROMPT_BRANCHES if name in request.needed}
    if request.perp_neg > 0.0 and "conditional" in branches and "unconditional" in branches:
        branches |= {f"opposite {k}": texts for k, (texts, _) in enumerate(subject.opposites)}
    return branches


def negated(answers: Mapping[str, Tensor], subject: Subject, request: Request) -> dict[str, Tensor]:
    """Return the answers to the branches, the opposites' taken into `conditional`; of noise or of clean latents."""
    opposites = [answer for name, answer in answers.items() if name.startswith("opposite ")]
    kept = {name: answers[name] for name in PROMPT_BRANCHES if name in answers}
    if opposites:
        weights = request.perp_neg * torch.tensor([weights for _, weights in subject.opposites], dtype=torch.float64)
        kept["conditional"] = perp_neg(kept["conditional"], kept["unconditional"], torch.stack(opposites), weights)
    return kept


def guided_predictor(
    prior: Prior, subject: Subject, request: Request, scale: float | None = None, lowest: int = 0
) -> Predictor:
    """Return the prior as a function of (scaled latents, sigma), guided; it knows whole timesteps only.

    Args:
        prior: asked for no more than the scale needs: at 1 the prompt alone, at 0 the empty prompt alone.
        subject: what is looked at.
        request: the guidance scale and its interval.
        scale: another guidance scale, which has no interval.
        lowest: timestep below which it is not asked; there it answers as if there were that much noise.
    """

    def predict(scaled: Tensor, sigma: Tensor) -> Tensor:
        timesteps = prior.schedule.nearest_timesteps(sigma).clamp(min=lowest).to(scaled.device)
        signal_scale, _ = schedule_values(prior.schedule, timesteps, scaled.device, scaled.dtype)
        fixed = None if scale is None else torch.full_like(signal_scale, scale)
        scales = request.scale_at(timesteps, prior.schedule).to(scaled) if fixed is None else fixed
        needed = {"conditional", "unconditional"}
        if bool((scales == 0.0).all()):
            needed = {"unconditional"}
        elif bool((scales == 1.0).all()) and not request.perp_neg:
            needed = {"conditional"}
        answers = ask(prior, subject, replace(request, needed=frozenset(needed)), signal_scale * scaled, timesteps)
        if len(needed) == 1:
            return answers[needed.pop()]
        return classifier_free_guidance(answers["conditional"], answers["unconditional"], scales)

    return predict


def empty_predictor(prior: Prior, subject: Subject, request: Request, lowest: int = 0) -> Predictor:
    """Return the prior under the empty prompt, likewise."""
    return guided_predictor(prior, subject, request, scale=0.0, lowest=lowest)
