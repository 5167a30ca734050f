"""The study of the bandwidth: its ends do what MSD's Fig. 6 says, on a small world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.studies import bandwidth


@pytest.fixture(scope="module")
def found(small_world: ExactPrior, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("bandwidth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bandwidth, "QUICK_STEPS", 20)
        return bandwidth.run(quick=True, seed=0, out=out, say=lambda _: None, size=16, prior=small_world), out


def drawn(found: dict[str, Any], reading: str, width: float) -> list[dict[str, Any]]:
    return [p for p in found["draws"] if (p["reading"], p["bandwidth"]) == (reading, width)]


def test_figures_and_report_are_there(found: tuple[dict[str, Any], Path]) -> None:
    result, out = found
    assert sorted(path.name for path in out.iterdir()) == ["bandwidth-sweep.png", "bandwidth.png"]
    text = bandwidth.report(result)
    assert all(word in text for word in (*bandwidth.READINGS, "Choices", "bandwidth 1000", "bandwidth 0.01"))


def test_without_influence_every_reading_draws_as_widely_at_every_moment(found: tuple[dict[str, Any], Path]) -> None:
    for reading in bandwidth.READINGS:
        spreads = [p["spread"] for p in drawn(found[0], reading, 1e3)]
        assert spreads == pytest.approx([spreads[0]] * len(spreads), rel=0.05)
        assert spreads[0] > 0.1


def test_the_narrowest_kernel_draws_the_same_y_whatever_the_noise(found: tuple[dict[str, Any], Path]) -> None:
    for point in drawn(found[0], "product, as distance", 1e-2):
        assert point["spread"] < 0.01


def test_y_comes_nearer_as_the_kernel_narrows(found: tuple[dict[str, Any], Path]) -> None:
    for reading in bandwidth.READINGS:
        wide, narrow = (drawn(found[0], reading, width) for width in (1e3, 1e-2))
        assert all(n["distance"] < w["distance"] for n, w in zip(narrow, wide, strict=True))


def test_ten_is_an_influence_in_timesteps_and_hardly_any_as_a_distance(found: tuple[dict[str, Any], Path]) -> None:
    in_timesteps, as_distance, free = (
        drawn(found[0], reading, width)[-1]["spread"]
        for reading, width in (
            ("splitting, in timesteps", 10.0),
            ("splitting, as distance", 10.0),
            ("splitting, as distance", 1e3),
        )
    )
    assert in_timesteps < 0.6 * free
    assert as_distance > 0.6 * free
