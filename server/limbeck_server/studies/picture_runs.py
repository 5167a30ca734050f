"""Runs of a study that makes pictures, kept on disk, so that a study that was killed goes on.

A run is a few pictures of one prompt, each from a start of its own. Its file holds the latents and the pictures, and a
digest of all that determines them: a file of other settings, of another prior or a damaged one is made anew.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limbeck_server.distillation.injection import DivergedError
from limbeck_server.distillation.picture import PictureSettings, PictureTrainer, start_image
from limbeck_server.known_world.views import world_digest
from limbeck_server.priors.prior import Prior
from limbeck_server.priors.training.sampling import sample
from limbeck_server.priors.training.state import write_whole

_REPORTS = 5
"""How often a run tells how far it is."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """How pictures are made.

    Attributes:
        settings: the loss and all about it; their seed is the study's.
        generator: what is optimised: `latents`, `pixels` or `mlp`.
    """

    settings: PictureSettings
    generator: str

    def with_(self, **changes: Any) -> Setup:
        """Return the same with other settings; loss parameters are added to those there are."""
        parameters = {**self.settings.loss_parameters, **changes.pop("loss_parameters", {})}
        return replace(self, settings=replace(self.settings, loss_parameters=parameters, **changes))


@dataclass(frozen=True)
class Sampling:
    """How true pictures are drawn: DDIM without noise, see `limbeck_server.priors.training.sampling.sample`."""

    steps: int
    guidance_scale: float
    seed: int


@dataclass(frozen=True)
class Made:
    """What a run came to.

    Attributes:
        latents: (n, c, h, w).
        pictures: (n, 3, s, s) in 0..1.
        seconds: it took.
        evaluations: of the prior, for each picture.
    """

    latents: Tensor
    pictures: Tensor
    seconds: float
    evaluations: float


class Runs:
    """The runs of one study in a folder.

    Args:
        folder: where their files are; made at the first.
        say: told what is being made and how far it is.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say

    def distilled(self, name: str, prior: Prior, setup: Setup, prompt: str, size: int, pictures: int) -> Made:
        """Return `pictures` pictures of a prompt, made now or before; all ways of one seed begin alike.

        Raises:
            DivergedError: a gradient is no longer finite; the message names the run.
        """
        told = {"setup": asdict(setup), "size": size, "pictures": pictures}

        def make() -> tuple[Tensor, Tensor]:
            draws = torch.Generator().manual_seed(setup.settings.seed)
            module = start_image(prior, setup.generator, size, draws, pictures)
            trainer = PictureTrainer(prior, setup.settings, module, prompt, draws)
            steps = setup.settings.steps
            for step in range(steps):
                if step % max(1, steps // _REPORTS) == 0:
                    self._say(f"{prompt}, {name}: step {step} of {steps}")
                try:
                    trainer.step()
                except DivergedError as error:
                    raise DivergedError(f"{name}, {prompt!r}: {error}") from error
            return trainer.latents(), trainer.image()

        return self._kept(name, prior, prompt, told, make)

    def sampled(self, name: str, prior: Prior, sampling: Sampling, prompt: str, size: int, pictures: int) -> Made:
        """Return `pictures` samples of the prior under a prompt, made now or before."""
        told = {"sampling": asdict(sampling), "size": size, "pictures": pictures}

        def make() -> tuple[Tensor, Tensor]:
            self._say(f"{prompt}: {pictures} samples")
            shape = prior.encode_images(torch.zeros(1, 3, size, size, device=prior.device)).shape[1:]
            draws = torch.Generator().manual_seed(sampling.seed)
            texts = [prompt] * pictures
            latents = sample(prior, texts, tuple(shape), draws, sampling.guidance_scale, sampling.steps)
            return latents, prior.decode_latents(latents)

        return self._kept(name, prior, prompt, told, make)

    def _kept(
        self,
        name: str,
        prior: Prior,
        prompt: str,
        told: Mapping[str, Any],
        make: Callable[[], tuple[Tensor, Tensor]],
    ) -> Made:
        digest = run_digest({"name": name, "prompt": prompt, "prior": identity(prior), **told})
        path = self._folder / f"{_file_name(name)}-{_file_name(prompt)}.safetensors"
        found = _read(path, digest)
        if found is not None:
            return found
        before, begun = prior.evaluations, time.monotonic()
        latents, pictures = (made.detach().float().cpu().contiguous() for made in make())
        # As it is kept: a run that was read back says the same.
        seconds = round(time.monotonic() - begun, 3)
        evaluations = (prior.evaluations - before) / len(latents)
        about = {"digest": digest, "seconds": f"{seconds:.3f}", "evaluations": f"{evaluations:.3f}"}
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, save({"latents": latents, "pictures": pictures}, about))
        return Made(latents, pictures, seconds, evaluations)


def identity(prior: Prior) -> dict[str, Any]:
    """Return what tells a prior from others: its name, what its files say of its training, and the world's digest."""
    card = getattr(prior, "card", None)
    return {"name": prior.name, "training": {} if card is None else card.training, "world": world_digest()}


def run_digest(told: Mapping[str, Any]) -> str:
    """Return a digest of what determines a run."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _read(path: Path, digest: str) -> Made | None:
    """Return a run from its file, or None where there is none, or of something else, or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("digest") != digest:
                return None
            latents, pictures = file.get_tensor("latents"), file.get_tensor("pictures")
        return Made(latents, pictures, float(about["seconds"]), float(about["evaluations"]))
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
