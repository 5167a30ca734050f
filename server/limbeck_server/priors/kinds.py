"""Which kinds of prior there are, told by what a recipe names. Reads a small file at most, and never imports torch."""

from __future__ import annotations

import json
from pathlib import Path

EXACT = "exact"
NETWORK = "network"
STABLE_DIFFUSION = "stable-diffusion"
KINDS = (EXACT, NETWORK, STABLE_DIFFUSION)
"""They are names of priors as well: each kind's own."""

CARD = "limbeck.json"
"""What a folder in diffusers' layout may say to Limbeck that diffusers has no place for; see `model_card`."""
KNOWN_WORLD_LANGUAGE = "known-world"
"""What such a card calls the language of the known world's captions."""

SHIPPED_NETWORK = Path(__file__).parent / "shipped" / "network"
"""The trained network that ships, in diffusers' layout."""
NOT_SHIPPED = (
    "The network prior's files are missing: they ship with Limbeck, and this installation lacks them. Install the "
    "package limbeck-server again, get a complete checkout, or train one: limbeck prior train --out FOLDER, and then "
    "--prior FOLDER/model."
)


def local_folder(prior: str) -> Path:
    """Return a recipe's `prior` as the path that it is, if it is one."""
    # `~nobody` is no home folder that could be expanded; it is then looked for as it stands.
    return Path(prior).expanduser() if prior.startswith(("~/", "~\\")) else Path(prior)


def is_shipped() -> bool:
    """Return whether the network that ships is there."""
    return (SHIPPED_NETWORK / "model_index.json").is_file()


def prior_kind(prior: str) -> str:
    """Return which of `KINDS` a recipe's `prior` names.

    A local folder whose card says that it speaks the known world's language is a `network`; everything else that is
    not a kind's own name is a Stable Diffusion model.
    """
    if prior in KINDS:
        return prior
    card = local_folder(prior) / CARD
    try:
        said = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # No folder, a folder without a card, or a damaged card: loading the model says which.
        return STABLE_DIFFUSION
    speaks = said.get("language") if isinstance(said, dict) else None
    return NETWORK if speaks == KNOWN_WORLD_LANGUAGE else STABLE_DIFFUSION
