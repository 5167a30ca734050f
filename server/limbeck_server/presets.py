"""Presets as values, one per (loss, kind of prior): the papers' settings, each with its source.

"Tuned" means by eye and by IoU on the known world; `benchmarks/sweep.py` prints what came of it (`docs/results.md`). A
schedule is a list of (share of the run, value).
"""

from __future__ import annotations

from typing import Any

from limbeck_protocol.recipe import Settings
from msgspec import UNSET

EXACT = "exact"
STABLE_DIFFUSION = "stable-diffusion"

_COMMON = Settings(
    loss_parameters={},
    background="random",
    preview_every=10,
    mesh_resolution=128,
    density_level=None,
    face_budget=12_000,
    texture_size=1024,
    device="auto",
)

# The exact prior, tuned on the known world. Low guidance suffices (its conditional prediction is right), and 7.5 burns
# colours out. One thread: a second gains a tenth on an idle machine and costs a factor on a busy one (decision 0007).
_EXACT = Settings(
    steps=300,
    guidance_scale=2.0,
    views_per_step=1,
    timestep_min=0.02,
    timestep_max=[(0.0, 0.98), (1.0, 0.5)],
    weighting="noise_variance",
    learning_rate=0.05,
    shading="albedo",
    field="voxels",
    regularizers={
        "total_variation": [(0.0, 1e-3)],
        # Half-transparent haze becomes object or air towards the end: IoU of a cube 0.871 -> 0.884.
        "opaqueness": [(0.0, 0.0), (0.3, 0.0), (1.0, 10.0)],
    },
    threads=1,
)
_EXACT_QUICK = Settings(
    render_size=[(0.0, 32)], field_resolution=40, samples_per_ray=40, mesh_resolution=96, texture_size=512
)
# Without the prior's own pull nothing clears away what no picture shows: the authors' sparsity does. IoU of a torus
# without it 0.686 (blobs around it), with 3: 0.719, 10: 0.764, 30: 0.690.
_EXACT_CSD = Settings(
    regularizers={
        "total_variation": [(0.0, 1e-3)],
        "opaqueness": [(0.0, 0.0), (0.3, 0.0), (1.0, 10.0)],
        "sparsity": [(0.0, 10.0)],
    }
)
_EXACT_STANDARD = Settings(render_size=[(0.0, 64)], field_resolution=56, samples_per_ray=48)

# Stable Diffusion. threestudio's dreamfusion-sd configuration, which follows DreamFusion (Poole et al. 2022) with
# Magic3D's cameras: 10,000 steps of one 64-pixel view, guidance scale 100, t in 20..980, orientation 10 -> 1000 over
# half the run, sparsity 1, learning rate 0.01 on the grid.
_DIFFUSION_STANDARD = Settings(
    steps=10_000,
    guidance_scale=100.0,
    views_per_step=1,
    render_size=[(0.0, 64)],
    timestep_min=0.02,
    timestep_max=[(0.0, 0.98)],
    weighting="noise_variance",
    learning_rate=0.01,
    shading="lambert",
    field="hash_grid",
    field_resolution=4096,
    samples_per_ray=512,
    regularizers={"orientation": [(0.0, 10.0), (0.5, 1000.0)], "sparsity": [(0.0, 1.0)]},
    preview_every=50,
    mesh_resolution=256,
    face_budget=15_000,
)
# NFSD section 6 (Katzir et al. 2023): threestudio, 25,000 steps, AdamW at 0.01, 64 -> 512 px at step 5000 and t_max
# -> 500 at the same step, guidance scale 7.5. What the paper leaves open follows threestudio's prolificdreamer
# configuration: sparsity 10, opaqueness 1000 from step 10,000.
_DIFFUSION_NFSD = Settings(
    steps=25_000,
    guidance_scale=7.5,
    render_size=[(0.0, 64), (0.2, 512)],
    timestep_max=[(0.0, 0.98), (0.2, 0.98), (0.2, 0.5)],
    shading="albedo",
    regularizers={"sparsity": [(0.0, 10.0)], "opaqueness": [(0.0, 0.0), (0.4, 0.0), (0.4, 1000.0)]},
)
# CSD's stage 1 (Yu et al. 2023, the authors' threestudio fork): 10,000 steps at 64 px, uniform w, scale 1, t_max -> 500
# from step 5000 on, learning rate 0.001, orientation 1 -> 100, sparsity 10 -> 1. Theirs runs on a pixel model, moves
# the baseline from the empty to the negative prompt over 5000 steps, and begins with front and back; ours does not.
_DIFFUSION_CSD = Settings(
    guidance_scale=1.0,
    timestep_max=[(0.0, 0.98), (0.5, 0.98), (0.5, 0.5)],
    weighting="uniform",
    learning_rate=0.001,
    regularizers={"orientation": [(0.0, 1.0), (0.5, 100.0)], "sparsity": [(0.0, 10.0), (0.5, 1.0)]},
)
# A first look on a GPU in minutes: an eighth of the steps, a coarser field.
_DIFFUSION_QUICK = Settings(
    steps=1200,
    samples_per_ray=128,
    field="voxels",
    field_resolution=96,
    shading="albedo",
    learning_rate=0.05,
    regularizers={"sparsity": [(0.0, 1.0)], "total_variation": [(0.0, 1e-3)]},
    mesh_resolution=128,
)


def layer(*layers: Settings) -> Settings:
    """Return the settings of all layers; what a later one sets wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= {name: value for name in layer.__struct_fields__ if (value := getattr(layer, name)) is not UNSET}
    return Settings(**merged)


PRESETS: dict[tuple[str, str, str], Settings] = {
    # (preset, loss, kind of prior)
    ("quick", "sds", EXACT): layer(_COMMON, _EXACT, _EXACT_QUICK),
    ("standard", "sds", EXACT): layer(_COMMON, _EXACT, _EXACT_STANDARD),
    ("quick", "nfsd", EXACT): layer(_COMMON, _EXACT, _EXACT_QUICK),
    ("standard", "nfsd", EXACT): layer(_COMMON, _EXACT, _EXACT_STANDARD),
    ("quick", "csd", EXACT): layer(_COMMON, _EXACT, _EXACT_QUICK, _EXACT_CSD),
    ("standard", "csd", EXACT): layer(_COMMON, _EXACT, _EXACT_STANDARD, _EXACT_CSD),
    ("quick", "sds", STABLE_DIFFUSION): layer(_COMMON, _DIFFUSION_STANDARD, _DIFFUSION_QUICK),
    ("standard", "sds", STABLE_DIFFUSION): layer(_COMMON, _DIFFUSION_STANDARD),
    ("quick", "nfsd", STABLE_DIFFUSION): layer(
        _COMMON, _DIFFUSION_STANDARD, _DIFFUSION_QUICK, Settings(guidance_scale=7.5)
    ),
    ("standard", "nfsd", STABLE_DIFFUSION): layer(_COMMON, _DIFFUSION_STANDARD, _DIFFUSION_NFSD),
    ("quick", "csd", STABLE_DIFFUSION): layer(
        _COMMON, _DIFFUSION_STANDARD, _DIFFUSION_QUICK, Settings(guidance_scale=1.0)
    ),
    ("standard", "csd", STABLE_DIFFUSION): layer(_COMMON, _DIFFUSION_STANDARD, _DIFFUSION_CSD),
}

PRESET_DESCRIPTIONS = {
    "quick": "A first look: 32 pixels and half a minute on the exact prior; minutes on a GPU with Stable Diffusion.",
    "standard": "The real thing: 64 pixels and about two minutes on the exact prior; the papers' settings otherwise.",
}
