"""What every loss shares, in the loop: timesteps, guidance, Perp-Neg, clipping, backgrounds and shading."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.scene.cameras import CameraRig, OrbitRange
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings
from torch import Tensor

ORBIT = CameraRig(orbit=OrbitRange(elevation_deg=(-30.0, 50.0)))


class Watched:
    """A prior that writes down what it is asked, and answers like the one behind it."""

    def __init__(self, prior: ExactPrior) -> None:
        self._prior = prior
        self.timesteps: list[int] = []
        self.asked: list[dict[str, list[str]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        self.timesteps += timesteps.tolist()
        self.asked.append({branch: list(texts) for branch, texts in prompts.items()})
        return self._prior.predict_noise(noisy, timesteps, prompts)


@pytest.fixture(scope="module")
def cube_prior() -> ExactPrior:
    torch.set_num_threads(1)
    return ExactPrior(load_library({"cube": 240, "sphere": 48}, 32))


@pytest.fixture
def trainer(cube_prior: ExactPrior) -> Callable[..., Trainer]:
    def make(prior: Any = None, **changes: Any) -> Trainer:
        plain: dict[str, Any] = {
            "prompt": "a red cube",
            "negative_prompt": "",
            "loss": "sds",
            "steps": 6,
            "guidance_scale": 2.0,
            "views_per_step": 2,
            "render_size": ((0.0, 32),),
            "timestep_min": 0.02,
            "timestep_max": ((0.0, 0.98),),
            "weighting": "noise_variance",
            "learning_rate": 0.05,
            "background": "random",
            "shading": "albedo",
            "regularizers": {},
            "scene": FieldSettings(resolution=24),
            "rendering": RenderSettings(samples_per_ray=16),
            "seed": 3,
        }
        return Trainer(prior or cube_prior, ORBIT, TrainerSettings(**(plain | changes)))

    return make


def gradient_of(trainer: Trainer) -> Tensor:
    trainer.step()
    (values,) = (p.grad for p in trainer.field.parameters())
    assert values is not None
    return values.clone()


@pytest.mark.parametrize("kind", ["linear", "hifa", "dreamtime"])
def test_timesteps_fall_over_the_run(cube_prior: ExactPrior, trainer: Callable[..., Trainer], kind: str) -> None:
    watched = Watched(cube_prior)
    run = trainer(watched, timestep_schedule=kind)
    for _ in range(6):
        run.step()
    assert watched.timesteps[:2] == [980, 980]
    assert watched.timesteps[::2] == watched.timesteps[1::2]
    assert all(later < earlier for earlier, later in pairwise(watched.timesteps[::2]))


def test_outside_its_interval_guidance_makes_no_difference(trainer: Callable[..., Trainer]) -> None:
    early = {"timestep_min": 0.7, "guidance_interval": (0.0, 0.5)}
    plain, guided = (gradient_of(trainer(guidance_scale=scale, **early)) for scale in (1.0, 30.0))
    torch.testing.assert_close(plain, guided, rtol=1e-5, atol=1e-9)
    inside = gradient_of(trainer(guidance_scale=30.0, timestep_min=0.7, guidance_interval=(0.5, 1.0)))
    assert not torch.allclose(plain, inside, rtol=0.1)


def test_perp_neg_asks_for_two_opposites_a_view_and_only_where_it_is_on(
    cube_prior: ExactPrior, trainer: Callable[..., Trainer]
) -> None:
    off, on = Watched(cube_prior), Watched(cube_prior)
    plain, negated = gradient_of(trainer(off)), gradient_of(trainer(on, perp_neg=1.0))
    assert len(off.asked[0]) == 2
    assert len(on.asked[0]) == 4
    texts = [text for branch, row in on.asked[0].items() if branch not in off.asked[0] for text in row]
    assert sum(", front view" in text for text in texts) == 2
    assert sum(", left side view" in text or ", right side view" in text for text in texts) == 2
    assert all(text.startswith("a red cube, ") for text in texts)
    assert not torch.allclose(plain, negated, rtol=0.01)


def test_the_gradients_elements_are_clamped_on_a_schedule(trainer: Callable[..., Trainer]) -> None:
    free = trainer().step().loss
    clamped = trainer(gradient_clamp=((0.0, 1e-3), (0.5, 1e-3), (0.5, 1e6)))
    losses = [clamped.step().loss for _ in range(6)]
    assert all(loss <= 1e-3 < free for loss in losses[:3])
    assert losses[3] > 1e-3


def test_pixels_are_clipped_before_they_reach_the_field(trainer: Callable[..., Trainer]) -> None:
    free, clipped, loose = (gradient_of(trainer(pixel_clip=limit)) for limit in (None, 1e-7, 1e3))
    assert float(clipped.abs().sum()) < 1e-3 * float(free.abs().sum())
    assert torch.equal(free, loose)


@pytest.mark.parametrize("background", ["learned", "alternating"])
def test_the_environment_is_learned_and_one_seed_means_one_result(
    trainer: Callable[..., Trainer], background: str
) -> None:
    one, other = trainer(background=background), trainer(background=background)
    start = [p.detach().clone() for p in one.stage.environment.parameters()]
    for run in (one, other):
        for _ in range(4):
            run.step()
    ends = [list(run.stage.environment.parameters()) for run in (one, other)]
    assert any(not torch.equal(a, b) for a, b in zip(start, ends[0], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one.field.parameters(), other.field.parameters(), strict=True))


def test_mixed_shading_is_albedo_at_first_and_then_lit(trainer: Callable[..., Trainer]) -> None:
    mixed, lit = {"shading": "mixed", "lit_share": 1.0}, {"shading": "mixed", "albedo_until": 0.0, "lit_share": 1.0}
    unlit = gradient_of(trainer(shading="mixed", albedo_until=0.0, lit_share=0.0))
    assert torch.equal(gradient_of(trainer(**mixed, albedo_until=0.2)), unlit)
    assert not torch.equal(gradient_of(trainer(**lit, textureless_share=0.0)), unlit)
    colourless = gradient_of(trainer(**lit, textureless_share=1.0))
    assert float(colourless[..., 1:].abs().max()) == 0.0
    assert float(colourless[..., 0].abs().max()) > 0.0
