"""One step's gradient: what is drawn and when, the terms reported, the clamp, and what becomes of lost numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from limbeck_server.distillation.distil import DistillationSettings, distil
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.distillation.weighting import WEIGHTINGS
from limbeck_server.priors.prior import ParticleError
from limbeck_server.scene.cameras import CameraRig, OrbitRange
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings

HOW: dict[str, Any] = {
    "guidance_scale": 7.5,
    "timestep_min": 0.02,
    "timestep_max": ((0.0, 0.98), (1.0, 0.5)),
    "weighting": "noise_variance",
}


def how(loss: str, **changes: Any) -> DistillationSettings:
    return DistillationSettings(loss=loss, **(HOW | changes))


@pytest.fixture
def step(two_classes, exact_particles, subject_of, draw) -> Callable[..., Any]:
    """Return a function: settings -> one step on the same latents with the same seed."""
    subject = subject_of(draw(5, 1, 2, 2), reference=draw(5, 1, 2, 2))

    def taken(
        settings: DistillationSettings,
        share: float = 0.0,
        prior: Any = two_classes,
        seed: int = 1,
        generator: Any = None,
    ) -> Any:
        particle = exact_particles(two_classes, subject.latents) if settings.loss == "vsd" else None
        drawn_by = generator or torch.Generator().manual_seed(seed)
        return distil(prior, settings, subject, share, drawn_by, particle)

    return taken


@pytest.mark.parametrize("loss", LOSSES)
def test_one_seed_is_one_gradient(step, loss: str) -> None:
    assert torch.equal(step(how(loss)).gradient, step(how(loss)).gradient)
    if LOSSES[loss].route != "product":  # whose chains all start at the top
        assert not torch.equal(step(how(loss)).timesteps, step(how(loss), seed=2).timesteps)


def test_all_losses_are_compared_at_the_same_timesteps_and_noise(two_classes, step) -> None:
    """One seed draws timesteps, then noise, before a loss has its say."""
    timesteps = step(how("sds")).timesteps
    shown = two_classes.calls[-1].noisy
    for loss in LOSSES:
        before = len(two_classes.calls)
        assert torch.equal(step(how(loss)).timesteps, timesteps) or LOSSES[loss].route == "product"
        if LOSSES[loss].route in ("random", "paired"):
            assert torch.equal(two_classes.calls[before].noisy, shown), loss


@pytest.mark.parametrize(("share", "highest"), [(0.0, 980), (0.5, 740), (1.0, 500)])
def test_timesteps_keep_to_the_schedule_of_the_run(step, share: float, highest: int) -> None:
    drawn = torch.cat([step(how("sds"), share, seed=seed).timesteps for seed in range(200)])
    assert 20 <= int(drawn.min()) < 40
    assert highest - 30 < int(drawn.max()) <= highest
    fixed = step(how("sds", timestep_schedule="linear"), share).timesteps.tolist()
    assert fixed == [round(highest - (highest - 20) * share)] * 5


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_step_weighs_the_gradient_by_w_of_its_timestep(
    mixture_of, subject_of, generator, draw, weighting: str
) -> None:
    """On a point mass, where the gradient is alpha / sigma times the way to it."""
    mean = draw(1, 2, 2)
    prior = mixture_of({text: [(1.0, mean, 0.0)] for text in ("a", "")})
    x = draw(6, 1, 2, 2)
    done = distil(prior, how("sds", weighting=weighting), subject_of(x), 0.0, generator)
    alpha, sigma = prior.schedule.at(done.timesteps, x)
    written = {
        "noise_variance": sigma**2,
        "uniform": torch.ones_like(sigma),
        "signal_noise": alpha * sigma**2,
        "noise_to_signal": sigma / alpha,
    }
    torch.testing.assert_close(done.gradient, written[weighting] * alpha / sigma * (x - mean))


def test_what_is_left_out_has_its_default(step) -> None:
    assert how("csd").all_parameters() == {"negative_weight": 0.0}
    assert how("csd", loss_parameters={"negative_weight": 0.3}).all_parameters() == {"negative_weight": 0.3}
    assert torch.equal(step(how("nfsd")).gradient, step(how("nfsd", loss_parameters={"threshold": 200.0})).gradient)
    early, late = (step(how("nfsd", loss_parameters={"threshold": at})).gradient for at in (1000.0, 0.0))
    assert not torch.equal(early, late)


def test_the_clamp_holds_every_element_within_its_schedule(step) -> None:
    free = step(how("sds")).gradient
    assert free.abs().max() > 0.3
    for share, limit in ((0.0, 0.1), (0.5, 0.2), (1.0, 0.3)):
        clamp = {"gradient_clamp": ((0.0, 0.1), (1.0, 0.3)), "timestep_max": ((0.0, 0.98),)}
        clamped = step(how("sds", **clamp), share).gradient
        torch.testing.assert_close(clamped, free.clamp(-limit, limit))


def test_nfsd_reports_the_sizes_of_its_two_terms_whatever_their_weight(step) -> None:
    """Below the threshold `domain` is the empty prompt's answer, with the added noise in it."""
    fixed = {"timestep_min": 0.1, "timestep_max": ((0.0, 0.1),), "weighting": "uniform"}
    early = step(how("nfsd", **fixed))
    assert set(early.terms) == {"domain", "condition"}
    sds = step(how("sds", **fixed, guidance_scale=0.0)).gradient
    noise = step(how("nfsd", **fixed, guidance_scale=0.0)).gradient - sds
    assert early.terms["domain"] == pytest.approx(float((sds + noise).square().mean().sqrt()))
    delta_c = step(how("csd", **fixed, guidance_scale=1.0)).gradient
    assert early.terms["condition"] == pytest.approx(7.5 * float(delta_c.square().mean().sqrt()))
    weighted = step(how("nfsd", **(fixed | {"weighting": "noise_variance"})))
    assert weighted.terms == early.terms
    assert step(how("sds")).terms == {}


def test_lost_numbers_reach_the_trainer_whatever_the_clamp(two_classes, step) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(two_classes, name)

        def predict_noise(self, noisy: Any, timesteps: Any, prompts: Any) -> Any:
            answers = two_classes.predict_noise(noisy, timesteps, prompts)
            return {name: answer * float("nan") for name, answer in answers.items()}

    assert step(how("sds", gradient_clamp=((0.0, 1.0),)), prior=Broken()).gradient.isnan().all()


@pytest.fixture
def trainer(mixture_of, draw) -> Callable[..., Trainer]:
    """Return a function: loss -> a tiny run on a mixture's 2 x 2 pictures."""
    prior = mixture_of(
        {"a": [(1.0, draw(3, 2, 2), 0.5)], "": [(1.0, draw(3, 2, 2), 0.8)], "b": [(1.0, draw(3, 2, 2), 0.5)]}
    )
    settings: dict[str, Any] = HOW | {
        "prompt": "a",
        "negative_prompt": "b",
        "steps": 4,
        "views_per_step": 2,
        "render_size": ((0.0, 16),),
        "learning_rate": 0.01,
        "background": "grey",
        "shading": "albedo",
        "regularizers": {},
        "scene": FieldSettings(resolution=12),
        "rendering": RenderSettings(samples_per_ray=8),
        "seed": 0,
    }
    return lambda loss: Trainer(prior, CameraRig(orbit=OrbitRange()), TrainerSettings(loss=loss, **settings))


def test_the_trainer_trains_the_particle_model_after_each_step_and_says_how_it_went(trainer) -> None:
    run = trainer("vsd")
    assert run.step().terms == {"particle": 0.0}
    assert (run.particle.evaluations, run.particle.training_passes) == (2, 2)
    assert run.particle.renders.shape == (2, 3, 2, 2)


def test_a_particle_model_that_lost_its_numbers_has_diverged(trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer("vsd")

    def lost(*_: object) -> float:
        raise ParticleError("the particle model's error is not finite at its update 1. Lower its learning rate.")

    monkeypatch.setattr(run.particle, "train_step", lost)
    with pytest.raises(DivergedError, match=r"not finite at its update 1\. Lower its learning rate"):
        run.step()


def test_an_edit_without_a_start_is_refused(trainer) -> None:
    with pytest.raises(ValueError, match="'dds' edits something that exists, and no field was given"):
        trainer("dds")


FAR = object()


class FarGenerator:
    """A generator whose device is not that of the latents, as a seed's is on a GPU machine."""

    device = FAR

    def __init__(self) -> None:
        self.own = torch.Generator().manual_seed(1)


@pytest.mark.parametrize("loss", LOSSES)
def test_numbers_are_drawn_where_their_generator_lives(step, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    """A seed's generator is the CPU's on every machine; torch refuses to draw from it for another device."""
    drawn: list[str] = []

    def watched(draw: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def checked(*size: Any, generator: Any = None, **how_made: Any) -> torch.Tensor:
            assert how_made["device"] == FAR, "a draw on the generator's own device"
            how_made["device"] = "cpu"
            drawn.append(draw.__name__)
            return draw(*size, generator=generator.own, **how_made)

        return checked

    for name in ("randn", "rand", "randint"):
        monkeypatch.setattr(torch, name, watched(getattr(torch, name)))
    step(how(loss), generator=FarGenerator())
    assert drawn


@pytest.mark.parametrize("schedule", ["uniform", "linear"])
def test_msds_chains_start_at_the_upper_end_whatever_the_schedule(two_classes, step, schedule: str) -> None:
    settings = how("msd", timestep_min=0.02, timestep_max=((0.0, 0.9),), timestep_schedule=schedule)
    assert set(step(settings, share=0.7).timesteps.tolist()) == {900}


def test_msd_reports_how_far_it_has_to_go_whatever_the_weight(step) -> None:
    free = step(how("msd", weighting="uniform"))
    assert free.terms["distance"] == pytest.approx(float(free.gradient.square().mean().sqrt()))
    assert step(how("msd", weighting="noise_to_signal", gradient_clamp=((0.0, 0.01),))).terms == free.terms
