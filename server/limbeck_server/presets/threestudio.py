"""Presets whose values stand in threestudio's configurations, or in those of a fork of it.

What is converted: guidance scales that threestudio counts from the conditional prediction, s + 1 in diffusers'
convention; steps of the run, to shares of it. Its gradient is summed over the latents and divided by the views, as ours
is (`injection.py`), so weights of regularisers carry over; where it is a mean they are multiplied by what that divides.
"""

from __future__ import annotations

from limbeck_server.presets.common import COMMON
from limbeck_server.presets.layers import Preset, Sourced, sourced, stack

_SD = "threestudio, dreamfusion-sd.yaml: {}"
_SJC = "threestudio, sjc.yaml: {}"
_SDI = "threestudio, sdi.yaml: {}"
_VSD = "threestudio, prolificdreamer.yaml: {}"
_CSD = "CSD's authors, csd-if.yaml: {}"
_NETWORKS = "the networks learn at a tenth of it"
_PER_RAY = "theirs is per ray that hits, ours per ray"

NETWORK: Preset = stack(
    COMMON,
    sourced(
        preview_every=Sourced(50, "ours"),
        mesh_resolution=Sourced(256, "ours: meshes are no part of the methods"),
        face_budget=Sourced(15_000, "ours: meshes are no part of the methods"),
    ),
)
"""What all presets of a network begin with."""

DREAMFUSION: Preset = stack(
    NETWORK,
    sourced(
        steps=Sourced(10_000, _SD.format("max_steps (the paper: 15,000)")),
        guidance_scale=Sourced(101.0, _SD.format("guidance_scale 100, as DreamFusion's, counts from the conditional")),
        views_per_step=Sourced(1, _SD.format("batch_size")),
        render_size=Sourced([(0.0, 64)], _SD.format("width; as in DreamFusion, section 3.2")),
        timestep_min=Sourced(0.02, _SD.format("min_step_percent; as in DreamFusion, section 3.2")),
        timestep_max=Sourced([(0.0, 0.98)], _SD.format("max_step_percent; as in DreamFusion, section 3.2")),
        weighting=Sourced("noise_variance", _SD.format("weighting_strategy sds; as in DreamFusion, section 3.2")),
        learning_rate=Sourced(0.01, _SD.format(f"lr; ours: {_NETWORKS}")),
        background=Sourced("learned", _SD.format("neural-environment-map-background; as in DreamFusion, section 3.1")),
        shading=Sourced("mixed", _SD.format("diffuse-with-point-light-material; as in DreamFusion, section 3.1")),
        albedo_until=Sourced(0.2, _SD.format("ambient_only_steps 2001 of 10,000")),
        lit_share=Sourced(0.75, _SD.format("diffuse_prob, by default 0.75")),
        textureless_share=Sourced(0.5, _SD.format("textureless_prob, by default 0.5")),
        field=Sourced("hash_grid", _SD.format("ProgressiveBandHashGrid; ours has all levels from the start")),
        field_resolution=Sourced(4096, _SD.format("16 levels, per_level_scale 1.4473 from 16 on")),
        samples_per_ray=Sourced(512, _SD.format("num_samples_per_ray")),
        regularizers={
            "orientation": Sourced([(0.0, 10.0), (0.5, 1000.0)], _SD.format(f"lambda_orient; {_PER_RAY}")),
            "sparsity": Sourced([(0.0, 1.0)], _SD.format("lambda_sparsity")),
        },
    ),
)

# A grid of latents there, a grid of colours here.
SJC: Preset = stack(
    NETWORK,
    sourced(
        steps=Sourced(10_000, _SJC.format("max_steps")),
        guidance_scale=Sourced(101.0, _SJC.format("guidance_scale 100 counts from the conditional prediction")),
        views_per_step=Sourced(1, _SJC.format("batch_size, by default 1")),
        render_size=Sourced([(0.0, 64)], _SJC.format("width, by default 64")),
        timestep_min=Sourced(0.01, _SJC.format("min_step_percent")),
        timestep_max=Sourced([(0.0, 0.97)], _SJC.format("max_step_percent")),
        weighting=Sourced("uniform", _SJC.format("use_sjc with var_red, which is SDS without a weight")),
        learning_rate=Sourced(0.05, _SJC.format("lr, there with Adamax")),
        background=Sourced("learned", _SJC.format("textured-background; ours is a network on directions")),
        shading=Sourced("albedo", _SJC.format("no-material")),
        field=Sourced("voxels", _SJC.format("volume-grid; of latents there, of colours here")),
        field_resolution=Sourced(100, _SJC.format("grid_size")),
        samples_per_ray=Sourced(512, _SJC.format("num_samples_per_ray")),
        regularizers={
            "sparsity": Sourced([(0.0, 1.0)], "ours, for sjc.yaml's lambda_emptiness; as dreamfusion-sd.yaml's"),
            "total_variation": Sourced([(0.0, 1e-3)], "ours: a grid of colours is noisier than one of latents"),
        },
    ),
)

_MEAN = "times the 16,384 latents of its mean"
# sdi.yaml switches Perp-Neg on, and that branch of its code has diffusers' form: its scales stay what they are.
SDI: Preset = stack(
    NETWORK,
    sourced(
        steps=Sourced(10_000, _SDI.format("max_steps")),
        guidance_scale=Sourced(7.5, _SDI.format("guidance_scale; with Perp-Neg in diffusers' form")),
        views_per_step=Sourced(1, _SDI.format("batch_size")),
        render_size=Sourced([(0.0, 512)], _SDI.format("width")),
        timestep_schedule=Sourced("linear", _SDI.format("t_anneal")),
        timestep_min=Sourced(0.25, _SDI.format("min_step_percent")),
        timestep_max=Sourced([(0.0, 0.98)], _SDI.format("max_step_percent")),
        perp_neg=Sourced(1.0, _SDI.format("use_perp_neg")),
        weighting=Sourced("noise_to_signal", "SDI's code: the loss is regression onto the denoised latents"),
        learning_rate=Sourced(0.01, _SDI.format(f"lr; ours: {_NETWORKS}")),
        background=Sourced("learned", _SDI.format("neural-environment-map-background")),
        shading=Sourced("mixed", _SDI.format("diffuse-with-point-light-material")),
        albedo_until=Sourced(0.1, _SDI.format("ambient_only_steps 1000 of 10,000")),
        lit_share=Sourced(0.3, _SDI.format("diffuse_prob")),
        textureless_share=Sourced(0.75, _SDI.format("textureless_prob")),
        field=Sourced("hash_grid", _SDI.format("ProgressiveBandHashGrid; ours has all levels from the start")),
        field_resolution=Sourced(4096, _SDI.format("16 levels, per_level_scale 1.4473 from 16 on")),
        samples_per_ray=Sourced(512, _SDI.format("num_samples_per_ray")),
        regularizers={
            "orientation": Sourced([(0.0, 1638.4)], _SDI.format(f"lambda_orient 0.1, {_MEAN}; {_PER_RAY}")),
            "sparsity": Sourced([(0.0, 2457.6), (0.3, 0.0)], _SDI.format(f"lambda_sparsity 0.15 -> 0, {_MEAN}")),
            "opaqueness": Sourced([(0.0, 1638.4)], _SDI.format(f"lambda_opaque 0.1, {_MEAN}")),
        },
        loss_parameters={
            "inversion_steps": Sourced(10.0, _SDI.format("inversion_n_steps")),
            "inversion_floor": Sourced(0.0, "off: it is ours, for priors in closed form (decision 0013)"),
            "inversion_guidance": Sourced(-7.5, _SDI.format("inversion_guidance_scale; with Perp-Neg in that form")),
            "inversion_eta": Sourced(0.3, _SDI.format("inversion_eta")),
        },
    ),
)

PROLIFICDREAMER_ALONE: Preset = sourced(
    steps=Sourced(25_000, _VSD.format("max_steps; as in the authors' stage 1")),
    guidance_scale=Sourced(7.5, _VSD.format("guidance_scale; diffusers' form there too")),
    views_per_step=Sourced(1, _VSD.format("batch_size")),
    render_size=Sourced([(0.0, 64), (0.2, 512)], _VSD.format("width, resolution_milestones (the authors: 512)")),
    timestep_min=Sourced(0.02, _VSD.format("min_step_percent")),
    timestep_max=Sourced([(0.0, 0.98), (0.2, 0.98), (0.2, 0.5)], _VSD.format("max_step_percent, at step 5000")),
    weighting=Sourced("noise_variance", "threestudio's VSD guidance, and the authors' code: 1 - alpha_bar"),
    learning_rate=Sourced(0.01, _VSD.format(f"lr of the encoding; {_NETWORKS} there too")),
    background=Sourced("alternating", _VSD.format("neural-environment-map-background with random_aug")),
    shading=Sourced("albedo", _VSD.format("no-material")),
    field=Sourced("hash_grid", _VSD.format("HashGrid")),
    field_resolution=Sourced(4096, _VSD.format("16 levels, per_level_scale 1.4473 from 16 on")),
    samples_per_ray=Sourced(512, _VSD.format("num_samples_per_ray")),
    regularizers={
        "sparsity": Sourced([(0.0, 10.0)], _VSD.format("lambda_sparsity")),
        "opaqueness": Sourced([(0.0, 0.0), (0.4, 0.0), (0.4, 1000.0)], _VSD.format("lambda_opaque")),
    },
    loss_parameters={
        "lora_rank": Sourced(4.0, "ProlificDreamer's code: the library's default"),
        "lora_learning_rate": Sourced(1e-4, _VSD.format("lr of the guidance; as in the authors' code")),
        "lora_warmup": Sourced(500.0, "ProlificDreamer's code; threestudio has none"),
    },
)
"""For papers that follow it and do not say so of every value."""
PROLIFICDREAMER: Preset = stack(NETWORK, PROLIFICDREAMER_ALONE)

# A pixel model there, latents here.
CSD: Preset = stack(
    NETWORK,
    sourced(
        steps=Sourced(10_000, _CSD.format("max_steps")),
        guidance_scale=Sourced(1.0, _CSD.format("cond_scale; a plain factor")),
        views_per_step=Sourced(1, _CSD.format("batch_size")),
        render_size=Sourced([(0.0, 64)], _CSD.format("width")),
        timestep_min=Sourced(0.02, _CSD.format("min_step_percent")),
        timestep_max=Sourced([(0.0, 0.98), (0.5, 0.98), (0.5, 0.5)], _CSD.format("max_step_percent, at step 5000")),
        weighting=Sourced("uniform", _CSD.format("weighting_strategy")),
        perp_neg=Sourced(3.0, _CSD.format("use_perp_neg, perpneg_scale")),
        learning_rate=Sourced(0.001, _CSD.format(f"lr; ours: {_NETWORKS}")),
        background=Sourced("alternating", _CSD.format("neural-environment-map-background with random_aug")),
        shading=Sourced("mixed", _CSD.format("diffuse-with-point-light-material")),
        albedo_until=Sourced(0.5, _CSD.format("ambient_only_steps 5001 of 10,000")),
        lit_share=Sourced(0.5, _CSD.format("diffuse_prob")),
        textureless_share=Sourced(1.0, _CSD.format("textureless_prob; it shows normals then, we a white object")),
        field=Sourced("hash_grid", _CSD.format("HashGrid")),
        field_resolution=Sourced(512, _CSD.format("12 levels, per_level_scale 1.3704 from 16 on; ours has 16 levels")),
        samples_per_ray=Sourced(512, _CSD.format("num_samples_per_ray")),
        regularizers={
            "orientation": Sourced([(0.0, 1.0), (0.5, 100.0)], _CSD.format(f"lambda_orient; {_PER_RAY}")),
            "sparsity": Sourced([(0.0, 10.0), (0.5, 1.0)], _CSD.format("lambda_sparsity")),
        },
        loss_parameters={
            "negative_weight": Sourced(0.0, _CSD.format("uncond_scale at the start; it goes on to 1 by half the run")),
        },
    ),
)
