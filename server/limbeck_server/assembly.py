"""From a recipe (the protocol's words) to the core's own settings: the one place that knows both.

The core never sees a message; the service never sees a tensor.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from limbeck_protocol.recipe import Recipe
from msgspec import UnsetType

from limbeck_server.distillation.device import network_dtype
from limbeck_server.distillation.picture_trainer import PictureSettings
from limbeck_server.distillation.trainer import TrainerSettings
from limbeck_server.known_world.captions import parse_caption
from limbeck_server.meshing.preparation import MeshSettings
from limbeck_server.presets import EXACT, STABLE_DIFFUSION
from limbeck_server.priors.kinds import prior_kind
from limbeck_server.priors.prior import Prior
from limbeck_server.recipes import REGULARIZERS
from limbeck_server.scene.cameras import CameraRig, OrbitRange, Views
from limbeck_server.scene.field import DENSITY_SCALES, Field, FieldSettings
from limbeck_server.scene.renderer import RenderSettings

if TYPE_CHECKING:
    from limbeck_server.priors.exact import ExactPrior

Value = TypeVar("Value")
ALLOW_DOWNLOAD = "LIMBECK_ALLOW_DOWNLOAD"
"""Environment variable that `limbeck serve --allow-download` sets for its workers: 1 lets them fetch models."""


def value(setting: Value | UnsetType) -> Value:
    """Return the setting of a completed recipe."""
    assert not isinstance(setting, UnsetType), "recipes.complete leaves nothing unset"
    return setting


def load_prior(recipe: Recipe, device: torch.device, progress: Callable[[int, int], None] | None = None) -> Prior:
    """Return the recipe's prior, ready to predict.

    Raises:
        PromptError: the prior does not understand the prompt.
        ModelError: the model is missing, unsafe or broken.
    """
    if recipe.prior == EXACT:
        from limbeck_server.priors.exact import load_exact_prior

        sizes = [recipe.image.size] if recipe.image else [size for _, size in value(recipe.settings.render_size)]
        size = max(size for size in sizes if size is not None)
        also = [recipe.start.prompt] if recipe.start else []
        prior: Prior = load_exact_prior(recipe.prompt, size, device, progress=progress, also=also)
    else:
        from limbeck_server.priors.stable_diffusion import load_stable_diffusion

        allow_download = os.environ.get(ALLOW_DOWNLOAD) == "1"
        prior = load_stable_diffusion(recipe.prior, device, network_dtype(device), allow_download)
    prior.check_prompt(recipe.prompt)
    for suffix in recipe.rig.cameras.prompt_suffix if recipe.rig.cameras and not recipe.image else []:
        prior.check_prompt(recipe.prompt + suffix)
    return prior


def load_judge(recipe: Recipe, prior: Prior, progress: Callable[[int, int], None] | None = None) -> ExactPrior | None:
    """Return who knows what the prompt's shape looks like from where: an exact prior, whichever prior is distilled.

    None where there is no truth to compare with, see `results.has_truth`.

    Args:
        recipe: completed.
        prior: the recipe's; an exact one is its own judge.
        progress: called with (views done, views in all) as they are rendered or read.
    """
    from limbeck_server.priors.exact import ExactPrior, load_exact_judge

    if isinstance(prior, ExactPrior):
        return prior
    if prior_kind(recipe.prior) == STABLE_DIFFUSION:
        return None
    shape = parse_caption(recipe.prompt).shape
    return None if shape is None else load_exact_judge(shape, progress)


def camera_rig(recipe: Recipe) -> CameraRig:
    """Return the rig with its matrices as tensors."""
    orbit, cameras = recipe.rig.orbit, recipe.rig.cameras
    fields = ("azimuth_deg", "elevation_deg", "distance", "field_of_view_deg", "jitter", "weight")
    return CameraRig(
        orbit=OrbitRange(**{name: getattr(orbit, name) for name in fields}) if orbit else None,
        cameras=Views(torch.tensor(cameras.camera_to_world), torch.tensor(cameras.lens)) if cameras else None,
        camera_weight=tuple(cameras.weight.tolist()) if cameras else (),
        camera_suffix=tuple(cameras.prompt_suffix) if cameras else (),
        position_jitter=cameras.position_jitter if cameras else 0.0,
    )


def trainer_settings(recipe: Recipe, prior: Prior, start: Field | None = None) -> TrainerSettings:
    """Return what the loop needs to know; the field is made as the `start` is, where there is one."""
    s = recipe.settings
    scene = start.settings if start else field_settings(recipe)
    voxels = scene.kind == "voxels"
    wanted = {name: tuple(points) for name, points in value(s.regularizers).items()}
    # Total variation is a property of a voxel grid; a hash grid has none.
    regularizers = {n: wanted[n] for n in REGULARIZERS if n in wanted and (voxels or n != "total_variation")}
    negative = recipe.negative_prompt
    return TrainerSettings(
        prompt=recipe.prompt,
        negative_prompt=prior.default_negative_prompt if negative is None else negative,
        start_prompt=recipe.start.prompt if recipe.start else "",
        **_distillation(recipe),
        perp_neg=value(s.perp_neg),
        views_per_step=value(s.views_per_step),
        render_size=tuple(value(s.render_size)),
        pixel_clip=value(s.pixel_clip),
        background=value(s.background),
        shading=value(s.shading),
        albedo_until=value(s.albedo_until),
        lit_share=value(s.lit_share),
        textureless_share=value(s.textureless_share),
        regularizers=regularizers,
        scene=scene,
        rendering=RenderSettings(samples_per_ray=value(s.samples_per_ray)),
    )


def picture_settings(recipe: Recipe) -> PictureSettings:
    """Return what the loop of a picture needs to know; what concerns fields, cameras and meshes has no place in it."""
    return PictureSettings(negative_prompt=recipe.negative_prompt, **_distillation(recipe))


def _distillation(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that a scene's loop and a picture's have in common."""
    s = recipe.settings
    clamp = value(s.gradient_clamp)
    return {
        "loss": recipe.loss,
        "loss_parameters": value(s.loss_parameters),
        "steps": value(s.steps),
        "guidance_scale": value(s.guidance_scale),
        "guidance_interval": value(s.guidance_interval),
        "timestep_min": value(s.timestep_min),
        "timestep_max": tuple(value(s.timestep_max)),
        "timestep_schedule": value(s.timestep_schedule),
        "weighting": value(s.weighting),
        "gradient_clamp": None if clamp is None else tuple(clamp),
        "learning_rate": value(s.learning_rate),
        "seed": recipe.seed,
    }


def field_settings(recipe: Recipe) -> FieldSettings:
    """Return what a field is made of that begins with a ball."""
    s = recipe.settings
    kind, pace = value(s.field), value(s.density_pace)
    scale = None if pace == 1.0 else DENSITY_SCALES[kind] * pace
    return FieldSettings(kind=kind, resolution=value(s.field_resolution), density_scale=scale)


def mesh_settings(recipe: Recipe) -> MeshSettings:
    """Return what the meshing room needs to know."""
    s = recipe.settings
    return MeshSettings(
        resolution=value(s.mesh_resolution),
        density_level=value(s.density_level),
        face_budget=value(s.face_budget),
        texture_size=value(s.texture_size),
    )
