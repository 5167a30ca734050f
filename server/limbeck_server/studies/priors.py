"""The prior that a study looks at, by the name that `--prior` gives it; and whether its pictures have a known truth."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from limbeck_server.distillation.device import network_dtype
from limbeck_server.priors.exact import ExactPrior, load_exact_prior
from limbeck_server.priors.kinds import EXACT
from limbeck_server.priors.languages import KNOWN_WORLD
from limbeck_server.priors.model_files import find_model
from limbeck_server.priors.prior import Prior


def load_study_prior(
    name: str,
    prompt: str,
    size: int = 32,
    device: torch.device | str = "cpu",
    also: Sequence[str] = (),
    allow_download: bool = False,
) -> Prior:
    """Return a prior that understands the prompts, ready to predict.

    Args:
        name: `exact`; or a network: `network` (the one that ships), `stable-diffusion`, a hub id, a local folder.
        prompt: what will be asked.
        size: side of the exact prior's pictures in pixels, 32 or 64; a network brings its own.
        device: where the prior lives.
        also: other prompts that will be asked.
        allow_download: fetch what is missing of a network from the hub.

    Raises:
        PromptError: the prior does not understand a prompt.
        ModelError: the model is missing, unsafe or broken.
    """
    if name == EXACT:
        prior: Prior = load_exact_prior(prompt, size, device, also=also)
    else:
        # Imported here: it loads diffusers, which studies on the exact prior need not wait for.
        from limbeck_server.priors.stable_diffusion import load_stable_diffusion

        device = torch.device(device)
        prior = load_stable_diffusion(name, device, network_dtype(device), allow_download)
    for text in (prompt, *also):
        prior.check_prompt(text)
    return prior


def knows_the_world(prior: Prior) -> bool:
    """Return whether the prior's pictures are of the known world, so that there is a truth to compare them with."""
    if isinstance(prior, ExactPrior):
        return True
    card = getattr(prior, "card", None)
    return card is not None and card.language.name == KNOWN_WORLD.name


def model_stamp(name: str, allow_download: bool = False) -> str:
    """Return what tells a model from a later one in its place: when its weights were written, and how many bytes.

    Empty for the exact prior. For studies that keep what they have finished.

    Raises:
        ModelError: the model is missing, unsafe or broken.
    """
    if name == EXACT:
        return ""
    weights = sorted((find_model(name, allow_download).folder / "unet").glob("*.safetensors"))
    return " ".join(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in weights)
