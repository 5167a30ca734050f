"""Mean-shift distillation's bandwidth: what y is drawn at three of them, at several moments of one run.

Source: Mean-Shift Distillation (Thamizharasan et al. 2025, arXiv:2502.15989), Fig. 6: at bandwidth 1e3 the kernel has
no influence, at 1e-2 y is a copy of x, and 10 is best in the middle of the run. The paper gives no unit. Read in
timesteps of the schedule its three numbers do what it says; read as a distance (t = sigma^2, the exact kernel) they
need not. Both are drawn here, and the unbiased product sampler, whose bandwidth is a distance too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation.distil import DistillationSettings, distil
from limbeck_server.distillation.picture import PictureSettings, PictureStep, optimise_picture, picture_subject
from limbeck_server.priors.exact import ExactPrior, load_exact_prior
from limbeck_server.studies import figures, pictures

PROMPT = "a yellow duck"
GUIDANCE_SCALE = 2.0
STEPS, QUICK_STEPS = 400, 40
SAMPLING_STEPS, QUICK_SAMPLING_STEPS = 20, 8
TRAVEL = 12.0
"""Steps times learning rate: how far Adam can move a pixel."""
BANDWIDTHS = (1e3, 10.0, 1e-2)
"""Fig. 6's three."""
FIT = (10**4.5, 10 ** (4.5 - 0.0164 * 400))
"""Bandwidths at the run's ends, on the straight line in log bandwidth through Fig. 6's three best pairs."""
MOMENTS, QUICK_MOMENTS = (0.05, 0.25, 0.5, 0.75, 1.0), (0.25, 0.5, 1.0)
"""Shares of the run at which y is drawn."""
SWEEP = tuple(10.0**k for k in (3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0))
DRAWS, QUICK_DRAWS = 6, 2
READINGS: dict[str, dict[str, float | str]] = {
    "splitting, in timesteps": {"sampler": "splitting", "kernel_time": "timestep"},
    "splitting, as distance": {"sampler": "splitting", "kernel_time": "variance"},
    "product, as distance": {"sampler": "product"},
}

Say = Callable[[str], None]


def run(
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    prompt: str = PROMPT,
    size: int = 32,
    prior: ExactPrior | None = None,
) -> dict[str, Any]:
    """Run MSD once, draw y at each moment, bandwidth and reading, and write `bandwidth.png` and `bandwidth-sweep.png`.

    Args:
        quick: a shorter run, shorter chains, fewer bandwidths.
        seed: of all noise.
        out: folder for the figures.
        say: told how far it is.
        prompt: names a shape and a colour.
        size: of the pictures, 32 or 64.
        prior: loaded for the prompt by default.

    Raises:
        ValueError: the prompt has no true picture.
    """
    caption = pictures.known_caption(prompt)
    prior = prior or load_exact_prior(prompt, size)
    settings = _settings(quick, seed)
    met = _moments(prior, settings, prompt, size, QUICK_MOMENTS if quick else MOMENTS, say)
    found: list[dict[str, Any]] = []
    drawn: dict[tuple[int, str, float], Tensor] = {}
    draws = QUICK_DRAWS if quick else DRAWS
    for step, latents in met.items():
        for reading, parameters in READINGS.items():
            say(f"step {step}: {reading}")
            for bandwidth in BANDWIDTHS if quick else SWEEP:
                targets = draw_targets(prior, settings, prompt, latents, parameters, bandwidth, draws, seed)
                drawn[step, reading, bandwidth] = targets[:1]
                found.append(
                    {
                        "step": step,
                        "reading": reading,
                        "bandwidth": bandwidth,
                        "distance": float((targets - latents).square().mean().sqrt()),
                        "to_world": float(pictures.distance_to_world(prior, targets, prompt).mean()),
                        "spread": float(targets.var(0).mean().sqrt()),
                    }
                )
    _draw_grid(prior, met, drawn, out / "bandwidth.png")
    _draw_sweep(found, list(met), out / "bandwidth-sweep.png")
    last = met[max(met)]
    return {
        "study": "bandwidth",
        "choices": _choices(settings, prompt, size, draws),
        "steps": list(met),
        "run": [
            {"step": step, "to_world": float(pictures.distance_to_world(prior, x, prompt)[0])}
            for step, x in met.items()
        ],
        "seen": {over: values[0] for over, values in pictures.seen_in(prior, last, caption).items()},
        "draws": found,
        "figures": ["bandwidth.png", "bandwidth-sweep.png"],
    }


def draw_targets(
    prior: ExactPrior,
    settings: DistillationSettings,
    prompt: str,
    latents: Tensor,
    parameters: Mapping[str, float | str],
    bandwidth: float,
    draws: int,
    seed: int,
) -> Tensor:
    """Return samples y (draws, c, h, w) that MSD draws near latents (1, c, h, w), at one bandwidth.

    The loss's gradient, unweighted, is z - y; so y is z minus it.
    """
    fixed = {**settings.loss_parameters, **parameters, "bandwidth": bandwidth, "bandwidth_min": bandwidth}
    many = latents.expand(draws, *latents.shape[1:])
    generator = torch.Generator().manual_seed(seed)
    subject = picture_subject(prior, many, prompt)
    return many - distil(prior, replace(settings, loss_parameters=fixed), subject, 0.0, generator).gradient


def _settings(quick: bool, seed: int) -> PictureSettings:
    return PictureSettings(
        loss="msd",
        loss_parameters={
            "bandwidth": FIT[0],
            "bandwidth_min": FIT[1],
            "sampling_steps": float(QUICK_SAMPLING_STEPS if quick else SAMPLING_STEPS),
        },
        guidance_scale=GUIDANCE_SCALE,
        timestep_min=0.98,
        timestep_max=((0.0, 0.98),),
        weighting="uniform",
        steps=QUICK_STEPS if quick else STEPS,
        learning_rate=TRAVEL / (QUICK_STEPS if quick else STEPS),
        seed=seed,
    )


def _moments(
    prior: ExactPrior, settings: PictureSettings, prompt: str, size: int, shares: Sequence[float], say: Say
) -> dict[int, Tensor]:
    """Run once and return the latents at the moments, by the number of steps done."""
    wanted = {round(share * settings.steps) for share in shares}
    met: dict[int, Tensor] = {}

    def on_step(step: PictureStep) -> None:
        if step.step - 1 in wanted:
            met[step.step - 1] = step.latents
        if step.step % 50 == 0:
            say(f"run: step {step.step} of {settings.steps}, |y - x| {step.loss:.3f}")

    met[settings.steps] = optimise_picture(prior, settings, prompt, size, on_step=on_step)
    return {step: met[step] for step in sorted(met)}


def _choices(settings: PictureSettings, prompt: str, size: int, draws: int) -> dict[str, str]:
    return {
        "picture": f"{prompt!r}, {size} px, latents in -1..1 moved themselves, from standard normal noise",
        "run": f"{settings.steps} steps of Adam at {settings.learning_rate:g}; bandwidth geometric, "
        f"{FIT[0]:.3g} to {FIT[1]:.2g} timesteps (a line through Fig. 6's best pairs)",
        "chain": f"{settings.loss_parameters['sampling_steps']:g} DDIM steps from timestep 980; kernel in "
        "timesteps 72..813 (splitting); centre shared_noise",
        "guidance scale": f"{settings.guidance_scale:g} (diffusers' convention); the paper's 7.5 burns the exact "
        "prior's colours",
        "draws": f"{draws} at each point, the same noise everywhere, seed {settings.seed}",
        "|y - x|": "root mean square over the latents",
    }


def _draw_grid(
    prior: ExactPrior, met: Mapping[int, Tensor], drawn: Mapping[tuple[int, str, float], Tensor], path: Path
) -> None:
    """The picture grid: a row for each bandwidth and reading, a column for each moment, x itself above."""
    rows: list[tuple[str, list[tuple[str, Tensor]]]] = [("x", [(f"step {step}", x) for step, x in met.items()])]
    for reading in READINGS:
        for bandwidth in BANDWIDTHS:
            cells = []
            for step, x in met.items():
                y = drawn[step, reading, bandwidth]
                cells.append((f"|y - x| {float((y - x).square().mean().sqrt()):.2f}", y))
            sampler, unit = reading.split(", ")
            rows.append((f"{sampler}\n{unit}\n{bandwidth:g}", cells))
    pictures.picture_grid(path, prior, rows, "y at three bandwidths, along one run")


def _draw_sweep(found: Sequence[Mapping[str, Any]], steps: Sequence[int], path: Path) -> None:
    figure, axes = figures.panels(2, len(READINGS), (4.0, 2.7))
    for column, reading in enumerate(READINGS):
        for row, (key, label) in enumerate((("distance", "|y - x| (rms)"), ("spread", "spread of y over noise"))):
            lines = {}
            for step in steps:
                points = [p for p in found if p["reading"] == reading and p["step"] == step]
                lines[f"step {step}"] = ([p["bandwidth"] for p in points], [p[key] for p in points])
            panel = axes[row][column]
            figures.line_plot(
                panel,
                lines,
                title="" if row else reading,
                x_label="bandwidth" if row else "",
                y_label=label,
                log_x=True,
            )
            if (row, column) != (0, 0):
                pictures.drop_legend(panel)
            for bandwidth in BANDWIDTHS:
                panel.axvline(bandwidth, color="black", linewidth=0.8, linestyle=":")
    figures.save(figure, path)


def report(result: Mapping[str, Any]) -> str:
    """Return the study's table and every choice, as text."""
    lines = ["|y - x|, root mean square, at Fig. 6's bandwidths; in brackets the spread of y over the noise"]
    for reading in READINGS:
        lines += ["", f"  {reading:<26}" + "".join(f"{f'step {step}':>16}" for step in result["steps"])]
        for bandwidth in BANDWIDTHS:
            points = [p for p in result["draws"] if (p["reading"], p["bandwidth"]) == (reading, bandwidth)]
            cells = "".join(f"{p['distance']:.3f} ({p['spread']:.3f})".rjust(16) for p in points)
            lines.append(f"  {f'bandwidth {bandwidth:g}':<26}" + cells)
    seen = ", ".join(f"{over} {value:.3f}" for over, value in result["seen"].items())
    distances = ", ".join(f"{p['to_world']:.3f} (step {p['step']})" for p in result["run"])
    lines += [
        "",
        f"The run itself: distance of x to the nearest true picture {distances}; posterior at the end: {seen}",
    ]
    return "\n".join([*lines, "", "Choices", *(f"  {name}: {what}" for name, what in result["choices"].items())])
