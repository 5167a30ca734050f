"""Pictures drawn by a prior: deterministic DDIM with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from limbeck_server.priors.prior import Prior

GUIDANCE_SCALE = 5.0
STEPS = 25
_AT_ONCE = 16


def sample(
    prior: Prior,
    texts: Sequence[str],
    latent_shape: Sequence[int],
    generator: torch.Generator,
    guidance_scale: float = GUIDANCE_SCALE,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return latents (n, *latent_shape), one per text: DDIM without noise (Song et al. 2021, eq. 12, eta = 0).

    Args:
        prior: whose pictures.
        texts: one per picture.
        latent_shape: (c, h, w) of one picture's latents.
        generator: on the CPU; draws where each picture begins, all of them at once.
        guidance_scale: e_uncond + s (e_cond - e_uncond); 1 asks for the conditional prediction only.
        steps: from the noisiest timestep down; the last one leaves no noise.
        progress: called with (predictions made, predictions in all), counted in steps of all pictures.
    """
    if steps < 1:
        raise ValueError(f"sampling takes 1 or more steps, but {steps} were asked for")
    start = torch.randn((len(texts), *latent_shape), generator=generator)
    timesteps = torch.linspace(prior.schedule.timesteps - 1, 0, steps + 1).round().long()[:-1].tolist()
    chunks: list[Tensor] = []
    for first in range(0, len(texts), _AT_ONCE):
        chunk = texts[first : first + _AT_ONCE]
        prompts = {"conditional": list(chunk)} | ({"unconditional": [""] * len(chunk)} if guidance_scale != 1 else {})
        latents = start[first : first + _AT_ONCE].to(prior.device)
        for step, timestep in enumerate(timesteps):
            at = torch.full((len(chunk),), timestep)
            answers = prior.predict_noise(latents, at.to(prior.device), prompts)
            noise = answers["conditional"]
            if "unconditional" in answers:
                noise = answers["unconditional"] + guidance_scale * (noise - answers["unconditional"])
            alpha, sigma = prior.schedule.at(at, latents)
            clean = (latents - sigma * noise) / alpha
            if step + 1 < steps:
                alpha, sigma = prior.schedule.at(torch.full_like(at, timesteps[step + 1]), latents)
                latents = alpha * clean + sigma * noise
            else:
                latents = clean
            if progress is not None:
                progress(first * steps + (step + 1) * len(chunk), len(texts) * steps)
        chunks.append(latents)
    return torch.cat(chunks)


def write_sheet(pictures: Tensor, columns: int, path: Path, zoom: int = 2) -> None:
    """Write pictures (n, 3, h, w) in 0..1 as one PNG file, row after row, with a pixel of white between them.

    Args:
        pictures: at least one.
        columns: pictures in a row.
        path: the file.
        zoom: screen pixels per pixel.
    """
    n, _, height, width = pictures.shape
    rows = -(-n // columns)
    sheet = torch.ones(3, rows * (height + 1) - 1, columns * (width + 1) - 1)
    for index, picture in enumerate(pictures.detach().cpu().clamp(0, 1)):
        top, left = (index // columns) * (height + 1), (index % columns) * (width + 1)
        sheet[:, top : top + height, left : left + width] = picture
    pixels = (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
    image = Image.fromarray(pixels)
    part = path.with_name(path.name + ".part")
    image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST).save(part, "PNG")
    part.replace(path)
