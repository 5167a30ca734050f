"""Fields of the recipe: prompt, loss with its own parameters, prior, preset, seed."""

import bpy
from limbeck_protocol.recipe import MAX_PROMPT_CHARACTERS

from .. import runtime
from ..recipe.catalog_view import choices, parameter_named, parameter_start
from ..recipe.loss_parameter_sync import set_value, value_of
from ..recipe.picture_form import made_kind, preset_of
from ..recipe.recipe_form import as_written


def suggest(kind: str):
    """Return a search function over the catalog's names of one kind; before a server answers, over the usual ones.

    Names are stored as text: an enum would store a number, which means another name once the server's list changes.
    """

    def search(fields, _context, text: str) -> list[str]:
        of_presets = {"makes": made_kind(fields), "prior": fields.prior} if kind == "preset" else {}
        names = {choice.name for choice in choices(runtime.session().catalog, kind, **of_presets)}
        return sorted(name for name in names if text.lower() in name.lower())

    return search


def _keep_in_range(item: bpy.types.PropertyGroup, _context) -> None:
    """Bring a value that was typed into the range that the server gives; until one has, any number is taken."""
    info = parameter_named(runtime.session().catalog, item.loss, item.parameter)
    if info is None or info.choices:
        return
    value = as_written(item.value)
    inside = min(max(value, info.minimum), info.maximum)
    if inside != value:
        item.value = inside


def _begin_at_preset(item: bpy.types.PropertyGroup, _context) -> None:
    """A fresh override starts at what the preset says, or else the loss; a dropped one is at the loss's default."""
    catalog = runtime.session().catalog
    info = parameter_named(catalog, item.loss, item.parameter)
    if info is None:
        return
    if not item.override:
        set_value(item, info.default)
    elif value_of(item, info) in ("", info.default if info.choices else as_written(info.default)):  # nothing set before
        fields = item.id_data.limbeck
        set_value(item, parameter_start(catalog, info, item.loss, fields.prior, preset_of(fields)))


class LIMBECK_loss_parameter(bpy.types.PropertyGroup):
    """A loss's own parameter, as the catalog lists it; `name` is `loss/parameter`. Kept when another loss is chosen."""

    loss: bpy.props.StringProperty(description="The loss that it belongs to")
    parameter: bpy.props.StringProperty(description="Its name, as the server gives it")
    override: bpy.props.BoolProperty(
        name="Override",
        description="Use a value of your own instead of the preset's",
        update=_begin_at_preset,
    )
    value: bpy.props.FloatProperty(
        name="Value",
        description="A number of the loss's own; the server says in which range",
        precision=3,
        update=_keep_in_range,
    )
    choice: bpy.props.StringProperty(
        name="Choice", description="One of the words that the server lists; empty for a number", maxlen=40
    )


class GuidanceFields:
    """What is made, and what guides it."""

    prompt: bpy.props.StringProperty(
        name="Prompt", description="What to make, for example: a yellow duck", maxlen=MAX_PROMPT_CHARACTERS
    )
    negative_prompt: bpy.props.StringProperty(
        name="Avoid", description="What to keep away from. Empty: the prior decides", maxlen=MAX_PROMPT_CHARACTERS
    )
    loss: bpy.props.StringProperty(
        name="Loss",
        description="Distillation loss, by its name",
        default="sds",
        search=suggest("loss"),
        search_options={"SUGGESTION"},
    )
    loss_parameters: bpy.props.CollectionProperty(
        description="What the losses' own parameters are set to", type=LIMBECK_loss_parameter
    )
    preset: bpy.props.StringProperty(
        name="Preset",
        description="Decides everything that is not set here",
        default="standard",
        search=suggest("preset"),
        search_options={"SUGGESTION"},
    )
    prior: bpy.props.StringProperty(
        name="Prior",
        description="Diffusion model: a name, a hub id such as owner/name, or a folder on the server",
        default="exact",
        search=suggest("prior"),
        search_options={"SUGGESTION"},
    )
    seed: bpy.props.IntProperty(name="Seed", description="Same recipe, same seed, same result", default=0, min=0)


classes = (LIMBECK_loss_parameter,)
