"""A trained model of the known world's pictures, loaded as any other folder is."""

from __future__ import annotations

import torch

from limbeck_server.priors.languages import KNOWN_WORLD
from limbeck_server.priors.latent_space import PixelSpace
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion

SIZES = (8, 16, 32, 64)
"""Sides in pixels that the known world's views come in."""


def load_trained(model: str, device: torch.device | str = "cpu") -> StableDiffusionPrior:
    """Return the prior, in single precision.

    Args:
        model: as `stable_diffusion.load_stable_diffusion` takes it: a folder, or a hub id.
        device: where its networks live.

    Raises:
        ModelError: it is missing, damaged, or not a model of the known world's pixels.
    """
    prior = load_stable_diffusion(model, torch.device(device), torch.float32)
    if prior.card.language is not KNOWN_WORLD:
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"{prior.name!r} was not trained on the known world, so there is no truth to compare it with. Name a "
            "folder that `limbeck prior train` has made.",
        )
    if not isinstance(prior.space, PixelSpace) or prior.image_size not in SIZES:
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"{prior.name!r} is no model of pictures of {', '.join(map(str, SIZES))} pixels. Name a folder that "
            "`limbeck prior train` has made.",
        )
    return prior
