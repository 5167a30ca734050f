"""Which regulariser takes what from a field and its rendering: one table, from names to numbers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from limbeck_server.scene import regularizers
from limbeck_server.scene.field import Field, VoxelField
from limbeck_server.scene.renderer import Rendering

NEEDS_NORMALS = frozenset({"orientation"})
"""Regularisers that look at `Rendering.samples.normals`."""


def _orientation(field: Field, rendering: Rendering) -> Tensor:
    samples = rendering.samples
    assert samples.normals is not None, "render with normals when the orientation regulariser is on"
    return regularizers.orientation(samples.weights, samples.normals, samples.directions, rendering.rays)


def _total_variation(field: Field, rendering: Rendering) -> Tensor:
    if not isinstance(field, VoxelField):
        raise TypeError("total variation is a property of a voxel grid; a hash grid has none")
    return regularizers.total_variation(field.grid.values)


REGULARIZERS: dict[str, Callable[[Field, Rendering], Tensor]] = {
    "orientation": _orientation,
    "sparsity": lambda field, rendering: regularizers.sparsity(rendering.opacity),
    "opaqueness": lambda field, rendering: regularizers.opaqueness(rendering.opacity),
    "total_variation": _total_variation,
}
