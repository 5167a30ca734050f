"""The loop on a Stable Diffusion of random weights: gradients arrive at the field, no sample is in vain."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.priors.prompts import NEGATIVE_PROMPT
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.scene.cameras import CameraRig, OrbitRange, orbit_views
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings

STEPS = 5
ORBIT = CameraRig(orbit=OrbitRange())
CAMERAS = CameraRig(
    cameras=orbit_views(torch.tensor([0.0, 120.0]), torch.tensor([10.0, 40.0])),
    camera_weight=(1.0, 1.0),
    camera_suffix=(", front side view", ""),
    position_jitter=0.01,
)
FIELDS = {
    "voxels": FieldSettings(resolution=16),
    "hash_grid": FieldSettings(kind="hash_grid", resolution=32, hash_levels=2, hash_log2_table_size=12),
}
THRESHOLD = 200
BELOW, ABOVE = (0.02, 0.19), (0.21, 0.98)
ALL_REGULARIZERS = {
    "orientation": ((0.0, 0.1), (0.5, 1.0)),
    "sparsity": ((0.0, 1.0),),
    "opaqueness": ((0.0, 0.0), (0.4, 0.0), (0.4, 1.0)),
}


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def prior(request: pytest.FixtureRequest, tiny_stable_diffusion: Callable[[str], Path]) -> StableDiffusionPrior:
    torch.set_num_threads(1)
    folder = tiny_stable_diffusion(request.param)
    loaded = load_stable_diffusion(str(folder), torch.device("cpu"), torch.float32)
    assert loaded.prediction_type == request.param
    return loaded


def settings(loss: str, field: str = "voxels", bounds: tuple[float, float] = ABOVE, **changes: Any) -> TrainerSettings:
    plain: dict[str, Any] = {
        "prompt": "a yellow duck",
        "negative_prompt": NEGATIVE_PROMPT,
        "loss": loss,
        "loss_parameters": {"threshold": float(THRESHOLD)} if loss == "nfsd" else {},
        "steps": STEPS,
        "guidance_scale": 7.5,
        "views_per_step": 1,
        "render_size": ((0.0, 16),),
        "timestep_min": bounds[0],
        "timestep_max": ((0.0, bounds[1]),),
        "weighting": "noise_variance",
        "learning_rate": 0.01,
        "background": "random",
        "shading": "lambert",
        "regularizers": {},
        "scene": FIELDS[field],
        "rendering": RenderSettings(samples_per_ray=16),
        "seed": 1,
    }
    return TrainerSettings(**(plain | changes))


@pytest.fixture
def unet_batches(prior: StableDiffusionPrior) -> list[int]:
    """How many samples each call of the UNet was given, counted at the network itself."""
    batches: list[int] = []
    unet = prior._networks.unet
    handle = unet.register_forward_pre_hook(lambda module, inputs: batches.append(len(inputs[0])))
    yield batches
    handle.remove()


def assert_gradients_arrived(trainer: Trainer) -> None:
    for name, parameter in trainer.field.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize("field", list(FIELDS))
@pytest.mark.parametrize(
    ("loss", "bounds", "samples"),
    [("sds", ABOVE, 2), ("sds", BELOW, 2), ("nfsd", ABOVE, 3), ("nfsd", BELOW, 2)],
    ids=["sds", "sds-low-t", "nfsd-above", "nfsd-below"],
)
def test_five_steps_bring_gradients_for_the_published_number_of_samples(
    prior: StableDiffusionPrior,
    unet_batches: list[int],
    field: str,
    loss: str,
    bounds: tuple[float, float],
    samples: int,
) -> None:
    trainer = Trainer(prior, ORBIT, settings(loss, field, bounds))
    before = prior.evaluations
    for _ in range(STEPS):
        assert trainer.step().loss > 0
        assert_gradients_arrived(trainer)
    assert unet_batches == [samples] * STEPS
    assert prior.evaluations - before == samples * STEPS


@pytest.mark.parametrize("loss", ["sds", "nfsd"])
def test_a_batch_of_views_is_one_call(prior: StableDiffusionPrior, unet_batches: list[int], loss: str) -> None:
    trainer = Trainer(prior, ORBIT, settings(loss, views_per_step=4))
    trainer.step()
    assert unet_batches == [4 * (2 if loss == "sds" else 3)]


@pytest.mark.parametrize("field", list(FIELDS))
@pytest.mark.parametrize("loss", ["sds", "nfsd"])
def test_explicit_cameras_and_every_regulariser_keep_the_gradients_finite(
    prior: StableDiffusionPrior, field: str, loss: str
) -> None:
    trainer = Trainer(prior, CAMERAS, settings(loss, field, views_per_step=2, regularizers=ALL_REGULARIZERS))
    for _ in range(STEPS):
        trainer.step()
        assert_gradients_arrived(trainer)
    # The suffix is in the prompt that was encoded, and the other camera's place spoke for itself.
    assert {"a yellow duck, front side view", "a yellow duck, side view"} <= set(prior._embeddings)


def test_the_networks_stay_as_they_were(prior: StableDiffusionPrior) -> None:
    networks = (prior._networks.unet, prior._networks.vae, prior._networks.text_encoder)
    before = [parameter.clone() for network in networks for parameter in network.parameters()]
    Trainer(prior, ORBIT, settings("sds")).step()
    after = [parameter for network in networks for parameter in network.parameters()]
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_prior_that_answers_with_infinity_stops_the_run_and_says_so(prior: StableDiffusionPrior) -> None:
    last = prior._networks.unet.conv_out.bias
    with torch.no_grad():
        kept = last.clone()
        last.fill_(float("inf"))
        try:
            with torch.enable_grad(), pytest.raises(DivergedError, match="the prior's answer is what broke"):
                Trainer(prior, ORBIT, settings("sds")).step()
        finally:
            last.copy_(kept)
