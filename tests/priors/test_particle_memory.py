"""VSD's second model shares the first one's weights: a step needs hardly more memory than one of SDS."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.scene.cameras import CameraRig, OrbitRange
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class AllocatedBytes(TorchDispatchMode):
    """What tensors made within the block take at a time, and took at most: the process's own size hides so little."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._alive: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        answer = function(*args, **(kwargs or {}))
        for storage in (t.untyped_storage() for t in tree_leaves(answer) if isinstance(t, Tensor)):
            key, size = storage._cdata, storage.nbytes()
            if key not in given and key not in self._alive:
                self._alive[key] = weakref.ref(storage, lambda _, key=key, size=size: self._forget(key, size))
                self.now += size
                self.most = max(self.most, self.now)
        return answer

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self.now -= size


def peak_bytes(folder: Path, loss: str) -> int:
    prior: StableDiffusionPrior = load_stable_diffusion(str(folder), torch.device("cpu"), torch.float32)
    networks = (prior._networks.unet, prior._networks.vae, prior._networks.text_encoder)
    weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    settings = TrainerSettings(
        prompt="a yellow duck",
        negative_prompt="blurry",
        loss=loss,
        loss_parameters={},
        steps=5,
        guidance_scale=7.5,
        views_per_step=1,
        render_size=((0.0, 16),),
        timestep_min=0.02,
        timestep_max=((0.0, 0.98),),
        weighting="noise_variance",
        learning_rate=0.01,
        background="random",
        shading="albedo",
        regularizers={},
        scene=FieldSettings(resolution=16),
        rendering=RenderSettings(samples_per_ray=16),
        seed=1,
    )
    with AllocatedBytes() as allocated:
        trainer = Trainer(prior, CameraRig(orbit=OrbitRange()), settings)
        for _ in range(settings.steps):
            trainer.step()
    return weights + allocated.most


def test_the_measure_sees_what_lives_and_what_died() -> None:
    with AllocatedBytes() as allocated:
        kept = torch.zeros(1000)
        view = kept[10:]
        torch.ones(5000).sum()
        assert allocated.now == kept.numel() * 4
    assert allocated.most == 4 * (1000 + 5000 + 1)
    assert len(view) == 990


def test_vsd_takes_at_most_three_tenths_more_than_sds(tiny_stable_diffusion: Callable[[str], Path]) -> None:
    folder = tiny_stable_diffusion("epsilon")
    assert peak_bytes(folder, "vsd") <= 1.3 * peak_bytes(folder, "sds")
