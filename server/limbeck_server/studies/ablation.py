"""Mean-shift distillation's two heuristics, each switched on and off, on pictures whose truth is known.

Source: Mean-Shift Distillation (Thamizharasan et al. 2025, arXiv:2502.15989), section 3.4 and Fig. 8. Adding the
kernel's score to a large model's is unstable, and two heuristics mend it. We read them as

- `stable`: Algorithm 2's stable branch. The kernel's pull is not added to the noise prediction (eq. 12, an explicit
  Euler step) but applied as a contraction after each DDIM step (eq. 15), towards the DDIM inversion of x instead of x;
- `interval`: the kernel acts in a limited interval of noise levels only.

Beside the four combinations stand our default centre and the unbiased sampler, which needs neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation import noising, trajectories
from limbeck_server.distillation.asking import Request, Subject, guided_predictor
from limbeck_server.distillation.distil import Distilled, distil
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.picture import PictureSettings, PictureStep, descend, picture_subject
from limbeck_server.priors.exact import ExactPrior, load_exact_prior
from limbeck_server.studies import figures, pictures

PROMPT = "a yellow duck"
GUIDANCE_SCALE = 2.0
STEPS, QUICK_STEPS = 80, 24
SAMPLING_STEPS, QUICK_SAMPLING_STEPS = 20, 8
TRAVEL = 12.0
"""Steps times learning rate: how far Adam can move a pixel."""
BANDWIDTH, BANDWIDTH_MIN = 300.0, 3.0
EVERYWHERE: dict[str, float | str] = {"kernel_low": 0.0, "kernel_high": 1.0}
SHOWN = (0.25, 0.5, 0.75, 1.0)
"""Shares of the run at which x and y are shown."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One way of drawing y: parameters of the loss `msd`, and whether the kernel is added by explicit Euler steps."""

    parameters: Mapping[str, float | str] = field(default_factory=dict)
    explicit: bool = False


CASES = {
    "stable, interval": Case({"centre": "inversion"}),
    "stable": Case({"centre": "inversion", **EVERYWHERE}),
    "interval": Case(explicit=True),
    "neither": Case(EVERYWHERE, explicit=True),
    "ours: shared noise, interval": Case({"centre": "shared_noise"}),
    # Its bandwidth is a distance; these ends do to y what 300 and 3 timesteps do (`bandwidth.py`).
    "unbiased product": Case({"sampler": "product", "bandwidth": 30.0, "bandwidth_min": 0.3}),
}


def run(
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    prompt: str = PROMPT,
    size: int = 32,
    prior: ExactPrior | None = None,
) -> dict[str, Any]:
    """Make a picture in each way, and write `ablation.png` and `ablation-distance.png`.

    Args:
        quick: fewer steps and shorter chains.
        seed: of the start and of all noise, the same for each way.
        out: folder for the figures.
        say: told which way is being gone.
        prompt: names a shape and a colour.
        size: of the pictures, 32 or 64.
        prior: loaded for the prompt by default.

    Raises:
        ValueError: the prompt has no true picture.
    """
    caption = pictures.known_caption(prompt)
    prior = prior or load_exact_prior(prompt, size)
    settings = _settings(quick, seed)
    start = torch.randn(1, 3, prior.size, prior.size, generator=torch.Generator().manual_seed(seed))
    cases: dict[str, dict[str, Any]] = {}
    rows = []
    for name, case in CASES.items():
        say(name)
        before = prior.evaluations
        latents, told, seen, diverged = _one_run(prior, settings, case, prompt, start)
        evaluations = (prior.evaluations - before) / max(len(told), 1)
        finite = bool(latents.isfinite().all())
        cases[name] = {
            "to_world": pictures.distance_to_world(prior, latents, prompt).tolist() if finite else None,
            "seen": pictures.seen_in(prior, latents, caption) if finite else None,
            "shift": told,
            "evaluations": evaluations,
            "diverged_at": diverged,
        }
        rows.append((name.replace(", ", ",\n").replace(": ", ":\n"), seen))
    pictures.picture_grid(out / "ablation.png", prior, rows, "x (and y) along the run")
    _draw_shift(cases, out / "ablation-distance.png")
    return {
        "study": "ablation",
        "choices": _choices(settings, prompt, size),
        "cases": cases,
        "figures": ["ablation.png", "ablation-distance.png"],
    }


def explicit_target(
    prior: ExactPrior, settings: PictureSettings, subject: Subject, share: float, generator: torch.Generator
) -> Tensor:
    """Return y (views, c, h, w) by eq. 12 in explicit Euler steps: the kernel's pull is added to each DDIM step.

    z' = z + (sigma' - sigma) eps(z) + dt / lambda^2 (x - z). A step with dt / lambda^2 above 2 throws z further from x
    than it was, so that the chain runs away; eq. 15's contraction has no such limit.
    """
    parameters, x = settings.all_parameters(), subject.latents
    width = trajectories.bandwidth_at("geometric", BANDWIDTH, BANDWIDTH_MIN, share)
    highest = settings.timestep_bounds(prior.schedule, share)[1]
    timesteps = torch.linspace(highest, 0, int(parameters["sampling_steps"]) + 1).round().long()
    noise = noising.draw_noise(x, generator)
    request = Request(
        needed=frozenset(),
        timesteps=timesteps[:1].expand(len(x)),
        noise=noise,
        guidance_scale=settings.guidance_scale,
    )
    predict = guided_predictor(prior, subject, request)
    sigmas = prior.schedule.sigmas[timesteps].to(x)
    sigmas[-1] = 0.0
    low, high = (float(parameters[name]) * prior.schedule.timesteps for name in ("kernel_low", "kernel_high"))
    scaled = x + sigmas[0] * noise  # as the shipped sampler starts (decision 0012)
    for (t, t_next), (sigma, sigma_next) in zip(pairwise(timesteps.tolist()), pairwise(sigmas), strict=True):
        at, then = sigma.expand(len(x)), sigma_next.expand(len(x))
        pull = (t - t_next) / width**2 * (x - scaled) if low <= t_next <= high else torch.zeros_like(x)
        scaled = trajectories.ddim_step(scaled, predict(scaled, at), at, then) + pull
    return scaled


def _one_run(
    prior: ExactPrior, settings: PictureSettings, case: Case, prompt: str, start: Tensor
) -> tuple[Tensor, list[float], list[tuple[str, Tensor]], int | None]:
    """Return the last latents, |y - x| of each step, the first picture's x and y on the way, and where it broke."""
    settings = replace(settings, loss_parameters={**settings.loss_parameters, **case.parameters})
    generator = torch.Generator().manual_seed(settings.seed)
    subject = picture_subject(prior, start, prompt)

    def gradient(latents: Tensor, share: float) -> Distilled:
        here = replace(subject, latents=latents)
        if not case.explicit:
            return distil(prior, settings, here, share, generator)
        target = explicit_target(prior, settings, here, share, generator)
        return Distilled(latents - target, torch.zeros(len(latents), dtype=torch.int64), {})

    told: list[float] = []
    seen: list[tuple[str, Tensor]] = []
    wanted = {max(round(share * settings.steps), 1) for share in SHOWN}
    last = start

    def on_step(step: PictureStep) -> None:
        nonlocal last
        told.append(step.loss)
        last = step.latents
        if step.step in wanted:
            target = step.latents - step.distilled.gradient
            seen.extend([(f"x, step {step.step}", step.latents[:1]), (f"y, |y - x| {step.loss:.2g}", target[:1])])

    try:
        return descend(start, gradient, settings, on_step), told, seen, None
    except DivergedError:
        return last, told, seen, len(told)


def _settings(quick: bool, seed: int) -> PictureSettings:
    steps = QUICK_STEPS if quick else STEPS
    return PictureSettings(
        loss="msd",
        loss_parameters={
            "bandwidth": BANDWIDTH,
            "bandwidth_min": BANDWIDTH_MIN,
            "sampling_steps": float(QUICK_SAMPLING_STEPS if quick else SAMPLING_STEPS),
        },
        guidance_scale=GUIDANCE_SCALE,
        timestep_min=0.98,
        timestep_max=((0.0, 0.98),),
        # Draws nothing, so that every way sees the same noise.
        timestep_schedule="linear",
        weighting="uniform",
        steps=steps,
        learning_rate=TRAVEL / steps,
        seed=seed,
    )


def _choices(settings: PictureSettings, prompt: str, size: int) -> dict[str, str]:
    parameters = settings.all_parameters()
    stride = 980 / float(parameters["sampling_steps"])
    return {
        "picture": f"{prompt!r}, {size} px, latents in -1..1 moved themselves, from standard normal noise",
        "run": f"{settings.steps} steps of Adam at {settings.learning_rate:.3g}, seed {settings.seed}",
        "chain": f"{parameters['sampling_steps']:g} DDIM steps from timestep 980, {stride:.3g} timesteps each; the "
        "inversion on the same levels, under the empty prompt",
        "bandwidth": f"geometric, {BANDWIDTH:g} to {BANDWIDTH_MIN:g} timesteps; unbiased product: distance 30 to 0.3",
        "interval": "timesteps 72..813; off: all",
        "stable off": f"eq. 12 in explicit steps, centred on x: unstable once the bandwidth is below "
        f"{(stride / 2) ** 0.5:.3g}",
        "guidance scale": f"{settings.guidance_scale:g} (diffusers' convention)",
    }


def _draw_shift(cases: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    figure, axes = figures.panels(1, 2, (5.2, 3.6))
    lines = {name: (list(range(1, len(case["shift"]) + 1)), case["shift"]) for name, case in cases.items()}
    figures.line_plot(axes[0][0], lines, x_label="step", y_label="|y - x| (rms)", log_y=True)
    ends = {
        name: sum(case["to_world"]) / len(case["to_world"]) if case["to_world"] else float("nan")
        for name, case in cases.items()
    }
    figures.bar_plot(axes[0][1], ends, y_label="to the nearest true picture (rms)")
    figures.save(figure, path)


def report(result: Mapping[str, Any]) -> str:
    """Return the study's table and every choice, as text."""
    head = f"{'distance to truth':>19}{'p(shape)':>10}{'p(colour)':>11}{'last |y - x|':>14}{'evaluations a step':>20}"
    lines = [f"{'':<30}" + head]
    for name, case in result["cases"].items():
        if case["to_world"] is None:
            lines.append(f"{name:<30}{'not finite':>19}")
            continue
        numbers = [case["to_world"], case["seen"]["shape"], case["seen"]["colour"]]
        world, shape, colour = (sum(values) / len(values) for values in numbers)
        broken = "" if case["diverged_at"] is None else f"   diverged after step {case['diverged_at']}"
        lines.append(
            f"{name:<30}{world:>19.3f}{shape:>10.3f}{colour:>11.3f}{case['shift'][-1]:>14.3g}{case['evaluations']:>20.1f}"
            + broken
        )
    return "\n".join([*lines, "", "Choices", *(f"  {name}: {what}" for name, what in result["choices"].items())])
