"""How far two sets of pictures are from each other: Gaussians fitted to their features, compared (Heusel et al. 2017).

A set of n pictures tells its mean to about 1/n and its covariance poorly where n is not well above the number of
features: the distance of two sets of the same kind is then well above 0, the more so the fewer they are. So a distance
means something only beside that of true sets of the same size (`floor`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def frechet_distance(one: Tensor, two: Tensor) -> float:
    """Return |mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)), 0 or more.

    Heusel et al. (2017), eq. 6. The trace of the root is a sum of singular values, those of C_1^(1/2) C_2^(1/2); with
    the features centred, X_1^T X_1 / (n_1 - 1) = C_1, they are those of X_1 X_2^T over the root of (n_1 - 1)(n_2 - 1).
    No matrix root is taken, so covariances of low rank, of fewer pictures than features, do no harm.

    Args:
        one: features (n, d) of at least two pictures.
        two: features (m, d), likewise.

    Raises:
        ValueError: fewer than two pictures, or different features.
    """
    for features in (one, two):
        if features.ndim != 2 or len(features) < 2 or features.shape[1] != one.shape[1]:
            raise ValueError(
                "a Frechet distance compares two sets of features (n, d) of 2 or more pictures each, but got "
                f"{tuple(one.shape)} and {tuple(two.shape)}"
            )
    one, two = one.double(), two.double()
    centred = [features - features.mean(dim=0) for features in (one, two)]
    (root_one, root_two) = (_triangle(features) for features in centred)
    shared = float(torch.linalg.svdvals(root_one @ root_two.T).sum())
    spread = sum(float(root.square().sum()) for root in (root_one, root_two))
    apart = float((one.mean(dim=0) - two.mean(dim=0)).square().sum())
    return max(0.0, apart + spread - 2.0 * shared)


def floor(truth: Tensor, count: int, draws: int, generator: torch.Generator) -> tuple[float, float]:
    """Return mean and standard deviation of the distance of a few true pictures to the other true ones.

    What a perfect method would come to with so few pictures, since the rest of the truth is what all are compared with.

    Args:
        truth: features (groups, n, d), such as those of n pictures of every prompt.
        count: how many of each group are set apart at a time, 1 or more and below n.
        draws: how often, 2 or more.
        generator: on the CPU; chooses which.

    Raises:
        ValueError: nothing would be left of the truth, or nothing be set apart.
    """
    groups, n, d = truth.shape
    if not 0 < count < n:
        raise ValueError(f"of {n} true pictures of each kind, 1 to {n - 1} can be set apart, not {count}")
    found = []
    for _ in range(draws):
        order = torch.stack([torch.randperm(n, generator=generator) for _ in range(groups)])[:, :, None]
        mixed = truth.gather(1, order.expand(groups, n, d))
        found.append(frechet_distance(mixed[:, :count].reshape(-1, d), mixed[:, count:].reshape(-1, d)))
    values = torch.tensor(found, dtype=torch.float64)
    return float(values.mean()), float(values.std())


def jackknife_error(features: Tensor, truth: Tensor) -> float:
    """Return the standard error of the distance of features (n, d) to the truth: each left out in turn (Tukey 1958).

    A bootstrap would draw pictures twice, and the covariance of fewer different pictures is a smaller one.
    """
    count = len(features)
    if count < 3:
        return math.nan
    kept = torch.ones(count, dtype=torch.bool)
    left_out = []
    for index in range(count):
        kept[index] = False
        left_out.append(frechet_distance(features[kept], truth))
        kept[index] = True
    values = torch.tensor(left_out, dtype=torch.float64)
    return float(((count - 1) / count * (values - values.mean()).square().sum()).sqrt())


def _triangle(centred: Tensor) -> Tensor:
    """Return R with R^T R the covariance of centred features (n, d): (min(n, d), d)."""
    triangle: Tensor = torch.linalg.qr(centred, mode="r").R
    return triangle / math.sqrt(len(centred) - 1)
