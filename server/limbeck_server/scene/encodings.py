"""Encodings: features of points, kept in a dense voxel grid or in a multi-resolution hash grid.

Both are trilinear look-ups in a table of rows: a point's features are the weighted sum of eight rows. On the CPU that
sum is one `embedding_bag` call, whose backward is one `index_add_`: several times faster than `grid_sample`, which
walks channel by channel. Points are in the box [-bound, bound]^3; gradients flow to the tables, never to the points.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

# Instant-NGP, equation 4. The first factor is 1, so that neighbours along x stay neighbours in memory.
HASH_FACTORS = (1, 2_654_435_761, 805_459_861)
HASH_INITIAL_RANGE = 1e-4

# The eight corners of a cell, last coordinate fastest.
_CORNERS = tuple(itertools.product((0, 1), repeat=3))
# The monomials 1, x, y, z, xy, xz, yz, xyz, as exponents.
_MONOMIALS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1))


def _corner_polynomials() -> list[list[float]]:
    """Return the 8 x 8 matrix that turns the monomials of a point in the unit cell into its eight corner weights.

    A corner's weight is the product, over the axes, of x (corner at 1) or 1 - x (corner at 0). Written as polynomials,
    all eight are one matrix product, which is much faster than eight products of short rows.
    """
    return [
        [
            float(
                math.prod((power if bit else (-1 if power else 1)) for bit, power in zip(corner, monomial, strict=True))
            )
            for corner in _CORNERS
        ]
        for monomial in _MONOMIALS
    ]


_CORNER_POLYNOMIALS = _corner_polynomials()


def trilinear_weights(fractions: Tensor) -> Tensor:
    """Return the weights (n, 8) of a cell's corners, last axis fastest, for points (n, 3) in 0..1 inside the cell."""
    monomials = fractions.new_empty(8, fractions.shape[0])
    monomials[0] = 1.0
    monomials[1:4] = fractions.t()
    x, y, z = monomials[1], monomials[2], monomials[3]
    torch.mul(x, y, out=monomials[4])
    torch.mul(x, z, out=monomials[5])
    torch.mul(y, z, out=monomials[6])
    torch.mul(monomials[4], z, out=monomials[7])
    # Autocast would make this product half precise, and the weights with it.
    with torch.autocast(fractions.device.type, enabled=False):
        return monomials.t() @ fractions.new_tensor(_CORNER_POLYNOMIALS)


class _WeightedRows(torch.autograd.Function):
    """out[n] = sum over k of weights[n, k] table[rows[n, k]]; differentiable in the table only."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.table_shape = table.shape
        return nn.functional.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        (grad,) = grads
        contributions = (weights[:, :, None] * grad[:, None, :]).reshape(-1, grad.shape[1])
        # Serial on the CPU, hence the same sum in every run; int64 rows, since int32 ones take a slow path.
        table_grad = grad.new_zeros(ctx.table_shape).index_add_(0, rows.reshape(-1), contributions)
        return table_grad, None, None


def weighted_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Return weighted sums of table rows.

    Args:
        table: (entries, channels), differentiable.
        rows: (n, k) int64, which rows each output adds up.
        weights: (n, k), with which weights; not differentiable.

    Returns:
        (n, channels).
    """
    summed: Tensor = _WeightedRows.apply(table, rows, weights)  # type: ignore[no-untyped-call]
    return summed


def _refuse_point_gradients(points: Tensor) -> None:
    if points.requires_grad:
        raise ValueError(
            "encodings are not differentiable in the points: expected points without requires_grad; "
            "take derivatives in space by finite differences (Field.normals)"
        )


class VoxelGrid(nn.Module):
    """A dense grid of values, interpolated trilinearly.

    The outermost vertices lie on the faces of the box (`align_corners=True` in `grid_sample`'s words), so that vertex i
    of an axis stands at -bound + 2 bound i / (resolution - 1). Points outside take the value at the nearest face.

    Attributes:
        values: (resolution, resolution, resolution, channels), the parameter; axes x, y, z. Channels are last, so that
            a look-up reads one stretch of memory per corner.
    """

    def __init__(self, channels: int, resolution: int, bound: float, device: torch.device | str = "cpu") -> None:
        super().__init__()
        if resolution < 2:
            raise ValueError(f"a voxel grid needs a resolution of at least 2, got {resolution}")
        self.bound = bound
        self.resolution = resolution
        self.values = nn.Parameter(torch.zeros(resolution, resolution, resolution, channels, device=device))

    def forward(self, points: Tensor, channels: slice = slice(None)) -> Tensor:
        """Return (n, channels) values at points (n, 3), of all channels or of a slice of them."""
        _refuse_point_gradients(points)
        values = self.values[..., channels]
        if points.is_cuda:
            return self._sample_on_cuda(values, points)
        scaled = (points + self.bound).mul_((self.resolution - 1) / (2 * self.bound)).clamp_(0, self.resolution - 1)
        cells = scaled.floor().clamp_(max=self.resolution - 2)
        # Whole numbers below 2^24 are exact in float32; finer grids need more digits.
        x, y, z = (cells if self.resolution <= 256 else cells.double()).unbind(-1)
        first_rows = ((x * self.resolution + y) * self.resolution + z).to(torch.int64)
        offsets = torch.tensor([(i * self.resolution + j) * self.resolution + k for i, j, k in _CORNERS])
        table = values.reshape(-1, values.shape[-1])
        return weighted_rows(table, first_rows[:, None] + offsets, trilinear_weights(scaled.sub_(cells)))

    def _sample_on_cuda(self, values: Tensor, points: Tensor) -> Tensor:
        # grid_sample wants channels first, and the last coordinate (here z) first.
        picture = values.permute(3, 0, 1, 2)[None]
        where = (points / self.bound).flip(-1).view(1, 1, 1, -1, 3).to(picture.dtype)
        sampled = nn.functional.grid_sample(picture, where, mode="bilinear", padding_mode="border", align_corners=True)
        return sampled.view(values.shape[-1], -1).t()


class HashGrid(nn.Module):
    """A multi-resolution hash encoding (Mueller et al. 2022, "Instant Neural Graphics Primitives", section 3).

    Level l divides the box into N_l = floor(N_min b^l) cells per axis, b = exp((ln N_max - ln N_min) / (L - 1))
    (equations 2 and 3). A vertex's row is its own number where the level's (N_l + 1)^3 vertices fit into the table, and
    (x pi_1 xor y pi_2 xor z pi_3) mod T otherwise (equation 4). Vertices stand on the box's faces.

    Attributes:
        table: (rows of all levels, features_per_level), the parameter.
        level_resolutions: N_l of each level.
        active_levels: how many levels, coarse ones first, give features; the others give zeros. Training may begin with
            few levels and add finer ones (progressive encoding).
    """

    def __init__(
        self,
        bound: float,
        levels: int = 16,
        features_per_level: int = 2,
        log2_table_size: int = 19,
        base_resolution: int = 16,
        max_resolution: int = 2048,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= base_resolution <= max_resolution or levels < 1:
            raise ValueError(
                "a hash grid needs levels >= 1 and 1 <= base resolution <= maximal resolution, "
                f"got {levels}, {base_resolution} and {max_resolution}"
            )
        self.bound = bound
        self.active_levels = levels
        growth = math.exp((math.log(max_resolution) - math.log(base_resolution)) / max(levels - 1, 1))
        # The small addend keeps a rounding error from turning N_max into N_max - 1.
        self.level_resolutions = tuple(math.floor(base_resolution * growth**level + 1e-6) for level in range(levels))
        self.level_sizes = tuple(min(2**log2_table_size, (n + 1) ** 3) for n in self.level_resolutions)
        self.hash_mask = 2**log2_table_size - 1
        table = (
            torch.rand(sum(self.level_sizes), features_per_level, generator=generator) * 2 - 1
        ) * HASH_INITIAL_RANGE
        self.table = nn.Parameter(table.to(device))

    @property
    def features(self) -> int:
        """How many features a point gets."""
        return len(self.level_resolutions) * self.table.shape[1]

    def forward(self, points: Tensor) -> Tensor:
        """Return features (n, levels x features per level) at points (n, 3), coarsest level first."""
        _refuse_point_gradients(points)
        unit = ((points + self.bound) / (2 * self.bound)).clamp(0, 1)
        corners = torch.tensor(_CORNERS, device=points.device)
        rows, weights, first_row = [], [], 0
        for resolution, size in list(zip(self.level_resolutions, self.level_sizes, strict=True))[: self.active_levels]:
            scaled = unit * resolution
            cells = scaled.floor().clamp_(max=resolution - 1)
            vertices = cells.to(torch.int64)[:, None, :] + corners
            rows.append(first_row + self._rows_of_level(vertices, resolution))
            weights.append(trilinear_weights(scaled - cells))
            first_row += size
        found = weighted_rows(self.table, torch.cat(rows), torch.cat(weights).to(self.table.dtype))
        found = found.view(len(rows), points.shape[0], -1).transpose(0, 1).reshape(points.shape[0], -1)
        return nn.functional.pad(found, (0, self.features - found.shape[1]))

    def _rows_of_level(self, vertices: Tensor, resolution: int) -> Tensor:
        x, y, z = vertices.unbind(-1)
        if (resolution + 1) ** 3 <= self.hash_mask + 1:
            rows: Tensor = (x * (resolution + 1) + y) * (resolution + 1) + z
        else:
            rows = (x * HASH_FACTORS[0] ^ y * HASH_FACTORS[1] ^ z * HASH_FACTORS[2]) & self.hash_mask
        return rows


def progressive_levels(step: int, levels: int, first: int = 8, start_step: int = 2000, every_steps: int = 500) -> int:
    """Return how many levels of a hash grid are active at a training step.

    The `first` coarsest ones from the beginning, and one more with every `every_steps` steps after `start_step` (the
    schedule of threestudio's presets: the coarse shape settles before fine detail appears).
    """
    return min(levels, first + max(0, step - start_step) // every_steps)
