"""From the protocol's words to the core's: nothing lost, nothing invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from limbeck_protocol.recipe import Cameras, Orbit, Recipe, Rig, Settings
from limbeck_server import assembly, recipes
from limbeck_server.priors.prior import ModelError, PromptError
from limbeck_server.scene.cameras import sample_views

CPU = torch.device("cpu")


class NamedPrior:
    """All that `trainer_settings` asks of a prior."""

    default_negative_prompt = "blurry"


def completed(**changes: Any) -> Recipe:
    return recipes.complete(Recipe(**({"prompt": "a red cube", "prior": "owner/name", "preset": "quick"} | changes)))


def test_every_setting_reaches_the_core() -> None:
    given = Settings(
        steps=11,
        guidance_scale=3.5,
        views_per_step=2,
        render_size=[(0.0, 16), (0.5, 32)],
        timestep_min=0.1,
        timestep_max=[(0.0, 0.9), (1.0, 0.4)],
        timestep_schedule="hifa",
        guidance_interval=(0.1, 0.8),
        perp_neg=0.5,
        gradient_clamp=[(0.0, 0.5), (1.0, 2.0)],
        pixel_clip=0.1,
        weighting="uniform",
        learning_rate=0.2,
        background="white",
        shading="mixed",
        albedo_until=0.3,
        lit_share=0.6,
        textureless_share=0.4,
        field="voxels",
        field_resolution=20,
        samples_per_ray=30,
        regularizers={"sparsity": [(0.0, 2.0)]},
        loss_parameters={"threshold": 250.0},
        mesh_resolution=50,
        density_level=6.0,
        face_budget=700,
        texture_size=128,
    )
    recipe = completed(loss="nfsd", settings=given, seed=9)
    core = assembly.trainer_settings(recipe, NamedPrior())
    assert (core.prompt, core.loss, core.seed, core.steps) == ("a red cube", "nfsd", 9, 11)
    assert (core.guidance_scale, core.views_per_step, core.learning_rate) == (3.5, 2, 0.2)
    assert core.render_size == ((0.0, 16), (0.5, 32))
    assert (core.timestep_min, core.timestep_max) == (0.1, ((0.0, 0.9), (1.0, 0.4)))
    assert (core.timestep_schedule, core.guidance_interval, core.perp_neg) == ("hifa", (0.1, 0.8), 0.5)
    assert (core.gradient_clamp, core.pixel_clip) == (((0.0, 0.5), (1.0, 2.0)), 0.1)
    assert (core.weighting, core.background, core.shading) == ("uniform", "white", "mixed")
    assert (core.albedo_until, core.lit_share, core.textureless_share) == (0.3, 0.6, 0.4)
    assert (core.scene.kind, core.scene.resolution, core.rendering.samples_per_ray) == ("voxels", 20, 30)
    assert core.regularizers == {"sparsity": ((0.0, 2.0),)}
    assert core.loss_parameters == {"threshold": 250.0}
    mesh = assembly.mesh_settings(recipe)
    assert (mesh.resolution, mesh.density_level, mesh.face_budget, mesh.texture_size) == (50, 6.0, 700, 128)


def test_what_every_loss_shares_is_off_unless_asked_for() -> None:
    core = assembly.trainer_settings(completed(), NamedPrior())
    assert (core.timestep_schedule, core.guidance_interval, core.perp_neg) == ("uniform", (0.0, 1.0), 0.0)
    assert (core.gradient_clamp, core.pixel_clip) == (None, None)


def test_the_negative_prompt_is_the_priors_own_unless_one_is_given() -> None:
    assert assembly.trainer_settings(completed(), NamedPrior()).negative_prompt == "blurry"
    assert assembly.trainer_settings(completed(negative_prompt="ugly"), NamedPrior()).negative_prompt == "ugly"
    # The empty text is a choice as well: negative and unconditional are then the same.
    assert assembly.trainer_settings(completed(negative_prompt=""), NamedPrior()).negative_prompt == ""


def test_total_variation_is_left_out_of_a_hash_grid() -> None:
    wanted = {"total_variation": [(0.0, 1.0)], "opaqueness": [(0.0, 1.0)]}
    for field, expected in (("voxels", {"opaqueness", "total_variation"}), ("hash_grid", {"opaqueness"})):
        settings = Settings(field=field, regularizers=wanted)
        core = assembly.trainer_settings(completed(settings=settings), NamedPrior())
        assert set(core.regularizers) == expected


def test_the_order_of_regularisers_does_not_depend_on_how_they_were_written() -> None:
    # They are added up in floating point: another order would be another result.
    one = {"sparsity": [(0.0, 1.0)], "opaqueness": [(0.0, 1.0)]}
    other = dict(reversed(one.items()))
    orders = [
        list(assembly.trainer_settings(completed(settings=Settings(regularizers=r)), NamedPrior()).regularizers)
        for r in (one, other)
    ]
    assert orders[0] == orders[1]


def test_a_rig_keeps_its_cameras_lenses_weights_and_words() -> None:
    matrices = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    matrices[:, 2, 3] = (2.0, 3.0)
    lens = np.array([[1.0, 0.1, 0.2], [1.5, 0.0, -0.1]], dtype=np.float32)
    cameras = Cameras(
        camera_to_world=matrices,
        lens=lens,
        weight=np.array([0.0, 2.0], dtype=np.float32),
        prompt_suffix=["", ", back view"],
        position_jitter=0.0,
    )
    orbit = Orbit(azimuth_deg=(10.0, 20.0), elevation_deg=(5.0, 6.0), jitter=0.0, weight=0.0)
    rig = assembly.camera_rig(completed(rig=Rig(orbit=orbit, cameras=cameras)))
    views, suffixes = sample_views(rig, 6, torch.Generator().manual_seed(0))
    assert suffixes == [", back view"] * 6
    assert torch.equal(views.camera_to_world, torch.from_numpy(matrices[1:]).expand(6, 4, 4))
    assert torch.equal(views.lens, torch.from_numpy(lens[1:]).expand(6, 3))
    assert rig.orbit is not None
    assert (rig.orbit.azimuth_deg, rig.orbit.elevation_deg, rig.orbit.weight) == ((10.0, 20.0), (5.0, 6.0), 0.0)


def test_a_missing_model_and_a_long_prompt_are_told_apart(
    tiny_stable_diffusion: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError):
        assembly.load_prior(completed(prior="no-such-owner/no-such-model"), CPU)
    folder = str(tiny_stable_diffusion("epsilon"))
    assert assembly.load_prior(completed(prior=folder, prompt="a yellow duck"), CPU).name == Path(folder).name
    with pytest.raises(PromptError, match="shorten"):
        assembly.load_prior(completed(prior=folder, prompt="duck " * 90), CPU)
