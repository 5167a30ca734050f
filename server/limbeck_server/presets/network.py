"""The presets of the network prior that ships, and of networks that `limbeck prior train` makes.

The exact prior's presets are where they begin: the same field, schedule and regularisers, since both know one world.
What differs is what a network is worse at: its conditional prediction alone is not enough, and its pictures have 32
pixels. `benchmarks/sweep.py --plan network` prints what comes of them (`docs/network-prior.md`).
"""

from __future__ import annotations

from limbeck_server.presets.common import COMMON
from limbeck_server.presets.layers import Preset, Sourced, sourced, stack

_WORLD = "as on the exact prior, which knows the same world"
_RANGE = (
    "ours: at scales of 2, 3, 5 a torus has IoU 0.87, 0.87, 0.85 and a colour error of 0.09, 0.10, 0.12, a mushroom "
    "IoU 0.86, 0.83, 0.81 and a colour error of 0.21, 0.21, 0.23"
)
"""Of sds, seed 0. It was chosen halfway through the training, when a torus had 0.72 at 2 and 0.78 at 3."""
_OWN_PICTURES = "the network's own pictures have 32 pixels"
_FEWER_CALLS = "ours: every step asks the network"

_ALL: Preset = stack(
    COMMON,
    sourced(
        steps=Sourced(400, "ours: noisier predictions than the exact prior's want more than its 300"),
        guidance_scale=Sourced(3.0, _RANGE),
        views_per_step=Sourced(1, _WORLD),
        timestep_min=Sourced(0.02, _WORLD),
        timestep_max=Sourced([(0.0, 0.98), (1.0, 0.5)], _WORLD),
        weighting=Sourced("noise_variance", _WORLD),
        learning_rate=Sourced(0.05, _WORLD),
        shading=Sourced("albedo", "the network's pictures carry their own shading"),
        field=Sourced("voxels", _WORLD),
        regularizers={
            "total_variation": Sourced([(0.0, 1e-3)], _WORLD),
            "opaqueness": Sourced([(0.0, 0.0), (0.3, 0.0), (1.0, 10.0)], _WORLD),
        },
        threads=Sourced(1, "ours: with one view a step a second thread hardly helps"),
    ),
)
_QUICK: Preset = sourced(
    render_size=Sourced([(0.0, 32)], _OWN_PICTURES),
    field_resolution=Sourced(40, _WORLD),
    samples_per_ray=Sourced(40, _WORLD),
    mesh_resolution=Sourced(96, "ours: a first look"),
    texture_size=Sourced(512, "ours: a first look"),
)
# Blocks of 2 x 2 rays are averaged into a pixel: edges are where they are, not where a ray happens to pass.
_STANDARD: Preset = sourced(
    steps=Sourced(800, "ours: twice quick's"),
    render_size=Sourced([(0.0, 64)], f"{_OWN_PICTURES}; four rays make one of them"),
    field_resolution=Sourced(56, _WORLD),
    samples_per_ray=Sourced(48, _WORLD),
)

# Without the prior's own pull nothing clears away what no picture shows; see `exact.py`.
_CSD: Preset = sourced(
    regularizers={
        "total_variation": Sourced([(0.0, 1e-3)], _WORLD),
        "opaqueness": Sourced([(0.0, 0.0), (0.3, 0.0), (1.0, 10.0)], _WORLD),
        "sparsity": Sourced([(0.0, 10.0)], _WORLD),
    },
)
# The paper's sampler. A pixel model's kernel is as wide as the exact prior's, whose pictures have the same values.
_MSD: Preset = sourced(
    steps=Sourced(300, f"{_FEWER_CALLS} 16 times"),
    weighting=Sourced("uniform", "MSD, Algorithm 1: y - x as it is"),
    timestep_min=Sourced(0.98, _WORLD),
    timestep_max=Sourced([(0.0, 0.98)], _WORLD),
    loss_parameters={
        "sampler": Sourced("splitting", "MSD, Algorithm 2 and eq. 15"),
        "kernel_time": Sourced("variance", _WORLD),
        "bandwidth": Sourced(5.0, _WORLD),
        "bandwidth_min": Sourced(0.3, _WORLD),
        "sampling_steps": Sourced(8.0, _WORLD),
    },
)
# Plain inversion, as published. At a guidance scale of 7.5 pictures run away under it; a floor helps (decision 0013).
_SDI: Preset = sourced(
    weighting=Sourced("noise_to_signal", "SDI's code: the loss is regression onto the denoised latents"),
    timestep_schedule=Sourced("linear", "threestudio, sdi.yaml: t_anneal"),
    timestep_min=Sourced(0.25, "threestudio, sdi.yaml: min_step_percent"),
    timestep_max=Sourced([(0.0, 0.98)], "threestudio, sdi.yaml: max_step_percent"),
    loss_parameters={
        "inversion_guidance": Sourced(0.0, _WORLD),
        "inversion_floor": Sourced(0.0, "plain DDIM inversion"),
    },
)
_ISM: Preset = sourced(
    guidance_scale=Sourced(3.0, "ours: its two predictions share their noise, so less guidance tells them apart"),
    weighting=Sourced("noise_to_signal", "LucidDreamer's code: its w(t)"),
    timestep_max=Sourced([(0.0, 0.98), (0.3, 0.5)], _WORLD),
    loss_parameters={"inversion_floor": Sourced(0.0, "plain DDIM inversion")},
)
# The particle model has 400 steps, where ProlificDreamer's has 25,000.
_VSD: Preset = sourced(
    loss_parameters={
        "lora_rank": Sourced(4.0, "ProlificDreamer's code: the library's default"),
        "lora_learning_rate": Sourced(1e-3, "ours: ten times the published rate, for a hundredth of the steps"),
        "lora_warmup": Sourced(10.0, "ours: the published share of the run, 500 of 25,000"),
    },
)
# Edits begin with an object that exists; see `exact.py` for the pace of density.
_DDS: Preset = sourced(
    steps=Sourced(200, _WORLD),
    guidance_scale=Sourced(3.0, "ours: the network's colours need some"),
    timestep_min=Sourced(0.05, "DDS's notebook: t is drawn from 50 to 948 of 1000"),
    timestep_max=Sourced([(0.0, 0.948)], "DDS's notebook: t is drawn from 50 to 948 of 1000"),
    weighting=Sourced("uniform", "DDS's notebook: alpha and sigma to the power 0"),
    density_pace=Sourced(0.3, _WORLD),
    regularizers=Sourced({}, "none: they pull where the prompts agree too"),
)

_OF_LOSS: dict[str, tuple[Preset, ...]] = {
    "sds": (),
    "nfsd": (),
    "csd": (_CSD,),
    "msd": (_MSD,),
    "sdi": (_SDI,),
    "ism": (_ISM,),
    "vsd": (_VSD,),
    "dds": (_DDS,),
}

PRESETS: dict[tuple[str, str], Preset] = {
    # (preset, loss)
    (name, loss): stack(_ALL, size, *own)
    for loss, own in _OF_LOSS.items()
    for name, size in (("quick", _QUICK), ("standard", _STANDARD))
}
