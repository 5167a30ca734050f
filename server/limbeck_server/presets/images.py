"""Presets that make pictures: `image`, and the papers' own 2-D experiments `nfsd-image` and `msd-image`.

Each begins with what its loss takes for objects with the same kind of prior; what concerns fields, cameras and meshes
means nothing here and stands at one value. The learning rate is the generator's: a preset's own is that of `generator`,
and `of_generator` says what another generator changes.
"""

from __future__ import annotations

from limbeck_protocol.recipe import Settings

from limbeck_server.presets import exact, network, published
from limbeck_server.presets.layers import Preset, Sourced, entries, sourced, stack
from limbeck_server.priors.kinds import EXACT, NETWORK, STABLE_DIFFUSION

GENERATORS = ("latents", "pixels", "mlp")
"""The names of `limbeck_server.scene.image`, which imports torch."""
GENERATOR_OF = {"image": "latents", "nfsd-image": "latents", "msd-image": "mlp"}
"""Whose learning rate stands in each preset."""

DESCRIPTIONS = {
    "image": (
        "A picture instead of an object: seconds on the exact prior, minutes on a GPU with Stable Diffusion. The "
        "learning rate is that of latents; pixels and mlp have their own."
    ),
    "nfsd-image": (
        "Noise-Free Score Distillation, fig. 7 (Katzir et al. 2023): latents moved themselves. The paper compares with "
        "SDS at scales of 7.5 and 100."
    ),
    "msd-image": (
        "Mean-Shift Distillation, table 3 and fig. 4 (Thamizharasan et al. 2025): a network of coordinates. The "
        "learning rate is that of the generator mlp."
    ),
}

_NOTHING = "means nothing for an image"
_UNUSED: Preset = sourced(
    views_per_step=Sourced(1, _NOTHING),
    render_size=Sourced([(0.0, 64)], f"{_NOTHING}; its size is the recipe's image.size"),
    perp_neg=Sourced(0.0, f"{_NOTHING}: no camera is to be avoided"),
    pixel_clip=Sourced(None, _NOTHING),
    density_pace=Sourced(1.0, _NOTHING),
    background=Sourced("random", _NOTHING),
    shading=Sourced("albedo", _NOTHING),
    albedo_until=Sourced(0.0, _NOTHING),
    lit_share=Sourced(0.75, _NOTHING),
    textureless_share=Sourced(0.5, _NOTHING),
    field=Sourced("voxels", _NOTHING),
    field_resolution=Sourced(40, _NOTHING),
    samples_per_ray=Sourced(40, _NOTHING),
    regularizers=Sourced({}, f"{_NOTHING}: they are of fields"),
    mesh_resolution=Sourced(96, _NOTHING),
    density_level=Sourced(None, _NOTHING),
    face_budget=Sourced(12_000, _NOTHING),
    texture_size=Sourced(512, _NOTHING),
)
MEANINGLESS = tuple(_UNUSED.sources)
"""Settings that change nothing about a picture; recipes may hold them, since every completed recipe holds all."""

_TUNED = "tuned on the known world"
_OURS = "ours, after the exact prior's"

# --- the exact prior --------------------------------------------------------------------------------------------------

# The noise that is looked through falls: all views agree upon a duck from behind, and less noise tells beak from tail.
_FALLING: Preset = sourced(timestep_max=Sourced([(0.0, 0.98), (1.0, 0.1)], _TUNED))
_EXACT_OWN: dict[str, Preset] = {
    "sds": sourced(
        steps=Sourced(150, _TUNED),
        guidance_scale=Sourced(3.0, _TUNED),
        timestep_max=Sourced([(0.0, 0.8), (1.0, 0.1)], _TUNED),
        learning_rate=Sourced(0.05, _TUNED),
    ),
    "nfsd": stack(
        _FALLING,
        sourced(
            steps=Sourced(200, _TUNED),
            guidance_scale=Sourced(1.0, f"{_TUNED}; at 2 all colours burn out"),
            learning_rate=Sourced(0.03, f"{_TUNED}; colours burn out at 0.05, and noise is left at 0.02"),
        ),
    ),
    "csd": stack(
        _FALLING,
        sourced(
            steps=Sourced(200, _TUNED),
            guidance_scale=Sourced(1.0, "CSD: a plain factor, which Adam forgets"),
            learning_rate=Sourced(0.025, f"{_TUNED}, for pixels: latents keep the noise that they begin with"),
        ),
    ),
    "msd": sourced(
        steps=Sourced(80, _TUNED),
        learning_rate=Sourced(0.1, _TUNED),
        loss_parameters=entries(exact.PRESETS["quick", "msd"], "loss_parameters")
        | {
            "bandwidth": Sourced(1.5, f"{_TUNED}; wider, and it is a mean of views that is found first"),
            "sampling_steps": Sourced(6.0, _TUNED),
        },
    ),
    "sdi": sourced(
        steps=Sourced(80, _TUNED),
        guidance_scale=Sourced(1.5, _TUNED),
        timestep_min=Sourced(0.05, _TUNED),
        timestep_max=Sourced([(0.0, 0.8)], f"{_TUNED}; from 0.98 on it draws two ducks, one through the other"),
        learning_rate=Sourced(0.05, _TUNED),
    ),
    "ism": sourced(steps=Sourced(150, _TUNED), learning_rate=Sourced(0.05, _TUNED)),
}

# --- networks ---------------------------------------------------------------------------------------------------------

_NETWORK_OWN: dict[str, Preset] = {
    loss: sourced(steps=Sourced(steps, _OURS), learning_rate=Sourced(rate, _OURS))
    for loss, steps, rate in (
        ("sds", 300, 0.05),
        ("nfsd", 300, 0.03),
        ("csd", 300, 0.03),
        ("msd", 60, 0.15),
        ("sdi", 100, 0.1),
        ("ism", 200, 0.05),
        ("vsd", 300, 0.05),
    )
}
_STEPS = "NFSD, fig. 7: iterations of its pictures"
_PLENTY = "ours: a first look; its steps ask the network many times"
_STABLE_DIFFUSION_OWN: dict[str, Preset] = {
    loss: sourced(
        steps=Sourced(steps, source),
        learning_rate=Sourced(0.05, "ours: latents of unit variance cross their range in 40 steps"),
    )
    for loss, steps, source in (
        ("sds", 1000, _STEPS),
        ("nfsd", 1000, _STEPS),
        ("csd", 1000, _STEPS),
        ("msd", 400, "MSD, table 3: iterations of its pictures"),
        ("sdi", 400, _PLENTY),
        ("ism", 400, _PLENTY),
        ("vsd", 1000, _STEPS),
    )
}

# --- the papers' 2-D experiments --------------------------------------------------------------------------------------

_FIG_7 = "NFSD, fig. 7: {}"
_NFSD_IMAGE: Preset = sourced(
    steps=Sourced(1000, _FIG_7.format("iterations")),
    guidance_scale=Sourced(7.5, _FIG_7.format("s of NFSD, and the lower of SDS's two")),
    timestep_schedule=Sourced("uniform", "DreamFusion, section 3.2: t is drawn at random"),
    timestep_min=Sourced(0.02, "NFSD gives no range for its pictures; ours: DreamFusion's, section 3.2"),
    timestep_max=Sourced([(0.0, 0.98)], "NFSD gives no range for its pictures; ours: DreamFusion's, section 3.2"),
    weighting=Sourced("noise_variance", "NFSD only says w(t); ours: without sigma^2 the branch of small t is noise"),
    learning_rate=Sourced(0.03, "NFSD gives none for its pictures; ours"),
)
_TABLE_3 = "MSD, table 3: {}"
_MSD_IMAGE: Preset = sourced(
    steps=Sourced(400, _TABLE_3.format("iterations")),
    learning_rate=Sourced(0.01, _TABLE_3.format("Adam at 1e-2, on a network of coordinates")),
)
_MSD_IMAGE_LOSSES = ("sds", "sdi", "nfsd", "msd")
_SCALE_OF_MSD = Sourced(8.5, "MSD, section 4.4: 7.5 in the form of eq. 13, which counts from the conditional")
_SCALE_OF_OTHERS = Sourced(7.5, "MSD does not say for the others; ours: the paper's 7.5 in diffusers' form")

MLP_RATE = 0.01
"""Of a network of coordinates: MSD's (table 3), whatever the preset."""
PIXELS_FACTOR = 2.0
"""Of a pixel's rate on the latents': half as far in the latents goes a step of a logit, whose sigmoid is 1/4 as steep
as it, and latents in -1..1 are twice as wide as colours."""


def _tables() -> dict[str, dict[tuple[str, str], Preset]]:
    bases = {EXACT: exact.PRESETS, NETWORK: network.PRESETS, STABLE_DIFFUSION: published.PRESETS}
    own = {EXACT: _EXACT_OWN, NETWORK: _NETWORK_OWN, STABLE_DIFFUSION: _STABLE_DIFFUSION_OWN}
    found: dict[str, dict[tuple[str, str], Preset]] = {}
    for kind, of_loss in own.items():
        base = {loss: stack(bases[kind]["quick", loss], _UNUSED) for loss in of_loss}
        table = {("image", loss): stack(base[loss], layer) for loss, layer in of_loss.items()}
        table |= {("nfsd-image", loss): stack(base[loss], _NFSD_IMAGE) for loss in ("sds", "nfsd")}
        for loss in _MSD_IMAGE_LOSSES:
            scale = sourced(guidance_scale=_SCALE_OF_MSD if loss == "msd" else _SCALE_OF_OTHERS)
            table["msd-image", loss] = stack(base[loss], _MSD_IMAGE, scale)
        found[kind] = table
    return found


PRESETS: dict[str, dict[tuple[str, str], Preset]] = _tables()
"""By kind of prior; then by preset and loss."""


def usual_generator(preset: str, loss: str) -> str:
    """Return what to move where nobody says: what the preset is about.

    CSD has no term that takes noise away, so that latents that begin as noise stay noisy: pixels begin as grey.
    """
    return "pixels" if (preset, loss) == ("image", "csd") else GENERATOR_OF.get(preset, "latents")


def of_generator(preset: str, loss: str, kind: str, generator: str) -> Settings:
    """Return what a generator changes in a preset: the learning rate, or nothing if the preset is made for it.

    Args:
        preset: out of `DESCRIPTIONS`.
        loss: one that the preset is for, or one on trial, which borrows what sds has.
        kind: of the prior.
        generator: out of `GENERATORS`.
    """
    if generator == GENERATOR_OF[preset]:
        return Settings()
    if generator == "mlp":
        return Settings(learning_rate=MLP_RATE)
    table = PRESETS[kind]
    name = preset if GENERATOR_OF[preset] == "latents" else "image"
    rate = table.get((name, loss), table[name, "sds"]).settings.learning_rate
    assert isinstance(rate, float), "every preset has a rate"
    return Settings(learning_rate=rate * PIXELS_FACTOR if generator == "pixels" else rate)
