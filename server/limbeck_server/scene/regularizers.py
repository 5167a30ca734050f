"""Regularisers: plain functions that return one number each, to be weighted and added to the loss.

They take what `renderer.Rendering` and the voxel field hold, and know neither.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def orientation(weights: Tensor, normals: Tensor, directions: Tensor, rays: int) -> Tensor:
    """Return the orientation loss: how much of what is visible faces away from the camera.

    (1 / rays) sum over samples of w max(0, n . d)^2, the orientation loss of Ref-NeRF (Verbin et al. 2022, equation
    11). As DreamFusion (Poole et al. 2022, appendix) has it, the weights are constants: they must not shrink to please
    this loss.

    Args:
        weights: (samples,) compositing weights.
        normals: (samples, 3) unit normals that point out of the object.
        directions: (samples, 3) unit directions of the rays, away from the camera.
        rays: how many rays the samples came from.
    """
    facing_away = (normals * directions).sum(-1).relu()
    return (weights.detach() * facing_away.square()).sum() / max(rays, 1)


def sparsity(opacity: Tensor) -> Tensor:
    """Return mean sqrt(opacity^2 + 0.01) over opacities of any shape: it asks for empty pixels.

    The opacity regulariser of DreamFusion (Poole et al. 2022, appendix). 0.1 where nothing is visible.
    """
    return (opacity.square() + 0.01).sqrt().mean()


def opaqueness(opacity: Tensor) -> Tensor:
    """Return the mean binary entropy -(o ln o + (1 - o) ln(1 - o)) of opacities: it asks for 0 or 1, nothing between.

    Latent-NeRF and threestudio call it opaque or entropy loss. Between 0 and ln 2. Opacities are held inside
    [0.001, 0.999], as threestudio does, so that the gradient stays finite.
    """
    inside = opacity.clamp(1e-3, 1 - 1e-3)
    return -(inside * inside.log() + (1 - inside) * (1 - inside).log()).mean()


# Planes of a grid that are worked on together: few enough to stay in a core's cache.
_PLANES_AT_A_TIME = 8


class _SquaredDifferences(torch.autograd.Function):
    """Sum of squared differences along three axes; the gradient is made with the differences, in the forward pass."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total, grad = values.new_zeros(()), torch.zeros_like(values)
        planes = values.shape[0]
        for start in range(0, planes, _PLANES_AT_A_TIME):
            stop = min(start + _PLANES_AT_A_TIME, planes)
            # Along x, a slab reaches one plane into the next one.
            last = min(stop + 1, planes)
            total += _add_differences(values[start:last], grad[start:last], axis=0)
            for axis in (1, 2):
                total += _add_differences(values[start:stop], grad[start:stop], axis)
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = ctx.saved_tensors
        doubled: Tensor = grad * (2 * grads[0])
        return doubled


def _add_differences(values: Tensor, grad: Tensor, axis: int) -> Tensor:
    """Return the sum of squared differences along one axis; half its gradient is added to `grad` in place."""
    length = values.shape[axis] - 1
    difference = values.narrow(axis, 1, length) - values.narrow(axis, 0, length)
    grad.narrow(axis, 1, length).add_(difference)
    grad.narrow(axis, 0, length).sub_(difference)
    flat = difference.reshape(-1)
    return flat @ flat


def total_variation(values: Tensor) -> Tensor:
    """Return the mean, over vertices and channels, of the squared differences to the next vertex along x, y and z.

    (1 / N) sum over axes and neighbours of (v_next - v)^2, N = `values.numel()`: the total variation of Plenoxels
    (Fridovich-Keil et al. 2022, section 3.3) without its square root, which makes it smooth at flat places and cheap.
    Being a mean, it moves one value by a gradient of order 2 (v - v_next) / N.

    Args:
        values: (x, y, z, channels), such as `encodings.VoxelGrid.values`.
    """
    squares: Tensor = _SquaredDifferences.apply(values)  # type: ignore[no-untyped-call]
    return squares / values.numel()
