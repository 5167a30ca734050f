"""The presets of Stable Diffusion: each published one under its name, as the loss's `standard`, and made `quick`.

Cameras are no part of a preset: they are the recipe's rig. Every value has its source beside it (`threestudio.py`,
`papers.py`); what the published systems have and this one has not stands in `DESCRIPTIONS`.
"""

from __future__ import annotations

from typing import Any

from limbeck_server.presets.layers import Preset, Sourced, entries, sourced, stack
from limbeck_server.presets.papers import DDS, LUCIDDREAMER, MSD, NFSD
from limbeck_server.presets.threestudio import CSD, DREAMFUSION, PROLIFICDREAMER, SDI, SJC

DESCRIPTIONS = {
    "dreamfusion": (
        "DreamFusion (Poole et al. 2022) as threestudio has it for Stable Diffusion. Without its hash grid's levels "
        "that open one by one."
    ),
    "sjc": (
        "Score Jacobian Chaining (Wang et al. 2022) as threestudio has it: SDS without a weight, on voxels. Without "
        "its volume of latents and its emptiness loss."
    ),
    "nfsd": "Noise-Free Score Distillation, section 6 (Katzir et al. 2023). No code was published.",
    "csd": (
        "Classifier Score Distillation, stage 1 (Yu et al. 2023). Without its pixel model, its way from the empty to "
        "the negative prompt, its first steps at front and back only, and its second stage on a mesh."
    ),
    "msd": (
        "Mean-Shift Distillation, section 4.4 (Thamizharasan et al. 2025). No code was published; slow. Its chains "
        "start from the inverted picture, not from pure noise (decision 0012), and the inversion is not guided."
    ),
    "sdi": (
        "Score Distillation via Inversion (Lukoianov et al. 2024). Without its convexity and depth variance losses and "
        "its hash grid's levels that open one by one."
    ),
    "luciddreamer": (
        "LucidDreamer's interval score matching (Liang et al. 2023). Without its splats, Point-E's start, its share of "
        "depth pictures, and its negative prompt in the empty one's place."
    ),
    "prolificdreamer": (
        "ProlificDreamer, stage 1 (Wang et al. 2023), as threestudio has it. Its particle model is on the prior's own "
        "network, not on a second one. Without several particles and the stages on a mesh that follow."
    ),
    "dds": "Delta Denoising Score (Hertz et al. 2023), a way to edit pictures, here for fields.",
}

_LOOK = "ours: a first look in minutes"
_FEWER_CALLS = f"{_LOOK}; fewer calls of the network"
_COARSE = sourced(
    render_size=Sourced([(0.0, 64)], _LOOK),
    samples_per_ray=Sourced(128, _LOOK),
    field=Sourced("voxels", _LOOK),
    field_resolution=Sourced(96, _LOOK),
    shading=Sourced("albedo", f"{_LOOK}, without normals"),
    learning_rate=Sourced(0.05, f"{_LOOK}; what suits voxels"),
    regularizers={
        "sparsity": Sourced([(0.0, 1.0)], f"{_LOOK}; as dreamfusion-sd.yaml's"),
        "total_variation": Sourced([(0.0, 1e-3)], f"{_LOOK}; as on the known world"),
    },
    mesh_resolution=Sourced(128, _LOOK),
)


def _quick(published: Preset, steps: int, **changes: Any) -> Preset:
    """Return the published preset on a coarse grid for an eighth of the steps or fewer, with what else must change.

    Changes of loss parameters stand beside the published ones, all others in their place.
    """
    own = changes.pop("loss_parameters", {})
    parameters = entries(published, "loss_parameters") | own
    return stack(published, _COARSE, sourced(steps=Sourced(steps, _LOOK), loss_parameters=parameters, **changes))


_QUICK: dict[str, Preset] = {
    "sds": _quick(DREAMFUSION, 1200),
    "nfsd": _quick(NFSD, 1200),
    "csd": _quick(CSD, 1200, perp_neg=Sourced(0.0, _FEWER_CALLS)),
    "msd": _quick(
        MSD,
        400,
        loss_parameters={
            "sampling_steps": Sourced(10.0, _FEWER_CALLS),
            "centre": Sourced("shared_noise", f"{_FEWER_CALLS} than inversion takes"),
        },
    ),
    # Without Perp-Neg the authors' code counts guidance from the conditional prediction: one more in diffusers' form.
    "sdi": _quick(
        SDI,
        600,
        perp_neg=Sourced(0.0, _FEWER_CALLS),
        guidance_scale=Sourced(8.5, "SDI's 7.5 in the form that its code has without Perp-Neg"),
        loss_parameters={
            "inversion_guidance": Sourced(-6.5, "SDI's -7.5 in the form that its code has without Perp-Neg")
        },
    ),
    "ism": _quick(LUCIDDREAMER, 600, views_per_step=Sourced(1, _FEWER_CALLS)),
    "vsd": _quick(PROLIFICDREAMER, 1200, loss_parameters={"lora_warmup": Sourced(50.0, _LOOK)}),
    # A regulariser pulls where the prompts agree too, and an edit to the same prompt shall change nothing.
    "dds": _quick(DDS, 250, regularizers=Sourced({}, "as the published preset: no regulariser")),
}

_PUBLISHED: dict[tuple[str, str], Preset] = {
    # (name, loss); the first of a loss is its `standard`
    ("dreamfusion", "sds"): DREAMFUSION,
    ("sjc", "sds"): SJC,
    ("nfsd", "nfsd"): NFSD,
    ("csd", "csd"): CSD,
    ("msd", "msd"): MSD,
    ("sdi", "sdi"): SDI,
    ("luciddreamer", "ism"): LUCIDDREAMER,
    ("prolificdreamer", "vsd"): PROLIFICDREAMER,
    ("dds", "dds"): DDS,
}


def _table() -> dict[tuple[str, str], Preset]:
    table: dict[tuple[str, str], Preset] = {("quick", loss): preset for loss, preset in _QUICK.items()}
    for (_, loss), preset in _PUBLISHED.items():
        table.setdefault(("standard", loss), preset)
    return table | _PUBLISHED


PRESETS: dict[tuple[str, str], Preset] = _table()
"""By preset and loss."""
