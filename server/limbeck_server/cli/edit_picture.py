"""`limbeck edit PICTURE`: one picture, in this process, without a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from limbeck_server.priors.prior import Prior

PICTURE_SIZE = 64
"""Side of the exact prior's pictures in pixels; a network brings its own."""


@dataclass(frozen=True)
class PictureDefaults:
    """What an edit is made with; a kind's own where the command line does not say."""

    steps: int
    guidance_scale: float
    learning_rate: float
    """Of plain gradient descent on the latents: a step is this times the gradient."""


# The authors' notebook: 200 steps, scale 7.5, SGD at 0.1 on 2000 times the loss, which is divided by the 64 x 64
# places of a latent: 0.1 * 2000 / 4096 = 0.0488 times the gradient.
LATENT = PictureDefaults(steps=200, guidance_scale=7.5, learning_rate=0.0488)
# Tuned by eye, on pixels. Exact: at scale 1 a red mug is violet after 200 steps on its way to blue, at 2 it is blue.
EXACT = PictureDefaults(steps=200, guidance_scale=2.0, learning_rate=0.05)
# The network that ships: the mug is blue at 2 and 3, a faint line left where its side was; from 5 on that line
# has a light rim, at 7.5 the mug glows. The background turns orange at all of them.
NETWORK = PictureDefaults(steps=200, guidance_scale=3.0, learning_rate=0.05)
TIMESTEP_MIN, TIMESTEP_MAX = 0.05, 0.948
"""The notebook draws t from 50 to 948."""
MAX_SEED = 2**63 - 1
"""As a recipe's."""


def edit_picture_file(
    path: Path,
    prompt: str,
    source_prompt: str | None,
    prior_name: str,
    given: dict[str, Any],
    seed: int,
    out: Path,
    *,
    as_json: bool,
) -> None:
    """Edit the picture at `path` and write it to `out`.

    Args:
        path: a square picture, of any size; it comes back as large as the prior's own.
        prompt: what it should show.
        source_prompt: what it shows.
        prior_name: `exact`, `stable-diffusion`, a hub id or a folder.
        given: `steps`, `guidance_scale`, `learning_rate`, where they are not the defaults.
        seed: draws timesteps and noise.
        out: a PNG file.
        as_json: print one JSON object at the end.

    Raises:
        LimbeckError: the picture, a prompt, a number or the prior cannot be used.
    """
    from limbeck_server.cli.output import print_json, say

    _check(prompt, source_prompt, given, seed)
    assert source_prompt is not None
    picture = read_picture(path)
    prior = _load_prior(prior_name, prompt, source_prompt)
    found, report = _edit(prior, picture, prompt, source_prompt, replace(defaults_of(prior_name), **given), seed)
    write_picture(found, out)
    width, height = report["size"]
    say(f"{out}: edited at {width} x {height} pixels, the prior's own size ({report['seconds']:.0f} s)")
    if as_json:
        print_json({"out": str(out), "prompt": prompt, "from": source_prompt, "prior": prior_name} | report)


def read_picture(path: Path) -> Tensor:
    """Return the picture (1, 3, h, h) in 0..1; what is transparent is laid on grey.

    Raises:
        LimbeckError: it cannot be read, or is not square.
    """
    import numpy as np
    import torch
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
    from PIL import Image, ImageOps, UnidentifiedImageError

    code = ErrorCode.CANNOT_READ
    try:
        with Image.open(path) as file:
            # A telephone stores what it saw as it lay in the hand, and a note which way is up.
            picture = ImageOps.exif_transpose(file).convert("RGBA")
    except FileNotFoundError as error:
        raise LimbeckError(code, f"There is no picture {path}.", remedy_for(code)) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LimbeckError(code, f"The picture {path} cannot be read: {error}.", remedy_for(code)) from error
    if picture.width != picture.height:
        sentence = f"The picture {path} is {picture.width} x {picture.height} pixels; a square one was expected."
        raise LimbeckError(code, sentence, remedy_for(code, label="Crop it to a square."))
    grey = Image.new("RGBA", picture.size, (128, 128, 128, 255))
    pixels = np.asarray(Image.alpha_composite(grey, picture).convert("RGB"), dtype=np.float32) / 255.0
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def write_picture(picture: Tensor, path: Path) -> None:
    """Write a picture (1, 3, h, w) in 0..1 to a PNG file, whole or not at all."""
    from PIL import Image

    pixels = (picture[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().cpu().numpy()
    part = path.with_name(path.name + ".part.png")
    Image.fromarray(pixels).save(part)
    part.replace(path)


def _check(prompt: str, source_prompt: str | None, given: dict[str, Any], seed: int) -> None:
    from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

    code = ErrorCode.INVALID_FIELD
    if source_prompt is None or not source_prompt.strip() or not prompt.strip():
        sentence = "An edit needs two prompts: what the picture should show, and what it shows now."
        label = "Say both: limbeck edit PICTURE.png 'a blue mug' --from 'a red mug'."
        raise LimbeckError(code, sentence, remedy_for(code, label=label))
    label = "Correct the option that the sentence names."
    bounds = {"steps": (1, 100_000), "guidance_scale": (0.0, 1000.0), "learning_rate": (1e-9, 10.0)}
    for name, value in given.items():
        low, high = bounds[name]
        if not low <= value <= high:
            sentence = f"--{name.replace('_', '-')} must lie between {low:g} and {high:g}, got {value:g}."
            raise LimbeckError(code, sentence, remedy_for(code, label=label))
    if not 0 <= seed <= MAX_SEED:
        sentence = f"--seed must lie between 0 and {MAX_SEED} (2^63 - 1), got {seed}."
        raise LimbeckError(code, sentence, remedy_for(code, label=label))


def _load_prior(name: str, prompt: str, source_prompt: str) -> Prior:
    """Return the prior, which understands both prompts.

    Raises:
        LimbeckError: it is missing, or does not.
    """
    from limbeck_protocol.errors import ErrorCode, LimbeckError, as_sentence, remedy_for

    from limbeck_server.distillation.device import choose_device, network_dtype
    from limbeck_server.presets import EXACT as EXACT_PRIOR
    from limbeck_server.priors.prior import ModelError, PromptError

    device = choose_device("auto")
    try:
        if name == EXACT_PRIOR:
            from limbeck_server.priors.exact import load_exact_prior

            prior: Prior = load_exact_prior(prompt, PICTURE_SIZE, device, also=[source_prompt])
        else:
            import os

            from limbeck_server.assembly import ALLOW_DOWNLOAD
            from limbeck_server.priors.stable_diffusion import load_stable_diffusion

            allow_download = os.environ.get(ALLOW_DOWNLOAD) == "1"
            prior = load_stable_diffusion(name, device, network_dtype(device), allow_download)
        for text in (prompt, source_prompt):
            prior.check_prompt(text)
    except PromptError as error:
        code = ErrorCode.UNKNOWN_WORD
        raise LimbeckError(code, as_sentence(error), remedy_for(code, field="prompt")) from error
    except ModelError as error:
        code = ErrorCode(error.code)
        raise LimbeckError(code, as_sentence(error), remedy_for(code, field="prior")) from error
    return prior


def defaults_of(prior_name: str) -> PictureDefaults:
    """Return what suits the kind of a prior: `exact`, `network`, a hub id or a folder."""
    from limbeck_server.priors import kinds

    return {kinds.EXACT: EXACT, kinds.NETWORK: NETWORK}.get(kinds.prior_kind(prior_name), LATENT)


def _edit(
    prior: Prior, picture: Tensor, prompt: str, source_prompt: str, chosen: PictureDefaults, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Return the edited picture, and what the edit took."""
    import time

    import torch
    from limbeck_protocol.errors import ErrorCode, LimbeckError, as_sentence, remedy_for

    from limbeck_server.distillation.injection import DivergedError
    from limbeck_server.distillation.picture import PictureSettings, edit_picture

    settings = PictureSettings(
        loss="dds",
        guidance_scale=chosen.guidance_scale,
        timestep_min=TIMESTEP_MIN,
        timestep_max=((0.0, TIMESTEP_MAX),),
        weighting="uniform",
        steps=chosen.steps,
        learning_rate=chosen.learning_rate,
        optimizer="sgd",
        seed=seed,
    )
    begun = time.monotonic()
    try:
        with torch.no_grad():
            latents = prior.encode_images(picture.to(prior.device))
        with _progress_bar(settings.steps) as advance:
            moved = edit_picture(prior, settings, latents, prompt, source_prompt, on_step=lambda _: advance())
    except DivergedError as error:
        code = ErrorCode.NUMERIC_DIVERGED
        raise LimbeckError(code, as_sentence(error), remedy_for(code)) from error
    seconds = time.monotonic() - begun
    edited = prior.decode_latents(moved)
    report = {
        "size": [edited.shape[3], edited.shape[2]],
        "steps": settings.steps,
        "guidance_scale": settings.guidance_scale,
        "learning_rate": settings.learning_rate,
        "seed": seed,
        "seconds": seconds,
        "prior_evaluations": prior.evaluations,
    }
    return edited, report


def _progress_bar(steps: int) -> Any:
    """Return a context that shows a bar on standard error, where that is a terminal, and yields what moves it."""
    import contextlib
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.progress import Progress

    @contextlib.contextmanager
    def bar() -> Iterator[Callable[[], None]]:
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("edit", total=steps)
            yield lambda: progress.advance(task)

    return bar()
