"""The loss that a gradient field would be the gradient of: the field, integrated as well as it can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

Array = NDArray[np.float64]


def integrate(field: Array, spacing: float) -> tuple[Array, float]:
    """Return the potential whose gradient is nearest to a field in the least squares, and what share is left over.

    The potential lives on the grid's points, its differences on the edges between them, and is compared there with the
    mean of the field at both ends. The normal equations are Poisson's with free boundaries, which a cosine transform
    solves exactly.

    Args:
        field: (h, w, 2) gradient in x (columns) and y (rows upwards).
        spacing: between neighbouring points of the grid.

    Returns:
        The potential (h, w), 0 at its least; and |field - gradient| / |field|, 0..1: 0 for a field without curl.
    """
    across = spacing * (field[:, 1:, 0] + field[:, :-1, 0]) / 2.0
    upwards = spacing * (field[1:, :, 1] + field[:-1, :, 1]) / 2.0
    pull = np.zeros(field.shape[:2])
    pull[:, 1:] += across
    pull[:, :-1] -= across
    pull[1:] += upwards
    pull[:-1] -= upwards
    rows, columns = (4.0 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2 for n in pull.shape)
    stiffness = rows[:, None] + columns
    stiffness[0, 0] = 1.0  # the constant is free
    modes = dctn(pull, norm="ortho") / stiffness
    modes[0, 0] = 0.0
    potential: Array = idctn(modes, norm="ortho")
    left = np.sum((np.diff(potential, axis=1) - across) ** 2) + np.sum((np.diff(potential, axis=0) - upwards) ** 2)
    whole = np.sum(across**2) + np.sum(upwards**2)
    return potential - potential.min(), float(np.sqrt(left / whole)) if whole > 0.0 else 0.0
