"""Fields of the panel as keywords of an operator, for scripts: given ones count for this call alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import bpy
from limbeck_protocol.recipe import MAX_PROMPT_CHARACTERS

_HIDDEN = {"SKIP_SAVE", "HIDDEN"}
_FIELDS = ("prompt", "negative_prompt", "loss", "prior", "preset", "seed", "size", "steps")
_OF_PICTURES = ("makes", "image_generator", "image_size")


class RecipeKeywords:
    """Base of operators that hand in a recipe: what is not given is as the panel says."""

    prompt: bpy.props.StringProperty(
        name="Prompt", description="What to make", maxlen=MAX_PROMPT_CHARACTERS, options=_HIDDEN
    )
    negative_prompt: bpy.props.StringProperty(
        name="Avoid", description="What to keep away from", maxlen=MAX_PROMPT_CHARACTERS, options=_HIDDEN
    )
    loss: bpy.props.StringProperty(name="Loss", description="Name of the loss", options=_HIDDEN)
    prior: bpy.props.StringProperty(name="Prior", description="Name of the prior", options=_HIDDEN)
    preset: bpy.props.StringProperty(name="Preset", description="Name of the preset", options=_HIDDEN)
    seed: bpy.props.IntProperty(name="Seed", description="Same recipe, same seed, same result", min=0, options=_HIDDEN)
    size: bpy.props.FloatProperty(
        name="Size", description="Largest dimension, in scene units", default=1.0, min=1e-4, options=_HIDDEN
    )
    steps: bpy.props.IntProperty(name="Steps", description="Steps of the optimiser", default=1, min=1, options=_HIDDEN)
    makes: bpy.props.EnumProperty(
        name="Make",
        description="What the prompt becomes",
        items=[("OBJECT", "Object", "An object of the scene"), ("IMAGE", "Image", "A picture")],
        options=_HIDDEN,
    )
    image_generator: bpy.props.EnumProperty(
        name="Made of",
        description="What a picture is made of",
        items=[
            ("PRESET", "As the Preset", ""),
            ("LATENTS", "Latents", ""),
            ("PIXELS", "Pixels", ""),
            ("MLP", "Network", ""),
        ],
        options=_HIDDEN,
    )
    image_size: bpy.props.IntProperty(
        name="Image Size", description="Side of a picture, in pixels; 0: the prior's own", min=0, options=_HIDDEN
    )


@contextmanager
def given_fields(operator: bpy.types.Operator, fields: bpy.types.PropertyGroup) -> Iterator[None]:
    """Let the panel's fields say what the operator was given, and put them back afterwards."""
    names = (*_FIELDS, *_OF_PICTURES)
    given = {name: getattr(operator, name) for name in names if operator.properties.is_property_set(name)}
    if "preset" in given and given.get("makes", fields.makes) == "IMAGE":
        given["image_preset"] = given.pop("preset")
    if "steps" in given:
        given = {"override_steps": True, **given}
    before = {name: (fields.is_property_set(name), getattr(fields, name)) for name in given}
    try:
        for name, value in given.items():
            setattr(fields, name, value)
        yield
    finally:
        for name, (was_set, value) in before.items():
            if was_set:
                setattr(fields, name, value)
            else:
                fields.property_unset(name)
