"""Numbers that change over a run, as points (share of the run 0..1, value). No torch here.

Before the first point its value holds, after the last point the last one's. Two points at the same share make a jump;
the later one holds from there on.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

Points = Sequence[tuple[float, float]]


def piecewise_linear(points: Points, share: float) -> float:
    """Return the value at `share`, on the straight lines between the points.

    Raises:
        ValueError: the points are no schedule, or the share is not a number.

    >>> piecewise_linear([(0.0, 10.0), (0.5, 20.0)], 0.25)
    15.0
    """
    reached = _points_reached(points, share)
    if reached == 0:
        return float(points[0][1])
    if reached == len(points):
        return float(points[-1][1])
    (start, low), (end, high) = points[reached - 1], points[reached]
    return low + (high - low) * (share - start) / (end - start)


def step_schedule(points: Points, share: float) -> float:
    """Return the value of the last point that `share` has reached.

    Raises:
        ValueError: the points are no schedule, or the share is not a number.

    >>> step_schedule([(0.0, 64.0), (0.2, 512.0)], 0.2)
    512.0
    """
    return float(points[max(_points_reached(points, share) - 1, 0)][1])


def _points_reached(points: Points, share: float) -> int:
    """Return how many points lie at or before `share`, once the points have been found to be a schedule."""
    if not points:
        raise ValueError("a schedule needs at least one point (share of the run, value), got none")
    if not math.isfinite(share):
        raise ValueError(f"the share of the run must be a number, got {share}")
    shares = [point[0] for point in points]
    if not all(0.0 <= at <= 1.0 for at in shares):
        raise ValueError(f"a schedule's shares of the run must lie in 0..1, got {shares}")
    if any(later < earlier for earlier, later in pairwise(shares)):
        raise ValueError(f"a schedule's points must be sorted by their share of the run, got {shares}")
    if not all(math.isfinite(point[1]) for point in points):
        raise ValueError(f"a schedule's values must be finite, got {[point[1] for point in points]}")
    return bisect_right(shares, share)
