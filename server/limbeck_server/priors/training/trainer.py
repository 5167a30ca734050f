"""Training the network prior: the loop.

Noise prediction on batches of the known world, min-SNR weights, AdamW along a cosine, a running mean of the weights.
A run lives in a folder: `state.json` and its tensors (to go on with), `log.jsonl`, `model/` (diffusers' layout) and
`samples-*.png`. Killed at any moment, it goes on from the last state as if nothing had happened: on a CPU with the same
number of threads the weights come out the same, bit for bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.priors.model_card import read_card
from limbeck_server.priors.prior import NoiseSchedule
from limbeck_server.priors.training.architecture import Denoiser, build_denoiser, build_tokenizer
from limbeck_server.priors.training.batches import World, draw_batch, load_world, stratified_timesteps
from limbeck_server.priors.training.export import export_model
from limbeck_server.priors.training.preview import write_preview
from limbeck_server.priors.training.settings import TrainingError, TrainingSettings
from limbeck_server.priors.training.state import load_state, save_state, stored_index, write_whole
from limbeck_server.priors.training.targets import ExpectedNoise

LOG, MODEL = "log.jsonl", "model"
_LOG_EVERY = 10
_PREVIEW_STEPS = 16
_SEEDS_PER_RUN = 2**32
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Step:
    """Where a run stands.

    Attributes:
        iteration: steps done.
        iterations: steps in all.
        loss: weighted squared error, the mean since the last report.
        seconds_per_iteration: likewise.
    """

    iteration: int
    iterations: int
    loss: float
    seconds_per_iteration: float


class TrainingRun:
    """Networks, optimiser and data between two steps.

    Args:
        settings: what determines the run.
        world: stored views.
        folder: where its files are.
        device: where the networks live.
    """

    def __init__(self, settings: TrainingSettings, world: World, folder: Path, device: torch.device) -> None:
        self.settings, self.world, self.device = settings, world, device
        self.iteration = 0
        self.seconds = 0.0
        self.schedule = NoiseSchedule.stable_diffusion()
        self.tokenizer = build_tokenizer(folder / "tokenizer", settings.architecture)
        self.denoiser: Denoiser = build_denoiser(settings.architecture, len(self.tokenizer), settings.seed).to(device)
        # A third faster on a CPU (measured).
        self.denoiser.unet.to(memory_format=torch.channels_last)
        self.parameters = dict(self.denoiser.named_parameters())
        self.mean = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), betas=(0.9, 0.99), weight_decay=settings.weight_decay, fused=True
        )
        self._target = ExpectedNoise(world, self.schedule) if settings.expected_noise else None

    def step(self) -> tuple[float, float]:
        """Take one step; return the weighted and the plain mean squared error before it.

        Raises:
            TrainingError: the error is no longer finite; the weights were not changed.
        """
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * _SEEDS_PER_RUN + self.iteration)
        batch = draw_batch(self.world, settings.batch, generator, settings.captions)
        timesteps = stratified_timesteps(settings.batch, self.schedule.timesteps, generator)
        noise = torch.randn(batch.latents.shape, generator=generator)
        alpha, sigma = self.schedule.at(timesteps, batch.latents)
        noisy = alpha * batch.latents + sigma * noise
        target = noise if self._target is None else self._target(batch, noisy, timesteps)
        snr = (alpha / sigma).square().flatten()
        weights = (snr.clamp(max=settings.snr_limit) / snr).to(self.device)

        predicted = self.denoiser(
            noisy.to(self.device, memory_format=torch.channels_last),
            timesteps.to(self.device),
            self._tokens(batch.texts),
        )
        errors = (predicted - target.to(self.device)).square().mean(dim=(1, 2, 3))
        loss = (weights * errors).mean()
        if not bool(loss.isfinite()):
            raise TrainingError(
                f"the error is not finite at iteration {self.iteration}: the weights have run away. Begin anew with a "
                "lower learning rate or another seed."
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate_at(self.iteration)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            kept = settings.ema_at(self.iteration)
            torch._foreach_lerp_(list(self.mean.values()), list(self.parameters.values()), 1.0 - kept)
        self.iteration += 1
        return float(loss.detach()), float(errors.detach().mean())

    def tensors(self) -> dict[str, Tensor]:
        """Return all that the state consists of, under names of its own."""
        found: dict[str, Tensor] = {f"weight/{name}": parameter.detach() for name, parameter in self.parameters.items()}
        found |= {f"mean/{name}": mean for name, mean in self.mean.items()}
        for name, parameter in self.parameters.items():
            found |= {f"{moment}/{name}": self.optimizer.state[parameter][moment] for moment in _MOMENTS}
        return found

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a stored state."""
        try:
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"weight/{name}"])
                self.mean[name].copy_(tensors[f"mean/{name}"])
                own = {moment: torch.zeros_like(parameter) for moment in _MOMENTS[:2]}
                own["step"] = torch.zeros((), device=self.device)
                for moment, place in own.items():
                    place.copy_(tensors[f"{moment}/{name}"])
                self.optimizer.state[parameter] = own
        except (KeyError, RuntimeError) as error:
            raise TrainingError("the stored state is of other networks. Train into another folder.") from error

    def _tokens(self, texts: tuple[str, ...]) -> Tensor:
        """Return the tokens (n, max_tokens) of texts, none of them cut off."""
        longest = self.settings.architecture.max_tokens
        tokens: Tensor = self.tokenizer(
            list(texts), padding="max_length", max_length=longest, return_tensors="pt"
        ).input_ids
        assert tokens.shape[1] == longest, "captions fit the text encoder"
        return tokens.to(self.device)


def train(
    settings: TrainingSettings,
    folder: Path,
    device: torch.device | str = "cpu",
    *,
    cache_folder: Path | None = None,
    save_seconds: float = 300.0,
    preview_every: int = 500,
    progress: Callable[[Step], None] | None = None,
    view_progress: Callable[[int, int], None] | None = None,
    stop: Callable[[int], bool] = lambda iteration: False,
) -> Path:
    """Train, or go on where a run in this folder was interrupted; return the folder of the model.

    Args:
        settings: what determines the run.
        folder: made if it is not there.
        device: where the networks live.
        cache_folder: where the world's views are kept; the user's cache folder if left out.
        save_seconds: how often the state is saved; besides, it is at the end and when asked to stop.
        preview_every: iterations between two writings of the model and a sheet of its pictures.
        progress: told after every tenth step.
        view_progress: told (views done, views in all) as stored views are rendered or read.
        stop: asked after every step, with how many are done; once it returns true, the state is saved and the function
            returns.

    Raises:
        TrainingError: the folder holds a run with other settings, a damaged state, or the weights ran away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = load_state(folder)
    if stored is not None:
        settings.check_resumes(stored.settings)
    world = load_world(settings.views_per_shape, settings.architecture.picture_size, cache_folder, view_progress)
    run = TrainingRun(settings, world, folder, torch.device(device))
    if stored is not None:
        run.restore(stored.tensors)
        run.iteration, run.seconds = stored.iteration, stored.seconds
    _cut_log(folder / LOG, run.iteration)

    while run.iteration < settings.iterations and not stop(run.iteration):
        _steps(run, folder / LOG, progress, stop, preview_every, time.monotonic() + save_seconds)
        save_state(folder, run.iteration, settings.as_json(), run.seconds, run.tensors())
        if run.iteration % preview_every == 0:
            _show(run, folder)
    if run.iteration != _shown(folder):
        _show(run, folder)
    return folder / MODEL


def iterations_done(folder: Path) -> int:
    """Return how many steps the run in a folder has done, as far as its state was saved."""
    done: int = stored_index(folder).get("iteration", 0)
    return done


def planned_settings(folder: Path, given: Mapping[str, Any]) -> TrainingSettings:
    """Return the settings of the run in a folder, or the default ones where there is none, with what was `given`."""
    stored = stored_index(folder).get("settings", {})
    kept = {name: stored[name] for name in ("iterations", "batch", "seed", "views_per_shape") if name in stored}
    return replace(TrainingSettings(), **(kept | dict(given)))


def _show(run: TrainingRun, folder: Path) -> None:
    """Write the model as it is, and a sheet of its pictures."""
    export_model(run.denoiser, run.mean, run.settings, run.iteration, folder / MODEL)
    sheet = folder / f"samples-{run.iteration:07d}.png"
    write_preview(str(folder / MODEL), sheet, run.device, steps=_PREVIEW_STEPS)


def _shown(folder: Path) -> int | None:
    """Return the iteration of the model in the folder."""
    return read_card(folder / MODEL, MODEL).training.get("iteration")


def _steps(
    run: TrainingRun,
    log: Path,
    progress: Callable[[Step], None] | None,
    stop: Callable[[int], bool],
    preview_every: int,
    save_at: float,
) -> None:
    """Take steps until it is time to save, to show the model, or to end."""
    losses: list[tuple[float, float]] = []
    begun = time.monotonic()
    while True:
        losses.append(run.step())
        over = run.iteration >= run.settings.iterations or run.iteration % preview_every == 0
        over = over or time.monotonic() >= save_at or stop(run.iteration)
        if run.iteration % _LOG_EVERY == 0 or over:
            now = time.monotonic()
            run.seconds += now - begun
            weighted, plain = (sum(column) / len(losses) for column in zip(*losses, strict=True))
            line = {
                "iteration": run.iteration,
                "loss": round(weighted, 6),
                "error": round(plain, 6),
                "learning_rate": round(run.settings.learning_rate_at(run.iteration - 1), 8),
                "seconds": round(run.seconds, 1),
                "iterations_per_second": round(len(losses) / (now - begun), 3),
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            }
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if progress is not None:
                each = (now - begun) / len(losses)
                progress(Step(run.iteration, run.settings.iterations, weighted, each))
            losses, begun = [], now
        if over:
            return


def _cut_log(log: Path, iteration: int) -> None:
    """Drop the lines after the state that a run goes on from; these steps will be done again."""
    if not log.is_file():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["iteration"] <= iteration:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # a line cut short when the run was killed
    write_whole(log, "".join(kept).encode())
