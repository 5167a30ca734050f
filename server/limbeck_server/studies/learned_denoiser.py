"""A small network that learns to denoise points in the plane: what is left of a result when the prior is not ideal."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

WIDTH = 128
FREQUENCIES = 6
BATCH = 512
LEARNING_RATE = 2e-3
LOG_SIGMA_MEAN = -2.3
LOG_SIGMA_STD = 1.5
SIGMA_DATA = 0.5
"""Training noise and preconditioning of the autoguidance toy (Karras et al. 2024, appendix C)."""


class LearnedDenoiser(nn.Module):
    """A denoiser with the preconditioning of EDM (Karras et al. 2022, table 1) around four layers of `WIDTH`.

    The point enters as itself and as sines and cosines of `FREQUENCIES` octaves, so that thin branches can be told
    apart; the octaves finer than the noise are damped as noise would damp them, exp(-(frequency sigma)^2 / 2).
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        inputs = 2 + 4 * FREQUENCIES + 3
        sizes = [inputs, WIDTH, WIDTH, WIDTH, WIDTH, 2]
        linear = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        with torch.no_grad():
            for layer in linear:
                layer.weight.normal_(0.0, math.sqrt(2.0 / layer.in_features), generator=generator)
                layer.bias.zero_()
            linear[-1].weight.mul_(0.1)
        self.hidden, self.last = nn.ModuleList(linear[:-1]), linear[-1]

    def forward(self, scaled: Tensor, sigma: Tensor) -> Tensor:
        """Return the expected clean points (n, 2) of noisy ones (n, 2) at levels sigma (n,)."""
        noise = sigma[:, None].to(scaled.dtype)
        total = (noise**2 + SIGMA_DATA**2).sqrt()
        octaves = math.pi * 2.0 ** torch.arange(FREQUENCIES, dtype=scaled.dtype)
        phase = (scaled[:, :, None] * octaves).flatten(1)
        damped = (-0.5 * (noise * octaves) ** 2).exp().repeat(1, 2)
        level = noise.log() / 4.0
        features = [scaled / total, damped * phase.sin(), damped * phase.cos(), level, level.sin(), level.cos()]
        hidden = torch.cat(features, dim=1)
        for layer in self.hidden:
            hidden = nn.functional.silu(layer(hidden))
        raw: Tensor = self.last(hidden)
        return SIGMA_DATA**2 / total**2 * scaled + noise * SIGMA_DATA / total * raw

    @torch.no_grad()
    def denoise(self, scaled: Tensor, sigma: Tensor) -> Tensor:
        """Return the same in the points' own type; a `trajectories.Denoiser`."""
        clean: Tensor = self(scaled.float(), sigma.float())
        return clean.to(scaled.dtype)


def train_denoiser(samples: Tensor, steps: int, generator: torch.Generator) -> LearnedDenoiser:
    """Return a denoiser fitted to samples (n, 2): EDM's loss, Adam, a cosine to 0, an average of the last weights."""
    network = LearnedDenoiser(generator)
    average = LearnedDenoiser(generator)
    average.load_state_dict(network.state_dict())
    data = samples.float()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        clean = data[torch.randint(len(data), (BATCH,), generator=generator)]
        sigma = (LOG_SIGMA_MEAN + LOG_SIGMA_STD * torch.randn(BATCH, generator=generator)).exp()
        noisy = clean + sigma[:, None] * torch.randn(BATCH, 2, generator=generator)
        weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
        loss = (weight[:, None] * (network(noisy, sigma) - clean) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        keep = min(0.999, 1.0 - 1.0 / (step + 1))
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.lerp_(fast, 1.0 - keep)
    return average
