"""Stored views as matrices: every inner product that the exact prior needs, in few passes over memory.

A view's picture is linear in its main colour c and background b. With grey (1/2) as the origin of colours it is, per
colour channel k and pixel,

    x_k - 1/2 = fixed_k + (c_k - 1/2) shade + (b_k - 1/2) open,       open = 1 - alpha,
    fixed_k = stored fixed part + shade / 2 - alpha / 2.

Only the stored shade, alpha and fixed part are kept. They vanish outside the object, so pixels that no view ever covers
are left out, as are the fixed parts of views that have none. Products with `open` and the centred fixed part follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_GATHER_BELOW = 0.3
"""Copying the rows in use pays while they are fewer than this share: copying costs about as much as multiplying."""


@dataclass(frozen=True)
class Gram:
    """Inner products of the views' own channels over the whole picture, float64. `fixed` is the centred fixed part.

    Attributes:
        shade_shade, shade_open, open_open: (views,).
        fixed_shade, fixed_open: (views, 3), one per colour channel.
        fixed_fixed: (views,), summed over the colour channels.
    """

    shade_shade: Tensor
    shade_open: Tensor
    open_open: Tensor
    fixed_shade: Tensor
    fixed_open: Tensor
    fixed_fixed: Tensor

    @staticmethod
    def concatenate(grams: Sequence[Gram]) -> Gram:
        """Return the Gram terms of several stacks as one."""
        names = Gram.__dataclass_fields__
        return Gram(*(torch.cat([getattr(gram, name) for gram in grams]) for name in names))


@dataclass(frozen=True)
class Projections:
    """Inner products of n centred pictures with the views' channels, float64.

    Attributes:
        shade, open: (n, views, 3), per colour channel.
        fixed: (n, views), with the centred fixed part, summed over the colour channels.
    """

    shade: Tensor
    open: Tensor
    fixed: Tensor

    @staticmethod
    def concatenate(parts: Sequence[Projections]) -> Projections:
        """Return the projections on several stacks as one."""
        return Projections(
            torch.cat([part.shade for part in parts], dim=1),
            torch.cat([part.open for part in parts], dim=1),
            torch.cat([part.fixed for part in parts], dim=1),
        )


@dataclass(frozen=True)
class ViewStack:
    """Views of one picture size, as the matrices that `project` and `blend` multiply with.

    Attributes:
        pixels: pixels of a whole picture.
        support: (p,) int64, the pixels that some view covers; the others show background in every view.
        shade_alpha: (2 views, p): all shades, then all alphas.
        fixed: (views with a fixed part, 3 p): their stored fixed parts, channel after channel.
        fixed_rows: (views with a fixed part,) int64, which views these are.
        gram: the views' own inner products.
    """

    pixels: int
    support: Tensor
    shade_alpha: Tensor
    fixed: Tensor
    fixed_rows: Tensor
    gram: Gram

    @property
    def views(self) -> int:
        """How many views are stacked."""
        return self.shade_alpha.shape[0] // 2

    @staticmethod
    def from_buffers(
        buffers: Tensor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> ViewStack:
        """Return the matrices of stored buffers.

        Args:
            buffers: (views, 5, h, w) shade, fixed red, green, blue, alpha; uint8 with 255 for 1, or floating.
            device: where the matrices live.
            dtype: their type; the Gram terms are float64 whatever it is.

        Raises:
            ValueError: if the buffers have another shape.
        """
        if buffers.ndim != 4 or buffers.shape[1] != 5 or buffers.shape[0] == 0:
            raise ValueError(f"buffers must be (views, 5, h, w) with at least one view, but are {tuple(buffers.shape)}")
        flat = buffers.to(device).flatten(2)
        support = (flat != 0).any(dim=1).any(dim=0).nonzero().squeeze(1)
        flat = flat[:, :, support]
        fixed_rows = (flat[:, 1:4] != 0).flatten(1).any(dim=1).nonzero().squeeze(1)
        pixels = buffers.shape[2] * buffers.shape[3]
        return ViewStack(
            pixels=pixels,
            support=support,
            shade_alpha=torch.cat([_unit(flat[:, 0], dtype), _unit(flat[:, 4], dtype)]),
            fixed=_unit(flat[fixed_rows, 1:4], dtype).flatten(1),
            fixed_rows=fixed_rows,
            gram=_gram(flat, pixels),
        )

    def project(self, pictures: Tensor) -> Projections:
        """Return the inner products of centred pictures (n, 3, pixels) with every view; differentiable."""
        n = pictures.shape[0]
        covered = pictures[:, :, self.support].to(self.shade_alpha.dtype)
        # Few long rows times a tall matrix: with the pictures on the left, BLAS runs at the speed of memory.
        products = (covered.flatten(0, 1) @ self.shade_alpha.T).double().view(n, 3, -1)
        products = products.transpose(1, 2)
        shade, alpha = products[:, : self.views], products[:, self.views :]
        stored = torch.zeros(n, self.views, dtype=torch.float64, device=pictures.device)
        stored = stored.index_copy(1, self.fixed_rows, (covered.flatten(1) @ self.fixed.T).double())
        return Projections(
            shade=shade,
            open=pictures.double().sum(dim=2)[:, None] - alpha,
            fixed=stored + 0.5 * (shade - alpha).sum(dim=2),
        )

    def blend(self, fixed: Tensor, shade: Tensor, open_: Tensor) -> Tensor:
        """Return the weighted sums of the views' channels: centred pictures (m, 3, pixels) in the stack's dtype.

        Args:
            fixed: (m, views) float64 weights of the centred fixed parts.
            shade: (m, views, 3) float64 weights of shade, per colour channel.
            open_: (m, views, 3) float64 weights of open, likewise. Views whose weights are all zero need not be read.
        """
        m = fixed.shape[0]
        dtype = self.shade_alpha.dtype
        # With alpha in place of open = 1 - alpha, the 1 becomes a constant picture.
        of_shade = shade + 0.5 * fixed[:, :, None]
        of_alpha = -open_ - 0.5 * fixed[:, :, None]
        used = (of_shade != 0).any(dim=2).any(dim=0) | (of_alpha != 0).any(dim=2).any(dim=0)
        weights = torch.cat([of_shade, of_alpha], dim=1).transpose(1, 2).flatten(0, 1).to(dtype)
        covered = _weighted_rows(weights, self.shade_alpha, used.repeat(2)).view(m, 3, -1)
        with_fixed = fixed[:, self.fixed_rows].to(dtype)
        covered = covered + _weighted_rows(with_fixed, self.fixed, used[self.fixed_rows]).view(m, 3, -1)
        pictures = open_.sum(dim=1).to(dtype)[:, :, None].repeat(1, 1, self.pixels)
        return pictures.index_add(2, self.support, covered)


def _weighted_rows(weights: Tensor, rows: Tensor, used: Tensor) -> Tensor:
    """Return weights (m, r) @ rows (r, p), reading only the rows marked in `used` (r,) where that is cheaper."""
    active = used.nonzero().squeeze(1)
    if len(active) < _GATHER_BELOW * len(used):
        return weights[:, active] @ rows[active]
    return weights @ rows


def _unit(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return stored values on the scale where 1 is 1: bytes are divided by 255."""
    return values.to(dtype) if values.is_floating_point() else values.to(dtype) / 255


def _gram(covered: Tensor, pixels: int) -> Gram:
    """Return the Gram terms of stored channels (views, 5, p) out of `pixels`, a hundred views at a time."""
    parts = []
    for chunk in torch.split(covered, 100):
        values = _unit(chunk, torch.float64)
        shade, stored, alpha = values[:, 0], values[:, 1:4], values[:, 4]
        fixed = stored + 0.5 * (shade - alpha)[:, None]
        shade_alpha = (shade * alpha).sum(1)
        parts.append(
            Gram(
                shade_shade=shade.square().sum(1),
                shade_open=shade.sum(1) - shade_alpha,
                open_open=pixels - 2 * alpha.sum(1) + alpha.square().sum(1),
                fixed_shade=(fixed * shade[:, None]).sum(2),
                fixed_open=(fixed * (1 - alpha)[:, None]).sum(2),
                fixed_fixed=fixed.square().sum(dim=(1, 2)),
            )
        )
    return Gram.concatenate(parts)
