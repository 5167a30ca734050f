"""What came with which minor version, and what a server of an earlier one cannot run, found before it is sent there.

Servers refuse fields that they do not know, in words about a field; what a person needs to hear is that the server is
older than the recipe. `replies.for_minor` is the other direction: what is withheld from older clients.
"""

from __future__ import annotations

import msgspec

from limbeck_protocol import messages
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import Recipe

SETTINGS_SINCE_1_2 = frozenset(
    {
        "timestep_schedule",
        "guidance_interval",
        "perp_neg",
        "gradient_clamp",
        "pixel_clip",
        "density_pace",
        "albedo_until",
        "lit_share",
        "textureless_share",
    }
)
_NAMED = 3
"""How many of the newer parts a sentence names; a recipe that a server has completed holds them all."""
_REMEDY = "Update the server if it is older, stop it, and start it again; its jobs stay."


def why_not_for(message: messages.Request, welcome: messages.Welcome) -> LimbeckError | None:
    """Return why a server cannot take a message, naming what of its recipe is newer than that; None when it can."""
    newer = newer_parts(message.recipe, welcome.minor) if isinstance(message, messages.Submit) else []
    named = ", ".join(newer[:_NAMED]) + (f" and {len(newer) - _NAMED} more" if len(newer) > _NAMED else "")
    return _too_old(welcome, f"the recipe: it does not know {named}") if newer else None


def check_server_knows_starts(welcome: messages.Welcome) -> None:
    """See that a job on this server can begin with what another has made.

    Raises:
        LimbeckError: UNKNOWN_TYPE: the server is older.
    """
    if welcome.minor < 2:
        raise _too_old(welcome, "the recipe of an edit: it does not know start")


def newer_parts(recipe: Recipe, minor: int) -> list[str]:
    """Return what of a recipe came after a minor version, as dotted names below the recipe.

    1.2 brought starts, some settings, and choices among the parameters of a loss; 1.3 brought images.
    """
    image = ["image"] if recipe.image and minor < 3 else []
    return image + _since_1_2(recipe) if minor < 2 else image


def _since_1_2(recipe: Recipe) -> list[str]:
    settings = recipe.settings
    found = ["start"] if recipe.start else []
    found += [
        f"settings.{name}"
        for name in settings.__struct_fields__
        if name in SETTINGS_SINCE_1_2 and getattr(settings, name) is not msgspec.UNSET
    ]
    parameters = {} if settings.loss_parameters is msgspec.UNSET else settings.loss_parameters
    return found + [f"settings.loss_parameters.{name}" for name, value in parameters.items() if isinstance(value, str)]


def _too_old(welcome: messages.Welcome, what: str) -> LimbeckError:
    version = f"{welcome.server}, protocol {welcome.major}.{welcome.minor}"
    remedy = remedy_for(ErrorCode.UNKNOWN_TYPE, label=_REMEDY)
    return LimbeckError(ErrorCode.UNKNOWN_TYPE, f"This server ({version}) is older than {what}.", remedy)
