"""Pictures for viewers: what they show, what they cost at most, and that a job comes out the same with and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from limbeck_protocol.messages import Finished, PreviewReady, ViewerCamera, WorkerProgress
from limbeck_protocol.recipe import Recipe, Settings
from limbeck_server import assembly, recipes, worker
from limbeck_server.distillation.trainer import Trainer
from limbeck_server.scene.cameras import orbit_views
from limbeck_server.viewer_pictures import (
    PREVIEW_BACKGROUND,
    PREVIEW_SIZE,
    SAVED_S,
    VIEWERS_SHARE,
    ViewerPictures,
    as_view,
    own_picture,
    viewer_picture,
)


def small_recipe(steps: int = 6) -> Recipe:
    small = Settings(
        steps=steps, mesh_resolution=24, texture_size=64, face_budget=200, field_resolution=24, threads=1, device="cpu"
    )
    return recipes.complete(Recipe(prompt="a red cube", preset="quick", prior="exact", settings=small))


def camera(azimuth_deg: float = 30.0, elevation_deg: float = 20.0, size: int = 48) -> ViewerCamera:
    view = as_view(orbit_views(torch.tensor([azimuth_deg]), torch.tensor([elevation_deg])))
    return ViewerCamera(camera_to_world=view.camera_to_world, lens=view.lens, size=size)


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    recipe = small_recipe()
    prior = assembly.load_prior(recipe, torch.device("cpu"))
    made = Trainer(prior, assembly.camera_rig(recipe), assembly.trainer_settings(recipe, prior))
    for _ in range(3):
        made.step()
    return made


# --- what they show ---


def test_from_the_jobs_own_camera_a_viewer_sees_the_jobs_own_picture(trainer: Trainer) -> None:
    own, seen = own_picture(trainer), viewer_picture(trainer, camera(size=PREVIEW_SIZE))
    assert seen.from_viewer
    assert not own.from_viewer
    assert own.view is not None
    assert np.allclose(own.view.camera_to_world, camera().camera_to_world)
    colour, opacity = seen.image[..., :3].astype(float) / 255, seen.image[..., 3:].astype(float) / 255
    assert opacity.max() > 0.9
    assert opacity[0, 0] == 0, "beside the object the scene shows through"
    assert (seen.image[..., :3] <= seen.image[..., 3:].astype(int) + 1).all(), "colours are multiplied by the opacity"
    assert np.abs(colour + (1 - opacity) * PREVIEW_BACKGROUND - own.image / 255).max() <= 1.5 / 255


@pytest.mark.parametrize("size", [16, 48, 256])
def test_pictures_have_the_size_that_was_asked_for(trainer: Trainer, size: int) -> None:
    assert viewer_picture(trainer, camera(size=size)).image.shape == (size, size, 4)


def test_a_shifted_lens_shows_a_part_of_the_picture_larger(trainer: Trainer) -> None:
    whole = camera(size=64)
    upper_right = whole.lens * 2 + np.array([0, 0.5, 0.5], np.float32)
    part = ViewerCamera(camera_to_world=whole.camera_to_world, lens=upper_right, size=32)
    quarter, image = viewer_picture(trainer, whole).image[:32, 32:], viewer_picture(trainer, part).image
    assert np.abs(quarter.astype(int) - image.astype(int)).max() <= 1


@pytest.mark.parametrize("distance", [0.1, 0.7, 100.0])
def test_cameras_inside_and_far_away_see_something_finite(trainer: Trainer, distance: float) -> None:
    views = orbit_views(torch.tensor([0.0]), torch.tensor([0.0]), distance=distance)
    lens = np.array([max(1.0, distance / 1.5), 0, 0], np.float32)
    seen = viewer_picture(trainer, ViewerCamera(camera_to_world=views.camera_to_world[0].numpy(), lens=lens))
    assert seen.image[..., 3].max() > 128


# --- what they leave alone ---


def state_of(trainer: Trainer) -> list[bytes]:
    tensors = [*trainer.field.state_dict().values(), *trainer.stage.occupancy.state_dict().values()]
    tensors += [trainer.generator.get_state(), torch.get_rng_state()]
    return [tensor.detach().cpu().numpy().tobytes() for tensor in tensors]


def test_a_picture_changes_neither_field_nor_generators(trainer: Trainer) -> None:
    before = state_of(trainer)
    viewer_picture(trainer, camera(140.0, -20.0))
    own_picture(trainer)
    assert state_of(trainer) == before
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in trainer.field.parameters())


def drive(folder: Path, viewer: Callable[[int], ViewerCamera | None]) -> tuple[str, list[Any]]:
    """Run a job as the executor does, and return its mesh's digest and its events."""
    steps = worker.run(small_recipe(25), folder)
    events: list[Any] = [next(steps)]
    while True:
        try:
            events.append(steps.send(viewer(len(events))))
        except StopIteration:
            break
    (finished,) = [event for event in events if isinstance(event, Finished)]
    return finished.metrics["mesh_digest"], events


def test_a_job_comes_out_the_same_with_and_without_a_viewer(tmp_path: Path) -> None:
    alone, events = drive(tmp_path / "alone", lambda _: None)
    assert not any(event.from_viewer for event in events if isinstance(event, PreviewReady))
    check_views(events)
    watched, events = drive(tmp_path / "watched", lambda n: camera(azimuth_deg=7.0 * n))
    seen = [event for event in events if isinstance(event, PreviewReady) and event.from_viewer]
    assert len(seen) >= 2
    assert watched == alone


def check_views(events: list[Any]) -> None:
    """Progress tells which view is being optimised: cameras of the orbit, another one at each step."""
    views = [e.view for e in events if isinstance(e, WorkerProgress) and e.progress.phase == "optimise"]
    assert len(views) >= 2
    for view in views:
        assert 1.9 < np.linalg.norm(view.camera_to_world[:3, 3]) < 2.2
    assert not np.array_equal(views[0].camera_to_world, views[-1].camera_to_world)


# --- what they cost ---


class FakeRenders:
    """A clock that the pictures themselves move on: what each takes is given."""

    def __init__(self) -> None:
        self.now = self.spent = self.longest = 0.0
        self.takes = 0.01
        self.sizes: list[int] = []

    def clock(self) -> float:
        return self.now

    def render(self, trainer: Any, viewer: ViewerCamera) -> PreviewReady:
        self.now += self.takes
        self.spent += self.takes
        self.longest = max(self.longest, self.takes)
        self.sizes.append(viewer.size)
        return PreviewReady(step=0, image=np.zeros((1, 1, 4), np.uint8), from_viewer=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.floats(0.0001, 1.0)), min_size=1, max_size=80))
def test_viewers_never_take_more_than_their_share(rounds: list[tuple[float, float]]) -> None:
    fake = FakeRenders()
    pictures, optimised = ViewerPictures(fake.render, fake.clock), 0.0
    for step_s, picture_s in rounds:
        fake.takes = picture_s
        optimised += step_s
        pictures.optimised(step_s)
        pictures.answer(None, camera())  # type: ignore[arg-type]  # the fake does not look at it
        # What one picture took beyond what the one before let expect is a debt, and is worked off before the next.
        assert fake.spent <= VIEWERS_SHARE * optimised + fake.longest + 1e-9


def test_a_steady_viewer_gets_the_whole_share_and_no_more() -> None:
    fake = FakeRenders()
    pictures = ViewerPictures(fake.render, fake.clock)
    for _ in range(2000):
        pictures.optimised(0.1)
        pictures.answer(None, camera())  # type: ignore[arg-type]
    assert 0.99 * VIEWERS_SHARE * 200 <= fake.spent <= VIEWERS_SHARE * 200 + fake.takes


def test_larger_pictures_come_less_often() -> None:
    counts = []
    for size, takes in ((48, 0.01), (96, 0.04)):
        fake = FakeRenders()
        fake.takes = takes
        pictures = ViewerPictures(fake.render, fake.clock)
        for _ in range(400):
            pictures.optimised(0.05)
            pictures.answer(None, camera(size=size))  # type: ignore[arg-type]
        counts.append(len(fake.sizes))
    assert counts[1] == pytest.approx(counts[0] / 4, rel=0.05)


def test_a_picture_that_costs_more_than_can_be_saved_up_comes_in_the_end() -> None:
    fake = FakeRenders()
    fake.takes = 8 * SAVED_S
    pictures = ViewerPictures(fake.render, fake.clock)
    for _ in range(1000):
        pictures.optimised(0.1)
        pictures.answer(None, camera())  # type: ignore[arg-type]
    assert fake.spent == pytest.approx(VIEWERS_SHARE * 100, abs=fake.takes)


def test_a_late_viewer_gets_no_burst() -> None:
    fake = FakeRenders()
    pictures = ViewerPictures(fake.render, fake.clock)
    pictures.optimised(1000.0)
    for _ in range(1000):
        pictures.answer(None, camera())  # type: ignore[arg-type]
    assert fake.spent <= SAVED_S + fake.takes


def test_each_camera_is_answered_once() -> None:
    fake = FakeRenders()
    pictures, one = ViewerPictures(fake.render, fake.clock), camera()
    pictures.optimised(10.0)
    assert pictures.answer(None, None) is None  # type: ignore[arg-type]
    assert pictures.answer(None, one) is not None  # type: ignore[arg-type]
    assert pictures.answer(None, one) is None  # type: ignore[arg-type]
    assert pictures.answer(None, camera()) is not None  # type: ignore[arg-type]
