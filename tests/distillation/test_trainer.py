"""The loop on the exact prior: repeatable, on its schedules, undisturbed by whoever looks on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.noising import timestep_bounds
from limbeck_server.distillation.schedules import piecewise_linear
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior, degraded_views
from limbeck_server.scene.cameras import CameraRig, OrbitRange, Views, orbit_views
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings
from torch import Tensor

ORBIT = CameraRig(orbit=OrbitRange())
SMALL_HASH_GRID = FieldSettings(
    kind="hash_grid", resolution=32, hash_levels=2, hash_log2_table_size=12, hidden_width=16
)
DRESSED = {
    "steps": 5,
    "rendering": RenderSettings(samples_per_ray=12),
    "scene": SMALL_HASH_GRID,
    "shading": "lambert",
    "learning_rate": 0.01,
    "regularizers": {"orientation": ((0.0, 0.1),), "sparsity": ((0.0, 0.1),)},
}
FRONT_LEFT = orbit_views(torch.tensor([30.0]), torch.tensor([20.0]))


class Watched:
    """A prior that writes down what it is asked, and answers like the one behind it."""

    def __init__(self, prior: ExactPrior) -> None:
        self._prior = prior
        self.sizes: list[int] = []
        self.timesteps: list[int] = []
        self.asked: list[dict[str, list[str]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)

    def encode_images(self, images: Tensor) -> Tensor:
        self.sizes.append(images.shape[-1])
        return self._prior.encode_images(images)

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        self.timesteps += timesteps.tolist()
        self.asked.append({branch: list(texts) for branch, texts in prompts.items()})
        return self._prior.predict_noise(noisy, timesteps, prompts)


@pytest.fixture(scope="module")
def cube_prior() -> ExactPrior:
    """The exact prior over a few views of three shapes, at 32 pixels."""
    torch.set_num_threads(1)
    library = load_library({"cube": 240, "sphere": 48, "duck": 48}, 32)
    return ExactPrior(library, degraded_views(library))


@pytest.fixture
def settings() -> Callable[..., TrainerSettings]:
    def make(**changes: Any) -> TrainerSettings:
        plain: dict[str, Any] = {
            "prompt": "a red cube",
            "negative_prompt": ExactPrior.default_negative_prompt,
            "loss": "sds",
            "loss_parameters": {},
            "steps": 12,
            "guidance_scale": 2.0,
            "views_per_step": 1,
            "render_size": ((0.0, 32),),
            "timestep_min": 0.02,
            "timestep_max": ((0.0, 0.98), (1.0, 0.5)),
            "weighting": "noise_variance",
            "learning_rate": 0.05,
            "background": "random",
            "shading": "albedo",
            "regularizers": {},
            "scene": FieldSettings(resolution=24),
            "rendering": RenderSettings(samples_per_ray=24),
            "seed": 3,
        }
        return TrainerSettings(**(plain | changes))

    return make


def trained(trainer: Trainer, steps: int | None = None) -> Trainer:
    for _ in range(trainer.settings.steps if steps is None else steps):
        trainer.step()
    return trainer


def same(one: Trainer, other: Trainer) -> bool:
    pairs = zip(one.field.parameters(), other.field.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("changes", [{}, DRESSED], ids=["voxels", "hash-grid-lambert"])
def test_one_seed_means_one_result_whatever_the_global_generator_says(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings], changes: dict[str, Any]
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        one = trained(Trainer(cube_prior, ORBIT, settings(**changes)))
        assert torch.equal(torch.random.get_rng_state(), before)
        torch.manual_seed(2)
        two = trained(Trainer(cube_prior, ORBIT, settings(**changes)))
    assert same(one, two)
    assert not same(one, trained(Trainer(cube_prior, ORBIT, settings(**changes, seed=4))))


@pytest.mark.parametrize("changes", [{}, DRESSED], ids=["voxels", "hash-grid-lambert"])
def test_previews_never_change_the_result(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings], changes: dict[str, Any]
) -> None:
    unseen = trained(Trainer(cube_prior, ORBIT, settings(**changes)))
    watched = Trainer(cube_prior, ORBIT, settings(**changes))
    while watched.steps_done < watched.settings.steps:
        watched.render_still(FRONT_LEFT, 48)
        watched.step()
        watched.render_still(FRONT_LEFT, 16, background=torch.rand(1, 3))
    assert same(unseen, watched)


def test_a_still_is_the_same_however_often_it_is_taken(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    trainer = trained(Trainer(cube_prior, ORBIT, settings(**DRESSED)), 2)
    state = trainer.generator.get_state()
    first, second = (trainer.render_still(FRONT_LEFT, 24) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert not first.image.requires_grad
    assert torch.equal(trainer.generator.get_state(), state)
    # Grey where nothing is seen, unless another colour is asked for.
    assert first.image[0, :, 0, 0].tolist() == pytest.approx([0.5] * 3, abs=1e-3)
    red = trainer.render_still(FRONT_LEFT, 24, background=torch.tensor([[1.0, 0.0, 0.0]]))
    assert red.image[0, :, 0, 0].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-3)


@pytest.mark.parametrize("loss", ["sds", "nfsd"])
def test_the_loss_falls_and_the_object_turns_red(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings], loss: str
) -> None:
    # At one noise level only, so that the loss of one step can be compared with another's.
    changes = {"loss": loss, "steps": 60, "timestep_min": 0.3, "timestep_max": ((0.0, 0.3),)}
    trainer = Trainer(cube_prior, ORBIT, settings(**changes))
    losses = [trainer.step().loss for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    still = trainer.render_still(FRONT_LEFT, 32)
    red, green, blue = (still.colour.sum(dim=(0, 2, 3)) / still.opacity.sum()).tolist()
    assert red > 0.55
    assert max(green, blue) < red - 0.3


def test_reports_count_from_one_and_evaluations_are_counted(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    before = cube_prior.evaluations
    trainer = Trainer(cube_prior, ORBIT, settings(views_per_step=3))
    assert [trainer.step().step for _ in range(2)] == [1, 2]
    assert trainer.steps_done == 2
    assert cube_prior.evaluations - before == 2 * 3 * 2


def test_the_render_size_follows_its_schedule(cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]) -> None:
    prior = Watched(cube_prior)
    trained(Trainer(prior, ORBIT, settings(steps=8, render_size=((0.0, 16), (0.25, 32), (0.75, 64)))))
    assert prior.sizes == [16, 16, 32, 32, 32, 32, 64, 64]


def test_timesteps_stay_within_their_annealed_bounds(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    prior, steps, ceiling = Watched(cube_prior), 30, ((0.0, 0.98), (0.5, 0.1), (1.0, 0.1))
    trained(Trainer(prior, ORBIT, settings(steps=steps, views_per_step=4, timestep_max=ceiling)))
    drawn = [prior.timesteps[4 * step : 4 * step + 4] for step in range(steps)]
    bounds = [timestep_bounds(0.02, piecewise_linear(ceiling, step / steps), 1000) for step in range(steps)]
    assert all(low <= t <= high for (low, high), batch in zip(bounds, drawn, strict=True) for t in batch)
    assert max(t for batch in drawn[:8] for t in batch) > 500
    late = [t for batch in drawn[15:] for t in batch]
    assert max(late) <= 100
    assert max(late) - min(late) > 50


def test_a_camera_says_its_own_suffix_and_an_empty_one_lets_its_place_speak(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    views = orbit_views(torch.tensor([0.0, 90.0]), torch.tensor([15.0, 40.0]))
    rig = CameraRig(cameras=views, camera_weight=(1.0, 1.0), camera_suffix=(", back view", ""))
    prior = Watched(cube_prior)
    trained(Trainer(prior, rig, settings(steps=12)))
    said = {asked["conditional"][0] for asked in prior.asked}
    assert said == {"a red cube, back view", "a red cube" + cube_prior.view_suffix(90.0, 40.0)}
    assert all(asked["unconditional"] == [""] for asked in prior.asked)


def test_only_the_branches_that_the_loss_needs_are_asked_for(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    for bounds, negative in (((0.02, 0.19), False), ((0.21, 0.9), True)):
        prior = Watched(cube_prior)
        low, high = bounds
        changes = {"timestep_min": low, "timestep_max": ((0.0, high),), "loss_parameters": {"threshold": 200.0}}
        trained(Trainer(prior, ORBIT, settings(loss="nfsd", steps=3, **changes)))
        expected = {"conditional", "unconditional"} | ({"negative"} if negative else set())
        assert all(set(asked) == expected for asked in prior.asked)
        if negative:
            assert all(asked["negative"] == [ExactPrior.default_negative_prompt] for asked in prior.asked)


@pytest.mark.parametrize("name", ["orientation", "sparsity", "opaqueness", "total_variation"])
def test_a_regulariser_acts_from_where_its_schedule_lets_it(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings], name: str
) -> None:
    plain, late = (
        Trainer(cube_prior, ORBIT, settings(steps=4, regularizers=regularizers))
        for regularizers in ({}, {name: ((0.0, 0.0), (0.5, 0.0), (0.5, 10.0))})
    )
    assert same(trained(plain, 2), trained(late, 2))
    assert not same(trained(plain, 1), trained(late, 1))


def test_total_variation_of_a_hash_grid_is_refused(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    changes = {"scene": SMALL_HASH_GRID, "regularizers": {"total_variation": ((0.0, 1.0),)}}
    with pytest.raises(TypeError, match="hash grid has none"):
        Trainer(cube_prior, ORBIT, settings(**changes)).step()


@pytest.mark.parametrize("channel", [0, 1], ids=["density", "colour"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_scene_that_lost_its_numbers_stops_the_run(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings], channel: int, value: float
) -> None:
    trainer = trained(Trainer(cube_prior, ORBIT, settings(steps=40)), 1)
    with torch.no_grad():
        spot = trainer.field.grid.values[8:16, 8:16, 8:16, channel]
        spot.fill_(value)
        if channel == 1:
            spot.sub_(value)  # infinity less infinity: a sigmoid would make something finite of infinity itself
    with pytest.raises(DivergedError, match="Lower the learning rate"):
        trained(trainer, 10)


def test_views_are_drawn_from_the_whole_rig(cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]) -> None:
    above = orbit_views(torch.tensor([0.0]), torch.tensor([45.0]))
    rig = CameraRig(
        orbit=OrbitRange(weight=1.0),
        cameras=Views(above.camera_to_world, above.lens),
        camera_weight=(1.0,),
        camera_suffix=(", front view",),
    )
    prior = Watched(cube_prior)
    trained(Trainer(prior, rig, settings(steps=4, views_per_step=8)))
    said = [text for asked in prior.asked for text in asked["conditional"]]
    assert 8 <= said.count("a red cube, front view") <= 24


@pytest.mark.parametrize("scene", [FieldSettings(resolution=24), SMALL_HASH_GRID], ids=["voxels", "hash-grid"])
def test_an_edit_to_the_same_prompt_changes_no_bit(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings], scene: FieldSettings
) -> None:
    """DDS's zero is "no change": Adam would make full steps of the smallest difference between field and reference."""
    start = trained(Trainer(cube_prior, ORBIT, settings(scene=scene)), 10).field
    changes = {"loss": "dds", "start_prompt": "a red cube", "weighting": "uniform", "scene": scene, "seed": 9}
    edit = Trainer(cube_prior, ORBIT, settings(**changes), start)
    assert [edit.step().loss for _ in range(10)] == [0.0] * 10
    assert all(torch.equal(a, b) for a, b in zip(edit.field.parameters(), start.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in edit.field.parameters())
    other = Trainer(cube_prior, ORBIT, settings(**{**changes, "prompt": "a blue cube"}), start)
    assert other.step().loss > 0.0


def test_an_edit_without_something_to_edit_is_refused(
    cube_prior: ExactPrior, settings: Callable[..., TrainerSettings]
) -> None:
    with pytest.raises(ValueError, match="edits something that exists"):
        Trainer(cube_prior, ORBIT, settings(loss="dds"))
