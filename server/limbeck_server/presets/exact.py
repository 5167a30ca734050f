"""The presets of the exact prior, tuned on the known world.

"Tuned" means by eye and by IoU; `benchmarks/sweep.py` prints what came of it (`docs/results.md`).
"""

from __future__ import annotations

from limbeck_protocol.recipe import Settings

from limbeck_server.presets.common import COMMON
from limbeck_server.presets.layers import Preset, from_one_source, stack

_SOURCE = "tuned on the known world"

# Low guidance suffices (the prior's conditional prediction is right), and 7.5 burns colours out. One thread: a second
# gains a tenth on an idle machine and costs a factor on a busy one (decision 0007).
_ALL = Settings(
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
_QUICK = Settings(
    render_size=[(0.0, 32)], field_resolution=40, samples_per_ray=40, mesh_resolution=96, texture_size=512
)
_STANDARD = Settings(render_size=[(0.0, 64)], field_resolution=56, samples_per_ray=48)

# Without the prior's own pull nothing clears away what no picture shows: the authors' sparsity does. IoU of a torus
# without it 0.686 (blobs around it), with 3: 0.719, 10: 0.764, 30: 0.690.
_CSD = Settings(
    regularizers={
        "total_variation": [(0.0, 1e-3)],
        "opaqueness": [(0.0, 0.0), (0.3, 0.0), (1.0, 10.0)],
        "sparsity": [(0.0, 10.0)],
    }
)
# y - z is a difference of pictures already; every chain starts at the same timestep. The bandwidth is a distance per
# value of a picture, whose values lie in -1..1: 5 sees no more than how large something is, 0.3 tells one view from the
# next. No guidance: the exact prior's samples need none. Duck: IoU 0.904, and 0.883 with the product sampler.
_MSD = Settings(
    guidance_scale=1.0,
    weighting="uniform",
    timestep_min=0.98,
    timestep_max=[(0.0, 0.98)],
    loss_parameters={"kernel_time": "variance", "bandwidth": 5.0, "bandwidth_min": 0.3, "sampling_steps": 8.0},
)
# The authors' objective and timesteps: one falling timestep, and the weight that makes their regression of this loss.
# Inverted under the empty prompt (a scale of 0): under this one, what fits it already is left alone, haze too (IoU of a
# duck 0.138). The floor is what an exact prior needs (decision 0013): without it a car reaches 0.331, with it 0.827.
_SDI = Settings(
    weighting="noise_to_signal",
    timestep_schedule="linear",
    timestep_min=0.25,
    timestep_max=[(0.0, 0.98)],
    loss_parameters={"inversion_guidance": 0.0, "inversion_floor": 100.0},
)
# The authors' weight and timesteps. Guidance 1: IoU of a duck 0.795; 1.5: 0.844; 2: 0.829 and colours burnt out.
_ISM = Settings(
    guidance_scale=1.5,
    weighting="noise_to_signal",
    timestep_max=[(0.0, 0.98), (0.3, 0.5)],
    loss_parameters={"inversion_floor": 100.0},
)
# Edits: Delta Denoising Score (Hertz et al. 2023) with the authors' uniform w and timesteps, on a field that exists.
# While a colour is wrong, see-through is the quicker way out: a red mug loses shape on its way to blue (IoU with itself
# 0.835, and 0.65 at a lower rate) unless density is slower than colour. At pace 0.3: 0.933, hue off by 6 degrees, and a
# mug still becomes a bottle (IoU 0.750); at 0.1: 0.977 and 7 degrees, but the bottle stays a mug (0.326).
_DDS = Settings(
    steps=200,
    guidance_scale=1.0,
    timestep_min=0.05,
    timestep_max=[(0.0, 0.948)],
    weighting="uniform",
    density_pace=0.3,
    # None: a regulariser pulls where the prompts agree too, and an edit to the same prompt shall change no bit.
    regularizers={},
)


def _tuned(*layers: Settings) -> Preset:
    return stack(COMMON, *(from_one_source(layer, _SOURCE) for layer in layers))


PRESETS: dict[tuple[str, str], Preset] = {
    # (preset, loss). VSD has none: it needs a network (see its `check`).
    ("quick", "sds"): _tuned(_ALL, _QUICK),
    ("standard", "sds"): _tuned(_ALL, _STANDARD),
    ("quick", "nfsd"): _tuned(_ALL, _QUICK),
    ("standard", "nfsd"): _tuned(_ALL, _STANDARD),
    ("quick", "csd"): _tuned(_ALL, _QUICK, _CSD),
    ("standard", "csd"): _tuned(_ALL, _STANDARD, _CSD),
    ("quick", "msd"): _tuned(_ALL, _QUICK, _MSD),
    ("standard", "msd"): _tuned(_ALL, _STANDARD, _MSD),
    ("quick", "sdi"): _tuned(_ALL, _QUICK, _SDI),
    ("standard", "sdi"): _tuned(_ALL, _STANDARD, _SDI),
    ("quick", "ism"): _tuned(_ALL, _QUICK, _ISM),
    ("standard", "ism"): _tuned(_ALL, _STANDARD, _ISM),
    ("quick", "dds"): _tuned(_ALL, _QUICK, _DDS),
    ("standard", "dds"): _tuned(_ALL, _STANDARD, _DDS),
}
