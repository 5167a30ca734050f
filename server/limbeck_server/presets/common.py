"""What every preset begins with: what the methods leave alone, and how `mixed` shading is mixed."""

from __future__ import annotations

from limbeck_server.presets.layers import Preset, Sourced, sourced

_OFF = "off: no part of the published system"
_MESH = "ours: meshes are no part of the methods"
_MIXED = "threestudio, dreamfusion-sd.yaml: {}; matters to `mixed` shading only"

COMMON: Preset = sourced(
    loss_parameters={},
    timestep_schedule=Sourced("uniform", "DreamFusion, section 3.2: t is drawn at random"),
    guidance_interval=Sourced((0.0, 1.0), _OFF),
    perp_neg=Sourced(0.0, _OFF),
    gradient_clamp=Sourced(None, _OFF),
    pixel_clip=Sourced(None, _OFF),
    density_pace=Sourced(1.0, "ours"),
    background=Sourced("random", "ours: a fixed background could be painted onto the object"),
    albedo_until=Sourced(0.2, _MIXED.format("ambient_only_steps")),
    lit_share=Sourced(0.75, _MIXED.format("diffuse_prob, by default 0.75")),
    textureless_share=Sourced(0.5, _MIXED.format("textureless_prob, by default 0.5")),
    preview_every=Sourced(10, "ours"),
    mesh_resolution=Sourced(128, _MESH),
    density_level=Sourced(None, _MESH),
    face_budget=Sourced(12_000, _MESH),
    texture_size=Sourced(1024, _MESH),
    device=Sourced("auto", "ours"),
)
