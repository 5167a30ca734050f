"""Every preset of a network, made small, on a tiny Stable Diffusion: what it names exists, fits together, and runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from limbeck_protocol.recipe import Recipe, Settings, Start
from limbeck_server import assembly, presets, recipes
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.scene.field import FieldSettings, build_field
from msgspec import UNSET

CPU = torch.device("cpu")
# A hash grid's table alone takes an optimiser half a second a step.
SMALL = Settings(steps=2, render_size=[(0.0, 16)], field="voxels", field_resolution=16, samples_per_ray=16, threads=1)
KEYS = sorted(
    key
    for key in presets.PRESETS
    if key[2] == presets.STABLE_DIFFUSION and key[0] != "standard" and presets.makes(key[0]) == "object"
)


@pytest.fixture(scope="module")
def prior(tiny_stable_diffusion: Callable[[str], Path]) -> StableDiffusionPrior:
    folder = str(tiny_stable_diffusion("epsilon"))
    return load_stable_diffusion(folder, CPU, torch.float32, allow_download=False)


@pytest.mark.parametrize("key", KEYS, ids="-".join)
def test_a_preset_runs_to_its_end(key: tuple[str, str, str], prior: StableDiffusionPrior) -> None:
    preset, loss, _ = key
    edits = "reference" in LOSSES[loss].needs
    recipe = recipes.complete(
        Recipe(
            prompt="a red cube",
            prior="owner/name",
            loss=loss,
            preset=preset,
            settings=SMALL,
            start=Start(job_id="01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt="a blue cube") if edits else UNSET,
        )
    )
    evaluations = prior.evaluations
    start = build_field(FieldSettings(resolution=16), CPU, torch.Generator().manual_seed(1)) if edits else None
    settings = assembly.trainer_settings(recipe, prior, start)
    trainer = Trainer(prior, assembly.camera_rig(recipe), settings, start)
    before = [parameter.detach().clone() for parameter in trainer.field.parameters()]
    reports = [trainer.step() for _ in range(settings.steps)]
    assert all(math.isfinite(report.loss) and report.loss > 0.0 for report in reports)
    assert prior.evaluations - evaluations >= 2 * settings.steps
    after = list(trainer.field.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(bool(parameter.isfinite().all()) for parameter in after)
