"""Pictures by distillation: the step, its independence of other pictures, and that an edit without a change is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from limbeck_server.distillation.distil import distil
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.picture import (
    PictureSettings,
    PictureStep,
    descend,
    edit_picture,
    optimise_picture,
    picture_subject,
)
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior, degraded_views

SETTINGS = PictureSettings(
    loss="sds",
    guidance_scale=2.0,
    timestep_min=0.02,
    timestep_max=((0.0, 0.98),),
    weighting="noise_variance",
    steps=3,
    learning_rate=0.1,
    optimizer="sgd",
)
DDS = replace(SETTINGS, loss="dds", weighting="uniform", guidance_scale=1.0, steps=60, learning_rate=0.2)


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> ExactPrior:
    library = load_library({"cube": 24, "sphere": 12}, 16, tmp_path_factory.mktemp("views"))
    return ExactPrior(library, degraded_views(library, 4))


@pytest.fixture
def cube(prior: ExactPrior) -> Callable[[str], torch.Tensor]:
    """The latents of a cube of that colour: the nearest stored picture of a blank one."""

    def make(text: str) -> torch.Tensor:
        return prior.denoise_at(torch.zeros(1, 3, 16, 16), torch.tensor([0.3]), [text])

    return make


def test_one_step_of_gradient_descent_is_the_gradient_times_the_rate(prior: ExactPrior) -> None:
    start = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    one = replace(SETTINGS, steps=1)
    found = optimise_picture(prior, one, "a red cube", 16, start=start)
    subject = picture_subject(prior, start, "a red cube")
    gradient = distil(prior, one, subject, 0.0, torch.Generator().manual_seed(0)).gradient
    torch.testing.assert_close(found, start - 0.1 * gradient)


def test_the_same_seed_gives_the_same_picture_and_another_another(prior: ExactPrior) -> None:
    first, again, other = (
        optimise_picture(prior, replace(SETTINGS, seed=seed), "a red cube", 16) for seed in (0, 0, 1)
    )
    assert first.shape == (1, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_who_looks_on_is_told_of_every_step(prior: ExactPrior) -> None:
    told: list[PictureStep] = []
    optimise_picture(prior, SETTINGS, "a red cube", 16, on_step=told.append)
    assert [step.step for step in told] == [1, 2, 3]
    torch.testing.assert_close(told[1].latents, told[0].latents - 0.1 * told[0].distilled.gradient)
    assert told[0].loss == pytest.approx(float(told[0].distilled.gradient.square().mean().sqrt()))


def test_adam_forgets_the_gradient_s_size(prior: ExactPrior) -> None:
    start = torch.zeros(1, 3, 16, 16)
    found = optimise_picture(prior, replace(SETTINGS, optimizer="adam", steps=1), "a red cube", 16, start=start)
    moved = found[found != 0].abs()
    assert len(moved) > 700
    assert moved.median() == pytest.approx(0.1, rel=1e-3)


def test_an_edit_to_the_same_prompt_changes_nothing(prior: ExactPrior, cube: Callable[[str], torch.Tensor]) -> None:
    latents = cube("a red cube")
    found = edit_picture(prior, replace(DDS, steps=3), latents, "a red cube", "a red cube")
    assert torch.equal(found, latents)


def test_an_edit_of_the_colour_makes_red_blue(prior: ExactPrior, cube: Callable[[str], torch.Tensor]) -> None:
    latents = cube("a red cube")
    found = edit_picture(prior, DDS, latents, "a blue cube", "a red cube")
    centre = found[0, :, 7:9, 7:9].mean(dim=(1, 2))
    assert latents[0, 0, 8, 8] > latents[0, 2, 8, 8]
    assert centre[2] > centre[0] + 0.3
    corner = (found - latents)[0, :, 0, 0].abs().max()
    assert corner < 0.2 * (found - latents).abs().max()


def test_a_loss_in_the_wrong_place_is_refused(prior: ExactPrior) -> None:
    with pytest.raises(ValueError, match="edits a picture that exists"):
        optimise_picture(prior, DDS, "a red cube", 16)
    with pytest.raises(ValueError, match="compares with a reference"):
        edit_picture(prior, SETTINGS, torch.zeros(1, 3, 16, 16), "a blue cube", "a red cube")


def test_an_unknown_optimizer_is_refused_with_those_there_are(prior: ExactPrior) -> None:
    with pytest.raises(ValueError, match="adam, sgd"):
        optimise_picture(prior, replace(SETTINGS, optimizer="lion"), "a red cube", 16)


def test_a_gradient_that_is_not_finite_stops_the_run(prior: ExactPrior) -> None:
    start = torch.zeros(1, 3, 16, 16)
    subject = picture_subject(prior, start, "a red cube")
    fine = distil(prior, SETTINGS, subject, 0.0, torch.Generator().manual_seed(0))
    with pytest.raises(DivergedError, match="step 0"):
        descend(start, lambda latents, share: replace(fine, gradient=fine.gradient / 0.0), SETTINGS)
