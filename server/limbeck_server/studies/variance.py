"""How much of a loss's gradient is signal: its mean and its variance over the noise, at every timestep.

One picture stands still, and each loss is asked again and again with fresh noise. Nothing is fitted: the prior is
exact, so what varies is the loss. The same draws serve every loss. `noise_free.py` looks closer at NFSD's two terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation.asking import Subject
from limbeck_server.distillation.distil import DistillationSettings, distil
from limbeck_server.distillation.picture import picture_subject
from limbeck_server.priors.exact import ExactPrior, load_exact_prior
from limbeck_server.studies import noise_free, pictures, variance_report

PROMPT = "a yellow duck"
GUIDANCE_SCALE = 2.0
TIMESTEPS = (20, 60, 120, 200, 350, 500, 700, 900)
QUICK_TIMESTEPS = (60, 200, 500, 800)
DRAWS, QUICK_DRAWS = 16, 6
STEP_DRAWS, QUICK_STEP_DRAWS = 48, 24
AS_TRAINED = {
    "sds": "noise_variance",
    "nfsd": "noise_variance",
    "csd": "noise_variance",
    "sdi": "noise_to_signal",
    "ism": "noise_to_signal",
    "dds": "uniform",
    "msd": "uniform",
}
"""w(t) with which a loss is used."""
SHARE_OF_RUN = 0.5
"""Where ISM's interval has reached its 50 timesteps."""
CHAIN_START = 980
"""Timestep at which mean-shift distillation's chain begins; it looks at no single timestep."""
SPLITTING_BANDWIDTHS = (300.0, 100.0, 30.0, 10.0, 3.0)
PRODUCT_BANDWIDTHS = (30.0, 10.0, 3.0, 1.0, 0.3)
MIDDLE = 2
"""Which of the bandwidths stands in the table: 30 timesteps, and a distance of 3."""
QUICK_BANDWIDTHS = (0, MIDDLE, 4)
WHY_NOT_VSD = (
    "vsd cannot be measured on the exact prior: its particle model has no network to adapt, and an exact model of one "
    "picture predicts the very noise that was added, so that vsd is sds, draw by draw. Leave it out."
)
DETERMINISTIC_BELOW = 1e-9
"""Variance over squared mean below which a gradient is called the same for all noise (float32's rounding)."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Spread:
    """What many draws of one gradient have in common, and what not; all per element of the latents.

    Attributes:
        timestep: at which the loss looked; None if it was drawn too.
        variance: over the draws, unbiased.
        mean: root mean square of the expected gradient; the square is freed of the variance that finite draws leave.
        signal_to_noise: mean^2 / variance of one draw; None where nothing varies.
        towards_truth: cosine of the mean step (minus the gradient) with the way from the picture to the true one.
        evaluations: of the prior, for one draw.
    """

    timestep: int | None
    variance: float
    mean: float
    signal_to_noise: float | None
    towards_truth: float
    evaluations: float


def measured(
    prior: ExactPrior,
    settings: DistillationSettings,
    subject: Subject,
    truth: Tensor,
    timestep: int | None,
    draws: int,
    seed: int,
) -> Spread:
    """Return the spread of a loss's gradient, unweighted unless the settings weight it.

    Args:
        prior: exact.
        settings: the loss.
        subject: one picture.
        truth: (1, c, h, w), where the picture should go.
        timestep: at which to look; None for those of the settings, drawn anew each time, which counts as noise too.
        draws: 2 or more.
        seed: of the noise; the same for every loss.
    """
    if timestep is not None:
        share = timestep / prior.schedule.timesteps
        settings = replace(settings, timestep_min=share, timestep_max=((0.0, share),))
    generator = torch.Generator().manual_seed(seed + (timestep or 0))
    before = prior.evaluations
    gradients = distil(prior, settings, _repeated(subject, draws), SHARE_OF_RUN, generator).gradient.double()
    return spread(gradients, truth - subject.latents, timestep, (prior.evaluations - before) / draws)


def spread(gradients: Tensor, way: Tensor, timestep: int | None, evaluations: float) -> Spread:
    """Return the spread of gradients (draws, c, h, w); `way` (1, c, h, w) leads to the truth."""
    mean, variance = gradients.mean(0), float(gradients.var(0).mean())
    square = max(float(mean.square().mean()) - variance / len(gradients), 0.0)
    fixed = variance <= DETERMINISTIC_BELOW * float(mean.square().mean())
    cosine = torch.cosine_similarity(-mean.flatten(), way.double().flatten(), dim=0)
    return Spread(timestep, variance, square**0.5, None if fixed else square / variance, float(cosine), evaluations)


def run(
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    prompt: str = PROMPT,
    losses: Sequence[str] = (),
    size: int = 32,
    prior: ExactPrior | None = None,
) -> dict[str, Any]:
    """Measure every loss on three states of a picture, draw the figures into `out`, and return all figures.

    Args:
        quick: fewer timesteps and draws.
        seed: of all noise.
        out: folder for `variance.png`, `variance-bandwidth.png` and `variance-nfsd.png`.
        say: told what is being measured.
        prompt: names a shape and a colour.
        losses: which; all that can be asked by default.
        size: of the pictures, 32 or 64.
        prior: loaded for the prompt by default.

    Raises:
        ValueError: the prompt has no true picture, or a loss cannot be measured here.
    """
    caption = pictures.known_caption(prompt)
    if "vsd" in losses:
        raise ValueError(WHY_NOT_VSD)
    prior = prior or load_exact_prior(prompt, size)
    text = prompt + prior.view_suffix(pictures.AZIMUTH_DEG, pictures.ELEVATION_DEG)
    seen = pictures.states(prior, caption)
    truth = seen.pop("truth")
    timesteps, draws = (QUICK_TIMESTEPS, QUICK_DRAWS) if quick else (TIMESTEPS, DRAWS)
    wanted = {label: s for label, s in _settings().items() if not losses or s.loss in losses}
    if unknown := set(losses or ()) - {s.loss for s in _settings().values()}:
        raise ValueError(f"this study has no settings for {', '.join(sorted(unknown))}: add them to `_settings` in it")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for state, latents in seen.items():
        subject = picture_subject(prior, latents, text)
        wrong = text.replace(str(caption.colour), pictures.other_colour(str(caption.colour)))
        edited = replace(subject, reference=latents, reference_texts=[wrong])
        found[state] = {}
        for label, settings in wanted.items():
            if settings.loss == "dds" and state != "wrong colour":
                continue
            say(f"{state}: {label}")
            shown = edited if settings.loss == "dds" else subject
            found[state][label] = _one_loss(prior, settings, shown, truth, quick, seed)
    result: dict[str, Any] = {
        "study": "variance",
        "choices": _choices(text, draws, QUICK_STEP_DRAWS if quick else STEP_DRAWS, seed, prior.size),
        **{measure: _by_state(found, measure) for measure in ("states", "as_trained", "bandwidths")},
        "nfsd": noise_free.measure(prior, {**seen, "truth": truth}, text, GUIDANCE_SCALE, timesteps, draws, seed),
    }
    variance_report.draw_states(prior, result["states"], list(wanted), seen, out / "variance.png")
    if result["bandwidths"]["start"]:
        variance_report.draw_bandwidths(result["bandwidths"], out / "variance-bandwidth.png")
    noise_free.draw(result["nfsd"], out / "variance-nfsd.png")
    names = ("variance.png", "variance-bandwidth.png", "variance-nfsd.png")
    return result | {"figures": [name for name in names if (out / name).exists()]}


def _by_state(found: Mapping[str, Mapping[str, Mapping[str, Any]]], measure: str) -> dict[str, dict[str, Any]]:
    return {
        state: {label: one[measure] for label, one in rows.items() if measure in one} for state, rows in found.items()
    }


def _one_loss(
    prior: ExactPrior, settings: DistillationSettings, subject: Subject, truth: Tensor, quick: bool, seed: int
) -> dict[str, Any]:
    """Everything about one loss in one state: at single timesteps, as it is trained, and MSD's bandwidths."""
    timesteps, draws = (QUICK_TIMESTEPS, QUICK_DRAWS) if quick else (TIMESTEPS, DRAWS)
    step_draws = QUICK_STEP_DRAWS if quick else STEP_DRAWS
    chain = settings.loss == "msd"
    weighted = replace(settings, weighting=AS_TRAINED[settings.loss])
    drawn = CHAIN_START if chain else None
    found: dict[str, Any] = {
        "states": [
            vars(measured(prior, settings, subject, truth, timestep, draws, seed))
            for timestep in ((CHAIN_START,) if chain else timesteps)
        ],
        "as_trained": vars(measured(prior, weighted, subject, truth, drawn, step_draws, seed)),
    }
    if chain:
        found["bandwidths"] = [
            {"bandwidth": width, **vars(measured(prior, at, subject, truth, CHAIN_START, draws, seed))}
            for width, at in _by_bandwidth(settings, QUICK_BANDWIDTHS if quick else range(len(PRODUCT_BANDWIDTHS)))
        ]
    return found


def _settings() -> dict[str, DistillationSettings]:
    """Every loss that can be asked, under one guidance scale and without w(t)."""
    plain = {loss: _setting(loss) for loss in ("sds", "nfsd", "csd", "sdi", "ism", "dds")}
    return plain | {
        "msd splitting": _msd("splitting", SPLITTING_BANDWIDTHS[MIDDLE]),
        "msd product": _msd("product", PRODUCT_BANDWIDTHS[MIDDLE]),
    }


def _setting(loss: str, **parameters: float | str) -> DistillationSettings:
    return DistillationSettings(
        loss=loss,
        loss_parameters=parameters,
        guidance_scale=GUIDANCE_SCALE,
        timestep_min=0.02,
        timestep_max=((0.0, 0.98),),
        weighting="uniform",
    )


def _msd(sampler: str, bandwidth: float) -> DistillationSettings:
    return _setting("msd", sampler=sampler, bandwidth=bandwidth, bandwidth_min=bandwidth)


def _by_bandwidth(settings: DistillationSettings, which: Sequence[int]) -> list[tuple[float, DistillationSettings]]:
    sampler = str(settings.loss_parameters["sampler"])
    widths = PRODUCT_BANDWIDTHS if sampler == "product" else SPLITTING_BANDWIDTHS
    return [(widths[k], _msd(sampler, widths[k])) for k in which]


def _repeated(subject: Subject, draws: int) -> Subject:
    """The same picture in many views, each with noise of its own."""
    reference = subject.reference
    return replace(
        subject,
        latents=subject.latents.expand(draws, *subject.latents.shape[1:]),
        texts={branch: list(texts) * draws for branch, texts in subject.texts.items()},
        plain_texts=list(subject.plain_texts) * draws,
        reference=None if reference is None else reference.expand(draws, *reference.shape[1:]),
        reference_texts=list(subject.reference_texts) * draws,
    )


def _choices(text: str, draws: int, step_draws: int, seed: int, size: int) -> dict[str, Any]:
    return {
        "picture": f"{text!r}, {size} px, latents in -1..1, camera at azimuth {pictures.AZIMUTH_DEG:g} deg",
        "guidance scale": f"{GUIDANCE_SCALE:g} for every loss (diffusers' convention; 1 = none)",
        "w(t)": "none: the gradients are unweighted (signal to noise does not depend on it)",
        "draws": f"{draws} at each timestep, the same for every loss, seed {seed}",
        "signal to noise": "|mean gradient|^2 / variance of one draw, both summed over the latents",
        "one step": "timestep uniform in 20..980 (msd: chain from 980) and w(t) as each loss is used: "
        + ", ".join(f"{loss} {weighting}" for loss, weighting in AS_TRAINED.items())
        + f"; {step_draws} draws",
        "sdi, ism": "their parameters' defaults; ism has no noise at all, and sdi only its eta of 0.3",
        "msd": f"chain of 20 steps from timestep {CHAIN_START}, so it has no timestep; bandwidth "
        f"{SPLITTING_BANDWIDTHS[MIDDLE]:g} timesteps (splitting, centre shared_noise), distance "
        f"{PRODUCT_BANDWIDTHS[MIDDLE]:g} (product)",
        "dds": "only in the wrong colour: the reference is the picture itself under its own, wrong, prompt",
        "vsd": WHY_NOT_VSD,
    }


def report(result: Mapping[str, Any]) -> str:
    """Return the study's tables and every choice, as text."""
    lines = [*variance_report.tables(result), "", noise_free.report(result["nfsd"]), "", "Choices"]
    return "\n".join(lines + [f"  {name}: {choice}" for name, choice in result["choices"].items()])
