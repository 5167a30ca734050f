"""Where a model's diffusion runs: in the latents of a VAE, or, without one, in the pixels themselves."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate


class LatentSpace(Protocol):
    """Pictures as latents and back."""

    image_size: int
    """Side in pixels of the pictures that latents are made of."""

    def encode(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return clean latents (n, c, h', w') of pictures (n, 3, h, w) in 0..1; differentiable."""

    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (n, 3, `image_size`, `image_size`) in 0..1 of clean latents."""


class VaeSpace:
    """The latents of Stable Diffusion's VAE: an eighth of the pictures' side, scaled to a variance of about 1.

    Args:
        vae: diffusers' AutoencoderKL.
        latent_size: side of the latents.
    """

    def __init__(self, vae: Any, latent_size: int) -> None:
        self._vae = vae
        self.scale: float = vae.config.scaling_factor
        self.image_size = latent_size * 2 ** (len(vae.config.block_out_channels) - 1)

    def encode(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return the posterior's scaled mean, or a draw from it where there is a generator."""
        size = (self.image_size, self.image_size)
        if images.shape[-2:] != size:
            images = interpolate(images, size, mode="bilinear", antialias=images.shape[-1] > self.image_size)
        posterior = self._vae.encode(images.to(self._vae.dtype) * 2.0 - 1.0).latent_dist
        latents: Tensor = posterior.mean if generator is None else posterior.sample(generator)
        return (latents * self.scale).to(torch.promote_types(images.dtype, torch.float32))

    def decode(self, latents: Tensor) -> Tensor:
        """Return the decoder's pictures, cut off at 0 and 1."""
        decoded: Tensor = self._vae.decode(latents.to(self._vae.dtype) / self.scale).sample
        return (decoded.to(latents.dtype) / 2.0 + 0.5).clamp(0.0, 1.0)


class PixelSpace:
    """Latents that are pictures in -1..1.

    Args:
        size: their side in pixels.
    """

    def __init__(self, size: int) -> None:
        self.image_size = size

    def encode(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the pictures on another scale, of the model's size; there is nothing to draw."""
        return pixel_latents(images, self.image_size)

    def decode(self, latents: Tensor) -> Tensor:
        """Return the pictures on their own scale, cut off at 0 and 1."""
        return ((latents + 1) / 2).clamp(0, 1)


def pixel_latents(images: Tensor, size: int) -> Tensor:
    """Return latents in -1..1, (n, 3, size, size), of square pictures (n, 3, h, h) in 0..1; differentiable.

    Multiples of the size are averaged over blocks, so that no pixel counts more than another.
    """
    side = images.shape[-1]
    if side > size and side % size == 0 and images.shape[-2] == side:
        images = avg_pool2d(images, side // size)
    elif images.shape[-2:] != (size, size):
        images = interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return 2 * images - 1
