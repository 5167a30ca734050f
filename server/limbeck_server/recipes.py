"""The completion of recipes, and the catalog of what this server offers.

A client's recipe may leave settings unset; `complete` fills them from the preset, checks every name, and records the
versions. Nothing here imports torch, so that the server can refuse a bad recipe at once, before anything is stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import metadata
from typing import Any

import msgspec
import psutil
from limbeck_protocol.errors import ErrorCode, LimbeckError, as_sentence, remedy_for
from limbeck_protocol.messages import Catalog, LossInfo, ParameterInfo, PresetInfo, PriorInfo
from limbeck_protocol.recipe import Recipe, Settings, check_recipe
from msgspec import UnsetType

from limbeck_server.distillation.losses import LOSSES, DistillationLoss, LossParameter
from limbeck_server.distillation.timesteps import TIMESTEP_SCHEDULES
from limbeck_server.distillation.weighting import WEIGHTINGS
from limbeck_server.image_recipes import check_image, check_makes, generator_settings, makes_of, with_image_choices
from limbeck_server.known_world.captions import UnknownWordError, parse_caption, vocabulary
from limbeck_server.presets import EXACT, NETWORK, PRESET_DESCRIPTIONS, PRESETS, SOURCES, STABLE_DIFFUSION, layer, makes
from limbeck_server.priors.kinds import NOT_SHIPPED, is_shipped, local_folder, prior_kind

BACKGROUNDS = ("random", "grey", "white", "black", "learned", "alternating")
SHADINGS = ("albedo", "lambert", "textureless", "mixed")
FIELDS = ("voxels", "hash_grid")
MESH_BYTES_PER_POINT = 24
"""What filling hollows takes at its peak, measured at 256 and 512 points a side (22) and rounded up."""
MAX_VOXELS_PER_AXIS = 384
"""57 million vertices: 0.9 GB, and four times that with their gradient and the optimiser's two moments."""
SCHEDULE_TIMESTEPS = 1000
"""Of every prior: that many has Stable Diffusion's schedule."""
REGULARIZERS = ("orientation", "sparsity", "opaqueness", "total_variation")

PRIORS: dict[str, PriorInfo] = {
    EXACT: PriorInfo(
        name=EXACT,
        title="Exact prior over a small known world",
        description=(
            "Closed form, nothing trained, nothing downloaded: for seeing, testing and comparing. "
            "It knows a few dozen shapes in twelve colours; it is not a model of everything."
        ),
        installed=True,
        vocabulary=vocabulary(),
    ),
    NETWORK: PriorInfo(
        name=NETWORK,
        title="Small diffusion model (ships with Limbeck)",
        description=(
            "A real diffusion network in small: 4.5 million weights, trained by us on 32-pixel pictures of the exact "
            "prior's own world, whose words it knows and no others. Nothing is downloaded, and no GPU is needed. It "
            "works the way Stable Diffusion does; its objects are rougher than the exact prior's."
        ),
        installed=is_shipped(),
        vocabulary=vocabulary(),
    ),
    STABLE_DIFFUSION: PriorInfo(
        name=STABLE_DIFFUSION,
        title="Stable Diffusion 1.x / 2.x",
        description="Any text. Wants a GPU and a downloaded model; a hub id or a local folder may be named instead.",
        installed=False,
    ),
}


def preset_names() -> list[str]:
    """Return the names of the presets, the quickest first."""
    return list(dict.fromkeys(name for name, _, _ in PRESETS))


def _refuse_unknown(code: ErrorCode, kind: str, value: str, known: Iterable[str], field: str) -> None:
    known = list(known)
    if value not in known:
        message = f"There is no {kind} {value!r}; there are: {', '.join(known) or 'none'}."
        raise LimbeckError(code, message, remedy_for(code, field=f"recipe.{field}"))


def complete(recipe: Recipe) -> Recipe:
    """Return the recipe with every setting filled in and the versions recorded.

    Raises:
        LimbeckError: an unknown loss, preset, prior or word, or a setting out of its range; the field is named.
    """
    check_recipe(recipe)
    _refuse_unknown(ErrorCode.UNKNOWN_LOSS, "loss", recipe.loss, LOSSES, "loss")
    _refuse_unknown(ErrorCode.UNKNOWN_PRESET, "preset", recipe.preset, preset_names(), "preset")
    check_image(recipe)
    _check_start(recipe)
    _check_model_name(recipe.prior)
    if prior_kind(recipe.prior) != STABLE_DIFFUSION:
        _check_words(recipe)
    preset = _preset_for(recipe)
    settings = layer(
        Settings(threads=default_threads()),
        preset,
        generator_settings(recipe, prior_kind(recipe.prior)),
        recipe.settings,
        Settings(loss_parameters=_completed_parameters(recipe, preset)),
    )
    _check_settings(recipe, settings)
    _check_negative_prompt(recipe, settings)
    return msgspec.structs.replace(with_image_choices(recipe), settings=settings, versions=installed_versions())


def _completed_parameters(recipe: Recipe, preset: Settings) -> dict[str, float | str]:
    """Return all parameters of the recipe's loss: what is not given is the preset's, or else the loss's default."""
    defaults = {p.name: p.default for p in LOSSES[recipe.loss].parameters}
    return defaults | dict(preset.loss_parameters or {}) | dict(recipe.settings.loss_parameters or {})


def _preset_for(recipe: Recipe) -> Settings:
    """Return what the recipe's preset stands for with its loss and prior; not every preset is made for every loss."""
    kind = prior_kind(recipe.prior)
    found = PRESETS.get((recipe.preset, recipe.loss, kind))
    fitting = [name for name, *of in PRESETS if of == [recipe.loss, kind] and makes(name) == makes_of(recipe)]
    if not fitting:
        _refuse_misfit(recipe)
    check_makes(recipe, fitting)
    if found is None:
        message = (
            f"The preset {recipe.preset!r} is not made for the loss {recipe.loss!r} with the prior {kind!r}; "
            f"there are: {', '.join(fitting) or 'none'}."
        )
        code = ErrorCode.UNKNOWN_PRESET
        raise LimbeckError(code, message, remedy_for(code, field="recipe.preset"))
    return found


def _refuse_misfit(recipe: Recipe) -> None:
    """Let a loss itself say why it is not for this kind of prior, where it has something to say."""
    loss = LOSSES[recipe.loss]
    problem = loss.check and loss.check({p.name: p.default for p in loss.parameters}, recipe.prior == EXACT)
    if problem:
        code = ErrorCode.INVALID_FIELD
        raise LimbeckError(code, problem, remedy_for(code, field="recipe.loss"))


def _check_start(recipe: Recipe) -> None:
    """A loss that compares with a reference needs one; any other may begin with a finished job or without."""
    if "reference" not in LOSSES[recipe.loss].needs or recipe.start:
        return
    code = ErrorCode.INVALID_FIELD
    label = f"Give the job to start from, `limbeck edit JOB {recipe.prompt!r}`, or choose another loss."
    message = f"The loss {recipe.loss!r} edits something that exists, and the recipe names no job to start from."
    raise LimbeckError(code, message, remedy_for(code, label=label, field="recipe.start"))


def _check_words(recipe: Recipe) -> None:
    # The rig means nothing for an image, and no camera adds view words to it: its prompt may say them.
    suffixes = recipe.rig.cameras.prompt_suffix if recipe.rig.cameras and not recipe.image else []
    texts = {"prompt": [recipe.prompt], "rig.cameras.prompt_suffix": [recipe.prompt + suffix for suffix in suffixes]}
    texts["negative_prompt"] = [recipe.negative_prompt] if recipe.negative_prompt else []
    texts["start.prompt"] = [recipe.start.prompt] if recipe.start else []
    for field, candidates in texts.items():
        for text in candidates:
            try:
                caption = parse_caption(text)
                says_view = bool(caption.azimuth or caption.elevation) and not recipe.image
                if field in ("prompt", "start.prompt") and says_view:
                    raise ValueError(
                        f"The prompt {text!r} says from where the object is seen, but the cameras decide that. "
                        "Leave the view words out: they are added for each camera."
                    )
            except UnknownWordError as error:
                code = ErrorCode.UNKNOWN_WORD
                raise LimbeckError(code, as_sentence(error), remedy_for(code, field=f"recipe.{field}")) from error
            except ValueError as error:
                code = ErrorCode.INVALID_FIELD
                raise LimbeckError(code, as_sentence(error), remedy_for(code, field=f"recipe.{field}")) from error


def _check_model_name(prior: str) -> None:
    """A prior is `exact`, `network`, `stable-diffusion`, a hub id, or a folder with a model in it."""
    if prior in PRIORS:
        if prior == NETWORK and not is_shipped():
            code = ErrorCode.MODEL_NOT_FOUND
            label = "Install limbeck-server again, or choose another prior, such as exact."
            raise LimbeckError(code, NOT_SHIPPED, remedy_for(code, label=label, field="recipe.prior"))
        return
    folder = local_folder(prior)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise LimbeckError(
                ErrorCode.MODEL_NOT_FOUND,
                f"The folder {prior!r} holds no diffusers model: it has no model_index.json.",
                remedy_for(ErrorCode.MODEL_NOT_FOUND, field="recipe.prior"),
            )
        return
    is_hub_id = prior.count("/") == 1 and not prior.startswith((".", "/", "~")) and not prior.endswith("/")
    if not is_hub_id:
        raise LimbeckError(
            ErrorCode.UNKNOWN_PRIOR,
            f"There is no prior {prior!r}; there are: {', '.join(PRIORS)}, a hub id (owner/name) or a folder.",
            remedy_for(ErrorCode.UNKNOWN_PRIOR, field="recipe.prior"),
        )


def _check_settings(recipe: Recipe, settings: Settings) -> None:
    code = ErrorCode.INVALID_FIELD
    named: dict[str, Iterable[str]] = {
        "timestep_schedule": TIMESTEP_SCHEDULES,
        "weighting": WEIGHTINGS,
        "background": BACKGROUNDS,
        "shading": SHADINGS,
        "field": FIELDS,
    }
    for name, known in named.items():
        _refuse_unknown(code, name, getattr(settings, name), known, f"settings.{name}")
    for name in settings.regularizers or {}:
        _refuse_unknown(code, "regularizer", name, REGULARIZERS, "settings.regularizers")
    _check_loss_parameters(recipe, settings)
    schedules: dict[str, Any] = {"timestep_max": settings.timestep_max, "render_size": settings.render_size}
    schedules["gradient_clamp"] = settings.gradient_clamp or []
    schedules |= {f"regularizers.{name}": points for name, points in (settings.regularizers or {}).items()}
    for name, points in schedules.items():
        shares = [share for share, _ in points]
        if shares != sorted(shares):
            message = f"The points of {name} must rise in their share of the run, got {shares}."
            raise LimbeckError(code, message, remedy_for(code, field=f"recipe.settings.{name}"))
    lowest = min(highest for _, highest in settings.timestep_max or [])
    bottom = settings.timestep_min
    if not isinstance(bottom, UnsetType) and lowest < bottom:
        message = f"timestep_max falls to {lowest:g}, but must not fall below timestep_min, which is {bottom:g}."
        raise LimbeckError(code, message, remedy_for(code, field="recipe.settings.timestep_max"))
    finest = settings.field_resolution
    if settings.field == "voxels" and not isinstance(finest, UnsetType) and finest > MAX_VOXELS_PER_AXIS:
        message = (
            f"A voxel grid has at most {MAX_VOXELS_PER_AXIS} vertices per axis, got {finest}: it would not fit into "
            "memory. Lower field_resolution, or choose the field hash_grid."
        )
        raise LimbeckError(code, message, remedy_for(code, field="recipe.settings.field_resolution"))
    finest = settings.mesh_resolution
    if not isinstance(finest, UnsetType) and (most := largest_mesh_resolution()) < finest:
        message = (
            f"A surface cut with {finest} cells along each side would not fit into this server's memory. Lower "
            f"mesh_resolution to {most} or less."
        )
        raise LimbeckError(code, message, remedy_for(code, field="recipe.settings.mesh_resolution"))
    if recipe.prior == EXACT and any(size not in (32, 64) for _, size in settings.render_size or []):
        message = (
            f"The exact prior's pictures are 32 or 64 pixels wide, so render_size cannot be {settings.render_size}."
        )
        raise LimbeckError(code, message, remedy_for(code, field="recipe.settings.render_size"))


def _check_loss_parameters(recipe: Recipe, settings: Settings) -> None:
    """Hold the loss's own parameters, all of them given, against what it declares, each other, and the prior."""
    code, loss, values = ErrorCode.INVALID_FIELD, LOSSES[recipe.loss], dict(settings.loss_parameters or {})
    declared = {p.name: p for p in loss.parameters}
    for name in values:
        _refuse_unknown(code, f"parameter of {loss.name}", name, declared, "settings.loss_parameters")
    problem = next((p for name in values if (p := _parameter_problem(loss, declared[name], values[name]))), None)
    if problem is None and loss.check is not None:
        problem = loss.check(values, recipe.prior == EXACT)
    if problem is not None:
        raise LimbeckError(code, problem, remedy_for(code, field="recipe.settings.loss_parameters"))


def _check_negative_prompt(recipe: Recipe, settings: Settings) -> None:
    """Refuse an empty negative prompt where the loss will ask for it; None lets the prior choose."""
    if recipe.negative_prompt is None or recipe.negative_prompt.strip():
        return
    highest = max(share for _, share in settings.timestep_max or [])
    timestep = min(round(highest * SCHEDULE_TIMESTEPS), SCHEDULE_TIMESTEPS - 1)
    if "negative" in LOSSES[recipe.loss].branches([timestep], settings.loss_parameters or {}):
        message = (
            f"The loss {recipe.loss!r}, as it is set here, compares with a negative prompt, and the recipe's is empty. "
            "Say what pictures should not look like, or leave negative_prompt out: the prior then takes its own."
        )
        code = ErrorCode.INVALID_FIELD
        raise LimbeckError(code, message, remedy_for(code, field="recipe.negative_prompt"))


def _parameter_problem(loss: DistillationLoss, parameter: LossParameter, value: float | str) -> str | None:
    """Return why one value cannot be that parameter's, as a sentence."""
    whose = f"{loss.name}'s {parameter.name}"
    if parameter.choices:
        known = ", ".join(parameter.choices)
        return None if value in parameter.choices else f"{whose} must be one of: {known}; got {value!r}."
    span = f"between {parameter.minimum:g} and {parameter.maximum:g}"
    if isinstance(value, str):
        return f"{whose} must be a number {span}, got {value!r}."
    if not parameter.minimum <= value <= parameter.maximum:
        return f"{whose} must lie {span}, got {value:g}."
    if parameter.whole and value != int(value):
        return f"{whose} must be a whole number {span}, got {value!r}."
    return None


def largest_mesh_resolution() -> int:
    """Return how finely a surface can be cut on this machine: three quarters of its memory hold the density grids."""
    points = 0.75 * psutil.virtual_memory().total / MESH_BYTES_PER_POINT
    return int(points ** (1 / 3))


def default_threads() -> int:
    """Return how many threads a job gets on this machine: all cores, at most 8. Written into the recipe."""
    return min(os.cpu_count() or 1, 8)


def installed_versions() -> dict[str, str]:
    """Return the versions of what changes numbers; read from package metadata, so that nothing is imported."""
    names = ("limbeck-server", "limbeck-protocol", "torch", "nerfacc", "numpy", "PyMCubes", "diffusers")
    return {name: metadata.version(name) for name in names}


def catalog() -> Catalog:
    """Return what this server offers, for panels and `limbeck presets`."""
    losses = [
        LossInfo(
            name=loss.name,
            title=loss.title,
            description=loss.paper,
            parameters=[
                ParameterInfo(
                    name=p.name,
                    default=p.default,
                    minimum=p.minimum,
                    maximum=p.maximum,
                    description=p.description,
                    choices=list(p.choices),
                )
                for p in loss.parameters
            ],
        )
        for loss in LOSSES.values()
    ]
    presets = [
        PresetInfo(
            name=name,
            loss=loss,
            prior=kind,
            description=PRESET_DESCRIPTIONS[name],
            settings=msgspec.to_builtins(settings),
            sources=SOURCES.get((name, loss, kind), {}),
            makes=makes(name),
        )
        for (name, loss, kind), settings in PRESETS.items()
    ]
    return Catalog(losses=losses, priors=list(PRIORS.values()), presets=presets)
