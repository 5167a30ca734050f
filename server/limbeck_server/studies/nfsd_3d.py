"""NFSD's Fig. 8 in small: SDS against NFSD in 3-D, from the same seeds, at the paper's guidance scales and at our own.

Katzir et al. (2023) say that SDS needs a guidance scale of 100, whose objects are over-saturated and over-smooth, and
falls short at 7.5, while NFSD does well at 7.5. The jobs are real ones, as in `losses`: whoever calls this hands in how
a job is run. Timesteps are not annealed: the schedule's upper end stays where it is. Every finished job is kept under
`out`, so that an interrupted study goes on where it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from limbeck_server.known_world.captions import parse_caption
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.priors.kinds import EXACT, STABLE_DIFFUSION, prior_kind
from limbeck_server.scene.field import Field
from limbeck_server.studies import figures, pictures
from limbeck_server.studies.kept_jobs import keep, kept
from limbeck_server.studies.losses import TURN_SIZE, Case, Job, JobResult, turn_stage, turn_views

PROMPTS = ("a yellow duck", "a blue torus", "a purple mushroom", "a red car")
QUICK_PROMPTS = PROMPTS[1:2]
QUICK_STEPS = 100
TIMESTEP_MAX = 0.98
CASES: dict[str, Case] = {
    "sds 100": Case("sds", guidance_scale=100.0, timestep_max=TIMESTEP_MAX),
    "sds 7.5": Case("sds", guidance_scale=7.5, timestep_max=TIMESTEP_MAX),
    "nfsd 7.5": Case("nfsd", guidance_scale=7.5, timestep_max=TIMESTEP_MAX),
    "sds own": Case("sds", timestep_max=TIMESTEP_MAX),
    "nfsd own": Case("nfsd", timestep_max=TIMESTEP_MAX),
}
"""The paper's three; then both losses at the scale of the preset, which is made for the prior at hand."""
BURNT_WITHIN = 0.02
"""How near to 0 or 1 a channel counts as burnt out."""
COVERED = 0.9
"""Opacity from which a pixel is the object's: at less, the grey behind it would count as its colour."""
LOOKS = ("saturation", "burnt", "detail", "colour_distance")
WORLD_METRICS = ("iou", "silhouette_iou", "colour_error", "fronts")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Turntable:
    """An object from eight sides.

    Attributes:
        image: (8, 3, size, size) in 0..1, before grey.
        opacity: (8, 1, size, size).
    """

    image: Tensor
    opacity: Tensor


def run(
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    job: Job,
    prompt: str = "",
    prior: str = EXACT,
    setting: str = "",
    model: str = "",
) -> dict[str, Any]:
    """Run every case on every prompt, and write `nfsd-3d.png`, turntables, the truth's first, and `nfsd-3d-looks.png`.

    Args:
        quick: fewer prompts and steps.
        seed: of every job; the caller's `job` uses it too.
        out: folder for the figures, and, in `jobs`, for what is finished.
        say: told which job's turn it is.
        job: runs one, with the prior.
        prompt: only this one.
        prior: its name. Models of any text have no truth.
        setting: the preset's name and the like, for the record.
        model: tells one model from a later one of the same name; jobs of another are run again.

    Raises:
        PromptError: a prompt has words that the known world has not.
    """
    has_truth = prior_kind(prior) != STABLE_DIFFUSION
    prompts = (prompt,) if prompt else QUICK_PROMPTS if quick else PROMPTS
    truths = {text: true_turntable(text) for text in prompts} if has_truth else {}
    steps = QUICK_STEPS if quick else None
    found: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, Turntable]] = {text: {} for text in prompts}
    for text in prompts:
        for label, case in CASES.items():
            key = {"prompt": text, "case": dataclasses.asdict(case), "steps": steps, "seed": seed, "setting": setting}
            key |= {"prior": prior, "model": model}
            place = out / "jobs" / f"{text} {label}".replace(" ", "-")
            result = kept(place, key)
            say(f"{text}: {label}" + (", kept from an earlier run" if result else ""))
            if result is None:
                result = job(text, case, steps)
                keep(place, key, result)
            seen = None if result.field is None else turntable(result.field)
            if seen is not None:
                rows[text][label] = seen
            found.setdefault(text, {})[label] = _summary(result, seen, truths.get(text))
    draw(rows, truths, out / "nfsd-3d.png")
    draw_looks(found, {text: looks(truth, None) for text, truth in truths.items()}, out / "nfsd-3d-looks.png")
    return {
        "study": "nfsd-3d",
        "prior": prior,
        "choices": {
            "jobs": f"{setting}, seed {seed}: the same start, cameras and first noise for every case",
            "steps": f"{QUICK_STEPS} (--quick)" if quick else "the preset's",
            "timesteps": f"up to {TIMESTEP_MAX:g} of the schedule throughout, as in Fig. 8: no annealing",
            "guidance": "sds 100, sds 7.5 and nfsd 7.5 are the paper's; `own` is the preset's, made for this prior",
            "saturation": "(max - min) / max of a pixel's channels, mean over the object, eight sides",
            "burnt": f"share of the object's channels within {BURNT_WITHIN:g} of 0 or 1",
            "detail": "mean |picture - its 3 x 3 mean| over the object: what over-smoothing takes away",
            "colour_distance": "mean |rgb - the truth's| where both objects are, eight sides",
            "metrics": "of the mesh, at the density level that the product chose, without any alignment",
        },
        "truth": {text: looks(truth, None) for text, truth in truths.items()},
        "prompts": found,
        "median": _medians(found),
        "figures": ["nfsd-3d.png", "nfsd-3d-looks.png"],
    }


@torch.no_grad()
def turntable(seen: Field) -> Turntable:
    """Return what eight cameras at eye level see of a field."""
    stage, views = turn_stage(seen), turn_views()
    stills = [stage.render_still(views[k : k + 1], TURN_SIZE) for k in range(len(views))]
    return Turntable(
        torch.cat([still.image.clamp(0, 1).cpu() for still in stills]),
        torch.cat([still.opacity.cpu() for still in stills]),
    )


def true_turntable(prompt: str) -> Turntable | None:
    """Return what the same cameras see of the true object; None unless the prompt names a shape and a colour."""
    caption = parse_caption(prompt)
    if caption.shape is None or caption.colour is None:
        return None
    buffers = render_buffers(SHAPES[caption.shape], turn_views(), TURN_SIZE)
    image = compose_picture(buffers, torch.tensor(COLOURS[caption.colour]), torch.full((3,), 0.5))
    return Turntable(image, buffers[:, 4:])


def looks(seen: Turntable | None, truth: Turntable | None) -> dict[str, float]:
    """Return `saturation`, `burnt` and `detail` of an object, and `colour_distance` where there is a truth.

    Nothing where there is no object, or none that covers a pixel.
    """
    if seen is None or not bool((seen.opacity > COVERED).any()):
        return {}
    covered = (seen.opacity > COVERED)[:, 0]
    pixels = seen.image.permute(0, 2, 3, 1)[covered]
    highest, lowest = pixels.amax(dim=1), pixels.amin(dim=1)
    detail = (seen.image - avg_pool2d(seen.image, 3, stride=1, padding=1, count_include_pad=False)).abs().mean(dim=1)
    inside = -torch.nn.functional.max_pool2d(-covered.float()[:, None], 3, stride=1, padding=1)[:, 0] > 0.5
    found = {
        "saturation": float(((highest - lowest) / highest.clamp(min=1e-3)).mean()),
        "burnt": float(((pixels < BURNT_WITHIN) | (pixels > 1.0 - BURNT_WITHIN)).float().mean()),
        # The outline's own contrast is left out: it is the background's doing.
        "detail": float(detail[inside].mean()) if bool(inside.any()) else 0.0,
    }
    if truth is not None:
        both = covered & (truth.opacity > COVERED)[:, 0]
        if bool(both.any()):
            found["colour_distance"] = float((seen.image - truth.image).abs().mean(dim=1)[both].mean())
    return found


def _summary(result: JobResult, seen: Turntable | None, truth: Turntable | None) -> dict[str, Any]:
    return {
        "error": result.error,
        "guidance_scale": result.settings.get("guidance_scale"),
        "metrics": dict(result.metrics),
        "looks": looks(seen, truth),
    }


def _medians(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, for each case, the medians over the prompts of what there is."""
    medians: dict[str, dict[str, float]] = {}
    for label in CASES:
        ended = [one[label] for one in found.values() if label in one]
        values = {name: [e["metrics"][name] for e in ended if name in e["metrics"]] for name in WORLD_METRICS}
        values |= {name: [e["looks"][name] for e in ended if name in e["looks"]] for name in LOOKS}
        medians[label] = {
            name: float(torch.tensor(v, dtype=torch.float64).quantile(0.5)) for name, v in values.items() if v
        }
    return medians


# --- figures and table ------------------------------------------------------------------------------------------------


def draw(rows: Mapping[str, Mapping[str, Turntable]], truths: Mapping[str, Turntable | None], path: Path) -> None:
    """Write a row for each case and a column for each prompt: four of the eight sides."""
    labels = [*(["truth"] if any(truths.values()) else []), *CASES]
    figure, axes = figures.panels(len(labels), len(rows), (3.6, 1.0))
    for column, (prompt, seen) in enumerate(rows.items()):
        for row, label in zip(axes, labels, strict=True):
            panel, one = row[column], truths.get(prompt) if label == "truth" else seen.get(label)
            if one is None:
                panel.text(0.5, 0.5, "no object", ha="center", va="center", fontsize="small")
            else:
                figures.picture(panel, torch.cat(list(one.image[::2]), dim=2).permute(1, 2, 0).numpy())
            panel.set_axis_on()
            panel.set_xticks([])
            panel.set_yticks([])
            if row is axes[0]:
                panel.set_title(prompt, fontsize="medium")
            if column == 0:
                panel.set_ylabel(label.replace(" ", "\n"), fontsize="small")
    figures.save(figure, path)


def draw_looks(found: Mapping[str, Mapping[str, Any]], truths: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write a panel for each measure of looks: one line for each prompt over the cases, the truth's value first."""
    figure, axes = figures.panels(1, 3, (3.6, 2.8))
    for panel, name in zip(axes[0], LOOKS[:3], strict=True):
        labels = [*(["truth"] if any(truths.values()) else []), *CASES]
        lines = {}
        for prompt, cases in found.items():
            ends: list[Mapping[str, float]] = [truths.get(prompt, {})] if "truth" in labels else []
            ends += [cases[label]["looks"] for label in CASES]
            lines[prompt] = (list(range(len(labels))), [one.get(name, float("nan")) for one in ends])
        figures.line_plot(panel, lines, title=name)
        panel.set_xticks(list(range(len(labels))), [label.replace(" ", "\n") for label in labels], fontsize="x-small")
        if panel is not axes[0][0]:
            pictures.drop_legend(panel)
    figures.save(figure, path)


def report(result: Mapping[str, Any]) -> str:
    """Return the table and every choice, as text."""
    columns = {
        "iou": "IoU",
        "silhouette_iou": "silhouette",
        "colour_error": "colour error",
        "fronts": "fronts",
        "saturation": "saturation",
        "burnt": "burnt",
        "detail": "detail",
        "colour_distance": "rgb distance",
    }
    lines = [f"{'':<20}{'scale':>7}" + "".join(f"{title:>13}" for title in columns.values())]
    for prompt, cases in result["prompts"].items():
        lines.append(prompt)
        if result["truth"].get(prompt):
            lines.append(_line("  truth", None, result["truth"][prompt], columns))
        for label, one in cases.items():
            if one["error"]:
                lines.append(f"  {label:<18}  {one['error']}")
            else:
                lines.append(_line(f"  {label}", one["guidance_scale"], one["metrics"] | one["looks"], columns))
    if len(result["prompts"]) > 1:
        lines.append("median over the prompts")
        lines += [_line(f"  {label}", None, values, columns) for label, values in result["median"].items()]
    return "\n".join([*lines, "", "Choices", *(f"  {name}: {what}" for name, what in result["choices"].items())])


def _line(label: str, scale: float | None, values: Mapping[str, Any], columns: Iterable[str]) -> str:
    cells = "".join(f"{values[name]:>13.3f}" if name in values else f"{'-':>13}" for name in columns)
    return f"{label:<20}" + (f"{scale:>7g}" if scale is not None else f"{'':>7}") + cells
