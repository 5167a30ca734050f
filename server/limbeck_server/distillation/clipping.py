"""Bounds on gradients: of the latents' elements, and of the rendered picture's pixels."""

from __future__ import annotations

from torch import Tensor


def clamp_elements(gradient: Tensor, limit: float) -> Tensor:
    """Return the gradient with every finite element held within -limit..limit, whatever its shape.

    Dynamic clamping (D-SDS, Hong et al. 2023, arXiv:2303.15413) lets `limit` rise over the run, from 0.5 to 2. A NaN or
    an infinity stays what it is: clamping must not hide that a run has diverged.

    Raises:
        ValueError: the limit is not above 0.
    """
    _check(limit)
    return gradient.clamp(-limit, limit).where(gradient.isfinite(), gradient)


def clip_pixels(image_gradient: Tensor, limit: float) -> Tensor:
    """Return the gradient with each pixel scaled down so that none of its channels exceeds the limit.

    Every pixel is multiplied by min(1, limit / max over channels |g|), which keeps its direction among colours: the
    pixel-wise clipping of PGC-3D (Pan et al. 2024, arXiv:2310.12474), there with a limit of 0.1. It tames the outliers
    that a VAE's encoder sends back. A pixel that is not finite stays so.

    Args:
        image_gradient: (views, channels, h, w) d loss / d picture.
        limit: above 0.

    Raises:
        ValueError: the limit is not above 0.
    """
    _check(limit)
    largest = image_gradient.abs().amax(dim=1, keepdim=True)
    # Dividing by at least the limit makes the factor at most 1, and needs no case for a pixel of zeros.
    return image_gradient * (limit / largest.clamp_min(limit))


def _check(limit: float) -> None:
    if not limit > 0:
        raise ValueError(f"a gradient is clipped at a limit above 0, got {limit}. None, not 0, turns clipping off.")
