"""How good a network prior is: what its samples show, and how far its predictions are from the exact prior's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck_server.known_world.captions import AZIMUTH_WORDS, Caption
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.prior import Prior
from limbeck_server.priors.training.batches import World, draw_batch
from limbeck_server.priors.training.judging import (
    ONE_FRONT,
    Judge,
    judge_azimuths,
    judge_pictures,
    seen_prompts,
    true_pictures,
    unseen_prompts,
)
from limbeck_server.priors.training.sampling import GUIDANCE_SCALE, STEPS, sample
from limbeck_server.priors.training.texts import CaptionShares

TIMESTEPS: tuple[int, ...] = (20, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 980)
_AT_ONCE = 8


def score_samples(
    prior: Prior,
    judge: Judge,
    prompts: int = 20,
    samples: int = 16,
    guidance_scale: float = GUIDANCE_SCALE,
    steps: int = STEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Return shares of DDIM samples that show what was asked for, as the exact prior's posterior judges them.

    Args:
        prior: a model of the known world's pictures, whose latents are pictures in -1..1 of the judge's size.
        judge: who looks at its pictures.
        prompts: how many of them; as many again name pairs that training left out, 28 at most.
        samples: pictures of each.
        guidance_scale: of the sampler.
        steps: of the sampler.
        seed: chooses prompts and noise.
        say: told what is being done.

    Returns:
        `seen`, `unseen` and `truth` (true pictures of the seen prompts: what could be reached), see
        `judging.judge_pictures`; `azimuth`, the share of pictures of shapes with one front that show the view asked
        for, and `azimuth_pictures`, how many were judged.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(what: str, texts: Sequence[str]) -> Tensor:
        def tell(done: int, total: int) -> None:
            say(f"{what}: {100 * done // total} % of {len(texts)} pictures")

        shape = (3, judge.prior.size, judge.prior.size)
        return prior.decode_latents(sample(prior, texts, shape, generator, guidance_scale, steps, tell))

    found: dict[str, Any] = {}
    for name, chosen in (("seen", seen_prompts(prompts, seed)), ("unseen", unseen_prompts(prompts, seed))):
        texts = [prompt for prompt in chosen for _ in range(samples)]
        found[name] = judge_pictures(judge, draw(f"{name} pairs", texts), texts)
        if name == "seen":
            found["truth"] = judge_pictures(judge, true_pictures(judge, texts, generator), texts)
    pairs = [(shape, azimuth) for shape in ONE_FRONT for azimuth in AZIMUTH_WORDS]
    colours = list(COLOURS)
    captions = [Caption(shape, colours[i % len(colours)], azimuth) for i, (shape, azimuth) in enumerate(pairs)]
    texts = [f"a {caption.colour} {caption.shape}, {caption.azimuth} view, eye level" for caption in captions]
    found["azimuth"] = judge_azimuths(judge, draw("views", texts), captions)
    found["azimuth_pictures"] = len(texts)
    return found


@torch.no_grad()
def score_denoising(
    prior: Prior,
    world: World,
    pictures: int = 32,
    timesteps: Sequence[int] = TIMESTEPS,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, float]]:
    """Return how far the prior's predictions are from the exact ones, by timestep: what only a known world can tell.

    All are mean squares of noise, whose own mean square is 1. The pictures are of pairs that training has shown. The
    exact prior knows all pairs, so where a text leaves shape or colour open, the one of twelve that training left out
    is part of the difference.

    Args:
        prior: a model of the known world's pictures, whose latents are pictures in -1..1.
        world: the pictures that it was trained on.
        pictures: how many, at every timestep.
        timesteps: which.
        seed: chooses pictures, captions and noise, the same at all timesteps.
        say: told what is being done.

    Returns:
        For every timestep: `timestep`; `error` under captions that say something, and `error_empty` under the empty
        text: of the prediction against the exact one; `exact_spread`: of the exact prediction under the caption
        against the noise that was drawn, which no model can go below on average.
    """
    exact = ExactPrior(world.clean, world.degraded, prior.device)
    shares = CaptionShares(empty=0.0)
    found = []
    for timestep in timesteps:
        say(f"denoising error at timestep {timestep}")
        generator = torch.Generator().manual_seed(seed)
        sums = dict.fromkeys(("error", "error_empty", "exact_spread"), 0.0)
        for first in range(0, pictures, _AT_ONCE):
            count = min(_AT_ONCE, pictures - first)
            batch = draw_batch(world, count, generator, shares)
            noise = torch.randn(batch.latents.shape, generator=generator).to(prior.device)
            at = torch.full((count,), timestep, device=prior.device)
            alpha, sigma = prior.schedule.at(at, noise)
            noisy = alpha * batch.latents.to(prior.device) + sigma * noise
            texts = {"text": list(batch.texts), "empty": [""] * count}
            own, true = prior.predict_noise(noisy, at, texts), exact.predict_noise(noisy, at, texts)
            sums["error"] += float((own["text"] - true["text"]).square().mean()) * count
            sums["error_empty"] += float((own["empty"] - true["empty"]).square().mean()) * count
            sums["exact_spread"] += float((true["text"] - noise).square().mean()) * count
        found.append({"timestep": float(timestep)} | {name: value / pictures for name, value in sums.items()})
    return found


def summary(score: dict[str, Any]) -> str:
    """Return what `score_samples` and `score_denoising` found as tables."""
    lines = [f"{'pictures of':<16}{'count':>6}{'colour':>9}{'shape':>9}{'both':>9}"]
    names = {"seen": "seen pairs", "unseen": "unseen pairs", "truth": "the world itself"}
    for key, name in names.items():
        row = score[key]
        shares = "".join(f"{100 * row[column]:>8.1f}%" for column in ("colour", "shape", "both"))
        lines.append(f"{name:<16}{row['pictures']:>6}{shares}")
    lines.append(f"view as asked for: {100 * score['azimuth']:.1f}% of {score['azimuth_pictures']}")
    for key in ("seen", "unseen"):
        worst = sorted(score[key]["prompts"].items(), key=lambda item: item[1])[:5]
        lines.append(f"weakest {names[key]}: " + ", ".join(f"{text} {100 * share:.0f}%" for text, share in worst))
    if score.get("denoising"):
        lines.append("")
        lines.append("mean squared distance from the exact prior's prediction (noise has 1)")
        lines.append(f"{'timestep':>8}{'with text':>12}{'empty text':>12}{'exact spread':>14}")
        for row in score["denoising"]:
            lines.append(
                f"{row['timestep']:>8.0f}{row['error']:>12.5f}{row['error_empty']:>12.5f}{row['exact_spread']:>14.5f}"
            )
    return "\n".join(lines)
