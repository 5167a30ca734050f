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
from limbeck_server.priors.training.classifier import Classifier, judge_by_classifier
from limbeck_server.priors.training.frechet import frechet_distance
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
    classifier: Classifier | None = None,
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
        classifier: the other judge, if there is one for pictures of this size.

    Returns:
        `seen`, `unseen` and `truth` (true pictures of the seen prompts: what could be reached), see
        `judging.judge_pictures`, each with the other judge's verdict in `classifier`; `azimuth`, the share of pictures
        of shapes with one front that show the view asked for, and `azimuth_pictures`, how many were judged. With a
        classifier also `frechet`: the distance of the seen prompts' pictures to true ones, in its features, and
        `frechet_floor`, that of as many other true ones.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(what: str, texts: Sequence[str]) -> Tensor:
        def tell(done: int, total: int) -> None:
            say(f"{what}: {100 * done // total} % of {len(texts)} pictures")

        shape = (3, judge.prior.size, judge.prior.size)
        return prior.decode_latents(sample(prior, texts, shape, generator, guidance_scale, steps, tell))

    def judged(pictures: Tensor, texts: Sequence[str]) -> dict[str, Any]:
        verdict = judge_pictures(judge, pictures, texts)
        if classifier is not None:
            verdict["classifier"] = judge_by_classifier(classifier, pictures, texts)
        return verdict

    found: dict[str, Any] = {}
    for name, chosen in (("seen", seen_prompts(prompts, seed)), ("unseen", unseen_prompts(prompts, seed))):
        texts = [prompt for prompt in chosen for _ in range(samples)]
        pictures = draw(f"{name} pairs", texts)
        found[name] = judged(pictures, texts)
        if name == "seen":
            truth = true_pictures(judge, texts, generator)
            found["truth"] = judged(truth, texts)
            if classifier is not None and len(texts) > 1:
                # A generator of its own: what is judged below stays what it was before there was a classifier.
                others = true_pictures(judge, texts, torch.Generator().manual_seed(seed + 1))
                drawn, true, other = (classifier.features(one) for one in (pictures, truth, others))
                found["frechet"], found["frechet_floor"] = frechet_distance(drawn, true), frechet_distance(other, true)
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
    columns = ("colour", "shape", "both")
    judges = ["the exact prior", *(["the classifier"] if "classifier" in score["seen"] else [])]
    lines = [" " * 22 + "".join(f"{'as ' + judge + ' sees it':>33}" for judge in judges)]
    head = "".join("".join(f"{column:>9}" for column in columns) + " " * 6 for _ in judges)
    lines.append(f"{'pictures of':<16}{'count':>6}{' ' * 6}{head}".rstrip())
    names = {"seen": "seen pairs", "unseen": "unseen pairs", "truth": "the world itself"}
    for key, name in names.items():
        row = score[key]
        verdicts = [row, *([row["classifier"]] if "classifier" in row else [])]
        shares = ["".join(f"{100 * verdict[column]:>8.1f}%" for column in columns) for verdict in verdicts]
        lines.append(f"{name:<16}{row['pictures']:>6}{' ' * 6}" + (" " * 6).join(shares))
    if "frechet" in score:
        distances = f"{score['frechet']:.2f} from true ones; as many other true ones {score['frechet_floor']:.2f}"
        lines.append(f"Frechet distance of the seen pairs' pictures, in the classifier's features: {distances}")
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
