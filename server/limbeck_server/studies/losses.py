"""One prompt, every loss, one seed: objects side by side, what they cost, and how near the truth they are.

The jobs are real ones. Whoever calls this hands in how a job is run, since recipes and meshes are another room's; here
are the choice of cases, the turntables, the figure and the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation.stage import Stage, StageSettings
from limbeck_server.known_world.captions import Caption
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture, render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.scene.cameras import Views, orbit_views
from limbeck_server.scene.field import Field
from limbeck_server.scene.renderer import RenderSettings
from limbeck_server.studies import figures, pictures

PROMPT = "a yellow duck"
TURNS, TURN_ELEVATION_DEG, TURN_SIZE = 8, 15.0, 64
SAMPLES_PER_RAY = 64
QUICK_STEPS = 100

Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """One of the compared ways; what is given differs from the preset's.

    Attributes:
        loss: by name.
        parameters: of the loss.
        guidance_scale: None for the preset's.
        timestep_max: share of the schedule, held throughout; None for the preset's, which usually falls.
    """

    loss: str
    parameters: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    guidance_scale: float | None = None
    timestep_max: float | None = None


CASES: dict[str, Case] = {
    "sds": Case("sds"),
    "nfsd": Case("nfsd"),
    "csd": Case("csd"),
    "sdi": Case("sdi"),
    "ism": Case("ism"),
    "msd splitting": Case("msd"),
    "msd product": Case("msd", {"sampler": "product"}),
}
"""`dds` edits what exists, and `vsd` needs a network: neither makes an object from a prompt on the exact prior."""


@dataclass(frozen=True)
class JobResult:
    """What a job came to: its metrics and the field it ended with; or why it failed.

    Attributes:
        metrics: as the job reports them.
        field: None where it failed.
        error: a sentence; empty where it did not.
        settings: what the job ran at, all of it.
    """

    metrics: Mapping[str, Any]
    field: Field | None
    error: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


Job = Callable[[str, Case, int | None], JobResult]
"""job(prompt, case, steps or None for the preset's) runs a real job, with the study's seed."""


def run(
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    job: Job,
    prompt: str = PROMPT,
    losses: Sequence[str] = (),
    setting: str = "",
) -> dict[str, Any]:
    """Run a job for each loss, and write `losses.png`: turntables, the truth's first.

    Args:
        quick: a third of the steps.
        seed: of every job; the caller's `job` uses it too.
        out: folder for the figure.
        say: told which loss's turn it is.
        job: runs one.
        prompt: names a shape and a colour.
        losses: which; all by default.
        setting: the preset's name and the like, for the record.

    Raises:
        ValueError: the prompt has no true picture, or a loss makes no object here.
    """
    caption = pictures.known_caption(prompt)
    offered = {case.loss for case in CASES.values()}
    for loss in losses:
        if loss not in offered:
            raise ValueError(
                f"the study 'losses' makes objects from a prompt on the exact prior with {', '.join(sorted(offered))}; "
                f"{loss!r} is not one of them"
            )
    cases = {label: case for label, case in CASES.items() if not losses or case.loss in losses}
    rows: list[tuple[str, Tensor]] = [("truth", true_turntable(caption))]
    found: dict[str, dict[str, Any]] = {}
    for label, case in cases.items():
        say(label)
        result = job(prompt, case, QUICK_STEPS if quick else None)
        found[label] = {"metrics": dict(result.metrics), "error": result.error, "parameters": dict(case.parameters)}
        if result.field is not None:
            rows.append((label, turntable(result.field)))
    draw(rows, prompt, out / "losses.png")
    return {
        "study": "losses",
        "choices": {
            "prompt": f"{prompt!r}, exact prior, seed {seed}: the same start, cameras and first noise for every loss",
            "settings": setting + (f", but {QUICK_STEPS} steps (--quick)" if quick else ""),
            "msd product": "at the bandwidths of msd splitting, the preset's: a distance between latents",
            "left out": "dds edits what exists; vsd needs a network (on the exact prior it is sds, draw by draw)",
            "metrics": "of the mesh, at the density level that the product chose, without any alignment",
        },
        "losses": found,
        "figures": ["losses.png"],
    }


def turn_views() -> Views:
    """Return the cameras of a turntable: eight azimuths from the front, at eye level."""
    return orbit_views(torch.arange(TURNS) * (360.0 / TURNS), torch.full((TURNS,), TURN_ELEVATION_DEG))


@torch.no_grad()
def turntable(seen: Field) -> Tensor:
    """Return stills (8, 3, 64, 64) in 0..1 of a field, before grey."""
    stage, views = turn_stage(seen), turn_views()
    return torch.cat(
        [stage.render_still(views[k : k + 1], TURN_SIZE).image.clamp(0, 1).cpu() for k in range(len(views))]
    )


def turn_stage(seen: Field) -> Stage:
    """Return the stage of a turntable: the field alone, in its own colours."""
    settings = StageSettings(
        rendering=RenderSettings(samples_per_ray=SAMPLES_PER_RAY),
        background="grey",
        shading="albedo",
        albedo_until=0.0,
        lit_share=0.0,
        textureless_share=0.0,
    )
    return Stage(seen, settings, next(seen.parameters()).device, torch.Generator().manual_seed(0))


def true_turntable(caption: Caption) -> Tensor:
    """Return what the same cameras see of the true object: (8, 3, 64, 64) in 0..1."""
    assert caption.shape is not None
    assert caption.colour is not None
    buffers = render_buffers(SHAPES[caption.shape], turn_views(), TURN_SIZE)
    return compose_picture(buffers, torch.tensor(COLOURS[caption.colour]), torch.full((3,), 0.5))


def draw(rows: Sequence[tuple[str, Tensor]], prompt: str, path: Path) -> None:
    """Write the turntables, one row each."""
    figure, axes = figures.panels(len(rows), 1, (8.6, 1.12), prompt)
    for (panel,), (label, stills) in zip(axes, rows, strict=True):
        strip = torch.cat(list(stills), dim=2).permute(1, 2, 0).numpy()
        figures.picture(panel, strip)
        panel.set_axis_on()
        panel.set_xticks([])
        panel.set_yticks([])
        panel.set_ylabel(label.replace(" ", "\n"), fontsize="small")
    figures.save(figure, path)


def report(result: Mapping[str, Any]) -> str:
    """Return the table and every choice, as text."""
    columns = {
        "iou": "IoU",
        "silhouette_iou": "silhouette",
        "colour_error": "colour error",
        "fronts": "fronts",
        "prior_evaluations": "evaluations",
        "steps": "steps",
        "seconds": "seconds",
    }
    lines = [f"{'':<16}" + "".join(f"{title:>14}" for title in columns.values()) + f"{'a step':>10}"]
    for label, found in result["losses"].items():
        metrics = found["metrics"]
        if found["error"]:
            lines.append(f"{label:<16}  {found['error']}")
            continue
        cells = "".join(f"{metrics[name]:>14.4g}" if name in metrics else f"{'-':>14}" for name in columns)
        lines.append(f"{label:<16}{cells}{metrics['prior_evaluations'] / metrics['steps']:>10.1f}")
    return "\n".join([*lines, "", "Choices", *(f"  {name}: {what}" for name, what in result["choices"].items())])
