"""Presets that stand in papers without code, or in code that is not threestudio's.

What a paper leaves open is marked: "ours" says who chose instead, and on what grounds.
"""

from __future__ import annotations

from limbeck_server.presets.layers import Preset, Sourced, reworded, sourced, stack
from limbeck_server.presets.threestudio import NETWORK, PROLIFICDREAMER_ALONE

_NFSD = "NFSD, section 6: {}"
_MSD = "MSD, section 4.4: {}"
_ISM = "LucidDreamer's code: {}"
_DDS = "DDS's notebook: {}"
_NETWORKS = "ours: the networks learn at a tenth of it"

NFSD: Preset = stack(
    NETWORK,
    reworded(PROLIFICDREAMER_ALONE, "NFSD does not say; ours, after {}"),
    sourced(
        steps=Sourced(25_000, _NFSD.format("iterations")),
        guidance_scale=Sourced(7.5, _NFSD.format("s, diffusers' form")),
        render_size=Sourced([(0.0, 64), (0.2, 512)], _NFSD.format("64 x 64, from step 5000 on 512 x 512")),
        timestep_min=Sourced(0.02, "NFSD gives the upper end only; ours: DreamFusion's, section 3.2"),
        timestep_max=Sourced([(0.0, 0.98), (0.2, 0.98), (0.2, 0.5)], _NFSD.format("500 from step 5000 on")),
        weighting=Sourced(
            "noise_variance", "NFSD only says w(t); ours: without sigma^2 the branch of small t is noise"
        ),
        learning_rate=Sourced(0.01, _NFSD.format("AdamW at 0.01")),
        background=Sourced("alternating", _NFSD.format("a random solid colour or a learned environment map")),
        loss_parameters={"threshold": Sourced(200.0, "NFSD, section 5, eq. 6")},
    ),
)

_NO_FLOOR = "off: it is ours, for priors in closed form (decision 0013)"
_KERNEL = "MSD gives an interval and no numbers; ours: EDM sigma 0.28 to 5.42"
MSD: Preset = stack(
    NETWORK,
    reworded(PROLIFICDREAMER_ALONE, "MSD does not say; ours, after {}"),
    sourced(
        steps=Sourced(7000, _MSD.format("iterations")),
        guidance_scale=Sourced(8.5, _MSD.format("7.5 in the form of eq. 13, which counts from the conditional")),
        guidance_interval=Sourced((0.072, 0.813), _KERNEL),
        timestep_min=Sourced(0.98, "MSD, Algorithm 2: whole chains, each from noise; ours: SDS's highest timestep"),
        timestep_max=Sourced([(0.0, 0.98)], "MSD, Algorithm 2: likewise"),
        weighting=Sourced("uniform", "MSD, Algorithm 1: y - x as it is"),
        learning_rate=Sourced(0.01, _MSD.format(f"Adam at 0.01; {_NETWORKS}")),
        background=Sourced("learned", _MSD.format("a background network beside the hash grid")),
        field=Sourced(
            "hash_grid", _MSD.format("hash grid and a network of 2 layers of 64; ours has 1 for each output")
        ),
        loss_parameters={
            "sampler": Sourced("splitting", "MSD, Algorithm 2 and eq. 15"),
            "bandwidth": Sourced(300.0, "MSD does not say; ours: within Fig. 6 (1000 has no influence)"),
            "bandwidth_min": Sourced(3.0, "MSD does not say; ours: within Fig. 6 (0.01 copies the render)"),
            "bandwidth_decay": Sourced("geometric", "MSD does not say; ours: Fig. 6's best bandwidths lie on it"),
            "sampling_steps": Sourced(20.0, "MSD does not say; ours"),
            "centre": Sourced("inversion", "MSD's own: z inverted by DDIM"),
            "kernel_time": Sourced("timestep", "MSD does not say; ours: only so its bandwidth of 10 does anything"),
            "kernel_low": Sourced(0.072, _KERNEL),
            "kernel_high": Sourced(0.813, _KERNEL),
            "inversion_floor": Sourced(0.0, _NO_FLOOR),
        },
    ),
)

# Gaussian splats there, a hash grid here: what concerns the field is ours.
LUCIDDREAMER: Preset = stack(
    NETWORK,
    sourced(
        steps=Sourced(5000, _ISM.format("iterations")),
        guidance_scale=Sourced(7.5, _ISM.format("guidance_scale; diffusers' form there too")),
        views_per_step=Sourced(4, _ISM.format("C_batch_size of its configurations")),
        render_size=Sourced([(0.0, 512)], _ISM.format("image_w")),
        timestep_min=Sourced(0.02, _ISM.format("t_range")),
        timestep_max=Sourced([(0.0, 0.98), (0.3, 0.5)], _ISM.format("max_t_range, t_range, warmup_iter 1500 of 5000")),
        perp_neg=Sourced(0.0, _ISM.format("perpneg, off in five of its nine configurations")),
        weighting=Sourced("noise_to_signal", _ISM.format("its w(t), there times lambda_guidance 0.1")),
        learning_rate=Sourced(0.01, f"ours, as threestudio's for a hash grid; {_NETWORKS}"),
        background=Sourced("random", _ISM.format("bg_aug_ratio 0.66 of random colours, white otherwise; ours always")),
        shading=Sourced("albedo", _ISM.format("splats are not lit")),
        field=Sourced("hash_grid", "ours: theirs are splats that begin as Point-E's"),
        field_resolution=Sourced(4096, "ours, as threestudio's"),
        samples_per_ray=Sourced(512, "ours, as threestudio's"),
        regularizers={"sparsity": Sourced([(0.0, 10.0)], "ours: splats have none; as prolificdreamer.yaml's")},
        loss_parameters={
            "interval": Sourced(50.0, _ISM.format("delta_t of four of its nine configurations, hamburger.yaml's")),
            "interval_start": Sourced(100.0, _ISM.format("delta_t_start")),
            "interval_warmup": Sourced(0.3, _ISM.format("warmup_iter 1500 of 5000")),
            "inversion_stride": Sourced(200.0, _ISM.format("xs_delta_t")),
            "inversion_floor": Sourced(0.0, _NO_FLOOR),
        },
    ),
)

# Pictures there, a field here: what concerns the field is ours.
DDS: Preset = stack(
    NETWORK,
    sourced(
        steps=Sourced(2000, "ours: the notebook's 200 are of one picture, seen at every step"),
        guidance_scale=Sourced(7.5, _DDS.format("guidance_scale; diffusers' form there too")),
        views_per_step=Sourced(1, _DDS.format("one picture")),
        render_size=Sourced([(0.0, 512)], _DDS.format("Stable Diffusion's 512 pixels")),
        timestep_min=Sourced(0.05, _DDS.format("t is drawn from 50 to 948 of 1000")),
        timestep_max=Sourced([(0.0, 0.948)], _DDS.format("t is drawn from 50 to 948 of 1000")),
        weighting=Sourced("uniform", _DDS.format("alpha and sigma to the power 0")),
        learning_rate=Sourced(0.01, f"ours, as threestudio's for a hash grid; {_NETWORKS}"),
        background=Sourced("random", "ours: the same behind the reference"),
        shading=Sourced("albedo", "ours: an edit changes what is there, whatever the light"),
        field=Sourced("hash_grid", "ours; an edit's field is of the kind that it begins with"),
        field_resolution=Sourced(4096, "ours, as threestudio's"),
        samples_per_ray=Sourced(512, "ours, as threestudio's"),
        regularizers={},
    ),
)
