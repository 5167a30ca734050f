"""Timestep schedules: exact ends, the papers' formulas, and draws from the generator alone."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from limbeck_server.distillation.noising import draw_timesteps
from limbeck_server.distillation.timesteps import TIMESTEP_SCHEDULES, choose_timesteps, dreamtime_weights
from limbeck_server.priors.prior import NoiseSchedule

SCHEDULE = NoiseSchedule.stable_diffusion()
FALLING = [name for name in TIMESTEP_SCHEDULES if name != "uniform"]


def choose(kind: str, share: float, lowest: int = 20, highest: int = 980, views: int = 1, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    timesteps = choose_timesteps(kind, lowest, highest, views, share, SCHEDULE, generator)
    assert timesteps.dtype == torch.int64
    assert timesteps.shape == (views,)
    return timesteps.tolist()


def test_uniform_draws_what_it_always_drew() -> None:
    drawn = draw_timesteps(20, 980, 6, torch.Generator().manual_seed(3))
    assert choose("uniform", 0.4, views=6, seed=3) == drawn.tolist()


@pytest.mark.parametrize("kind", FALLING)
def test_falling_schedules_go_from_the_highest_to_the_lowest_and_never_rise(kind: str) -> None:
    run = [choose(kind, step / 400)[0] for step in range(401)]
    assert run[0] == 980
    assert run[-1] == 20
    assert all(later <= earlier for earlier, later in pairwise(run))


@pytest.mark.parametrize("kind", FALLING)
def test_falling_schedules_give_all_views_the_same_and_draw_nothing(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    before = generator.get_state()
    timesteps = choose_timesteps(kind, 20, 980, 3, 0.3, SCHEDULE, generator)
    assert len(set(timesteps.tolist())) == 1
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize("kind", TIMESTEP_SCHEDULES)
def test_a_range_of_one_timestep_leaves_no_choice(kind: str) -> None:
    assert choose(kind, 0.5, lowest=300, highest=300, views=2) == [300, 300]


def test_linear_and_hifa_follow_their_formulas() -> None:
    # SDI: 980 -> 250 over the run. HiFA: the square root of the share.
    assert choose("linear", 0.5, lowest=250) == [615]
    assert choose("hifa", 0.25) == [500]
    for share in (0.1, 0.37, 0.9):
        assert choose("hifa", share) == [round(980 - 960 * math.sqrt(share))]


def test_dreamtime_weights_are_the_papers_product_normalised_over_the_range() -> None:
    alpha_bar = SCHEDULE.signal_scales**2

    def unnormalised(t: int) -> float:
        profile = 1.0
        if t > 800:
            profile = math.exp(-((t - 800) ** 2) / (2 * 300**2))
        elif t < 500:
            profile = math.exp(-((t - 500) ** 2) / (2 * 100**2))
        return math.sqrt((1 - float(alpha_bar[t])) / float(alpha_bar[t])) * profile

    weights = dreamtime_weights(SCHEDULE, 20, 980)
    expected = torch.tensor([unnormalised(t) for t in range(20, 981)], dtype=torch.float64)
    torch.testing.assert_close(weights, expected / expected.sum(), rtol=1e-12, atol=0)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("lowest", "highest"), [(20, 980), (0, 999), (250, 600)])
def test_dreamtime_has_used_up_as_much_weight_as_of_the_run(lowest: int, highest: int) -> None:
    weights = dreamtime_weights(SCHEDULE, lowest, highest)
    for share in torch.linspace(0, 1, 41).tolist():
        (t,) = choose("dreamtime", share, lowest, highest)
        reached = float(weights[t - lowest :].sum())
        # The nearest of the cumulative weights: no other timestep comes closer.
        others = weights.flip(0).cumsum(0)
        assert abs(reached - share) == pytest.approx(float((others - share).abs().min()), abs=1e-12)


def test_dreamtime_spends_most_steps_where_coarse_shape_becomes_content() -> None:
    run = [choose("dreamtime", step / 1000)[0] for step in range(1000)]
    evenly = [choose("linear", step / 1000)[0] for step in range(1000)]
    share_on_plateau = sum(500 <= t <= 800 for t in run) / 1000
    assert share_on_plateau == pytest.approx(float(dreamtime_weights(SCHEDULE, 20, 980)[480:781].sum()), abs=0.005)
    assert sum(t < 300 for t in run) < 0.05 * sum(t < 300 for t in evenly)


def test_dreamtime_keeps_its_shares_of_another_schedule() -> None:
    # Every fourth timestep of Stable Diffusion's schedule: the plateau lies at 125..200 of 250.
    coarse = NoiseSchedule(SCHEDULE.signal_scales[::4], SCHEDULE.noise_stds[::4])
    generator = torch.Generator()
    for share in (0.1, 0.5, 0.9):
        few = choose_timesteps("dreamtime", 0, 249, 1, share, coarse, generator)
        many = choose_timesteps("dreamtime", 0, 999, 1, share, SCHEDULE, generator)
        assert int(few) == pytest.approx(int(many) / 4, abs=1.5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "cosine"}, "no timestep schedule 'cosine'; there are: uniform, linear, hifa, dreamtime"),
        ({"lowest": 500, "highest": 499}, "got 500 and 499"),
        ({"lowest": -1}, "0 <= lowest"),
        ({"highest": 1000}, "highest < 1000"),
        ({"share": 1.5}, r"must lie in 0\.\.1, got 1.5"),
        ({"share": float("nan")}, "got nan"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        choose(**({"kind": "linear", "share": 0.5} | changes))


def test_the_names_are_listed_without_torch() -> None:
    program = "import sys; import limbeck_server.distillation.timesteps; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
