"""A sheet of pictures that shows at a glance what a model has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from limbeck_server.priors.training.sampling import GUIDANCE_SCALE, STEPS, sample, write_sheet
from limbeck_server.priors.training.trained import load_trained

PROMPTS: tuple[str, ...] = (
    *("a red cube", "a blue torus", "a green cone", "a yellow duck", "a purple mushroom", "a green lamp"),
    *("a red car", "a white snowman", "a brown house", "a blue table", "a pink chair", "a yellow rocket"),
    *("a cyan mug", "an orange airplane", "a green tree", "a black hammer", "a grey robot", "a white boat"),
    # Never seen in these colours:
    *("a green sphere", "a grey duck", "a yellow car", "a blue sofa", "a pink torus", "a red cactus"),
)
COLUMNS = 8


def write_preview(
    model: str,
    path: Path,
    device: torch.device,
    prompts: Sequence[str] = PROMPTS,
    seed: int = 0,
    guidance_scale: float = GUIDANCE_SCALE,
    steps: int = STEPS,
    columns: int = COLUMNS,
) -> None:
    """Write a sheet of a model's pictures, one per prompt, row after row.

    Args:
        model: a folder, see `trained.load_trained`.
        path: the PNG file.
        device: where the model is run.
        prompts: what the pictures should show.
        seed: of the noise that they begin with.
        guidance_scale: of the sampler.
        steps: likewise.
        columns: pictures in a row.

    Raises:
        ModelError: the model cannot be used.
        PromptError: it does not understand a prompt.
    """
    prior = load_trained(model, device)
    for prompt in prompts:
        prior.check_prompt(prompt)
    shape = (3, prior.image_size, prior.image_size)
    generator = torch.Generator().manual_seed(seed)
    latents = sample(prior, prompts, shape, generator, guidance_scale, steps)
    write_sheet(prior.decode_latents(latents), columns, path)
