"""Fields of the recipe: prompt, loss, prior, preset, seed."""

import bpy
from limbeck_protocol.recipe import MAX_PROMPT_CHARACTERS

from .. import runtime


def suggest(kind: str):
    """Return a search function over the catalog's names of one kind; before a server answers, over the usual ones."""
    usual = {"losses": ["sds", "nfsd"], "priors": ["exact", "stable-diffusion"], "presets": ["quick", "standard"]}

    def search(_properties, _context, text: str) -> list[str]:
        catalog = runtime.session().catalog
        names = [entry.name for entry in getattr(catalog, kind)] if catalog else usual[kind]
        return sorted({name for name in names if text.lower() in name.lower()})

    return search


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
        search=suggest("losses"),
        search_options={"SUGGESTION"},
    )
    preset: bpy.props.StringProperty(
        name="Preset",
        description="Decides everything that is not set here",
        default="standard",
        search=suggest("presets"),
        search_options={"SUGGESTION"},
    )
    prior: bpy.props.StringProperty(
        name="Prior",
        description="Diffusion model: a name, a hub id such as owner/name, or a folder on the server",
        default="exact",
        search=suggest("priors"),
        search_options={"SUGGESTION"},
    )
    seed: bpy.props.IntProperty(name="Seed", description="Same recipe, same seed, same result", default=0, min=0)
