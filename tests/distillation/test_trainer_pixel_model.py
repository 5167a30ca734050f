"""The loop on a network that diffuses pixels: no VAE between the picture and the prediction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.priors.stable_diffusion import load_stable_diffusion
from limbeck_server.scene.cameras import CameraRig, OrbitRange
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings

STEPS = 2


@pytest.mark.parametrize(
    ("loss", "parameters", "samples"),
    [
        ("sds", {}, 2),
        ("nfsd", {"threshold": 200.0}, 3),
        ("vsd", {"lora_rank": 2.0, "lora_learning_rate": 1e-4, "lora_warmup": 0.0}, 2),
    ],
)
def test_gradients_arrive_at_the_field(
    tiny_pixel_model: Path, loss: str, parameters: dict[str, float | str], samples: int
) -> None:
    torch.set_num_threads(1)
    prior = load_stable_diffusion(str(tiny_pixel_model), torch.device("cpu"), torch.float32)
    settings = TrainerSettings(
        prompt="a yellow duck",
        negative_prompt=prior.default_negative_prompt,
        loss=loss,
        loss_parameters=parameters,
        steps=STEPS,
        guidance_scale=5.0,
        views_per_step=1,
        render_size=((0.0, 16),),
        timestep_min=0.3,
        timestep_max=((0.0, 0.98),),
        weighting="noise_variance",
        learning_rate=0.01,
        background="random",
        shading="albedo",
        regularizers={},
        scene=FieldSettings(kind="voxels", resolution=12),
        rendering=RenderSettings(samples_per_ray=16),
        seed=1,
    )
    trainer = Trainer(prior, CameraRig(orbit=OrbitRange()), settings)
    for _ in range(STEPS):
        trainer.step()
        for name, parameter in trainer.field.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            assert float(parameter.grad.abs().max()) > 0, name
    assert prior.evaluations == samples * STEPS
