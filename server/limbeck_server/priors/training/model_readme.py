"""The card of a model that ships, for people: what it is, what it was trained on, what it can and cannot do."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck_server.known_world.captions import AZIMUTH_WORDS
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.exact import DEGRADED_SHARE
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior
from limbeck_server.priors.training.score import summary

_TEXT = """\
# The network prior

A small diffusion model from text to pictures, in diffusers' layout. Limbeck's authors trained it on the *known world*:
pictures of {shapes} shapes in {colours} colours that Limbeck draws itself, for which a closed-form answer exists. It is
`--prior network`. It is a real network, to show, test and compare what happens with one; it knows nothing else.

![Samples](samples.png)

DDIM, 25 steps, guidance scale 5, row by row: {prompts}.

## Data

Pictures of {size} x {size} pixels, drawn anew for every step from {views} stored views of each shape, from all around
and from below to well above, in a colour near the one that the caption names and before any plain
background. Captions are such as "a yellow duck, front view, eye level", with eight words for the azimuth and three for
the elevation; words are left out at random, all of them in {empty} of cases. {degraded} of the pictures are degraded
(blurred, dark, coarse, of low contrast) and called so: the negative prompt is their caption. Nothing was taken from
anybody: no photograph, no text, no other model.

One colour of every shape was left out, so that composition can be scored: {held_out}.

## Architecture

| part | class | weights |
|---|---|---|
{parts}

The UNet works on the pixels themselves, in -1..1, without a VAE: levels of {channels} channels, of which the last
attends to itself and to the text. The text also acts as a whole, pooled and added to the time embedding. The text
encoder has {layers} layers of width {width} and reads {tokens} tokens; the tokenizer has a token for every word of the
world and letters for the rest. The schedule is Stable Diffusion's; what is predicted is the noise. Half precision,
safetensors.

## Training

{iteration} of {iterations} iterations of {batch} pictures, seed {seed}, AdamW at {rate:g} falling along half a cosine,
weights averaged over the last thousand or so steps. {target} {logged}`log.jsonl` has the course of it. {repeated}
`limbeck prior train --out FOLDER --iterations {iterations} --batch {batch} --seed {seed} --views {views}`.

## Figures

{figures}

## Limits

- It knows the world's words only (`limbeck presets` lists them) and refuses any other.
- {size} pixels: fine parts are a pixel wide, or not there.
- What it says is not exact: objects distilled from it are rougher than those of `--prior exact`, and a guidance scale
  of 2 to 5 is needed to be heard; above that colours burn out and the background takes on the object's colour.
- It was never shown the pairs of shape and colour named above; the figures say how often they come out.{views_limit}

## Elsewhere

The parts load by diffusers' and transformers' own `from_pretrained`: `UNet2DConditionModel`, `DDIMScheduler`,
`CLIPTextModel` and `CLIPTokenizer`, each from the folder of its name. `limbeck.json` tells Limbeck which language the
prompts are in, and holds every setting of the training.

## Licence

GPL-3.0-or-later, as Limbeck itself.
"""
_FENCE = "```"
_FENCED = re.compile(f"({_FENCE}.*?{_FENCE})", re.DOTALL)
"""What is preformatted, blank lines included."""
_CLASSES = {"unet": "UNet2DConditionModel", "text_encoder": "CLIPTextModel"}
_EXPECTED = (
    "It was taught the expected noise under a picture's whole caption, in closed form, in place of the noise that was "
    "drawn: the same optimum, and less to average over."
)


def model_readme(
    prior: StableDiffusionPrior,
    weights: Mapping[str, int],
    log: Sequence[Mapping[str, Any]],
    score: Mapping[str, Any] | None,
    prompts: Sequence[str],
) -> str:
    """Return the card as Markdown.

    Args:
        prior: the model, whose own card says how it was trained.
        weights: network -> how many numbers it is.
        log: the lines of the training's log, up to the model's iteration.
        score: what `limbeck prior score --json` says of it, if it was scored.
        prompts: of the sheet of samples.
    """
    training = prior.card.training
    architecture, captions = training["architecture"], training["captions"]
    parts = [f"| `{name}` | {_CLASSES[name]} | {count:,} |" for name, count in weights.items()]
    parts.append(f"| together | | {sum(weights.values()):,}, {2 * sum(weights.values()) / 1e6:.1f} MB |")
    logged = ""
    if log:
        last = log[-1]
        hours = last["seconds"] / 3600
        logged = f"Its mean squared error was {last['error']:.4f} at the end, after {hours:.1f} hours. "
    text = _TEXT.format(
        shapes=len(SHAPE_NAMES),
        colours=len(COLOURS),
        prompts=", ".join(prompts),
        size=prior.image_size,
        views=training["views_per_shape"],
        empty=_percent(captions["empty"]),
        degraded=_percent(DEGRADED_SHARE),
        held_out=", ".join(f"{colour} {shape}" for shape, colour in training["held_out"].items()),
        parts="\n".join(parts),
        channels=", ".join(map(str, architecture["channels"])),
        layers=architecture["text_layers"],
        width=architecture["text_width"],
        tokens=architecture["max_tokens"],
        iteration=training["iteration"],
        iterations=training["iterations"],
        batch=training["batch"],
        seed=training["seed"],
        rate=training["learning_rate"],
        target=_EXPECTED if training["expected_noise"] else "It was taught the noise that was drawn.",
        logged=logged,
        repeated=_repeated(prolonged_at(log, training["warm_up"])),
        figures=_figures(score),
        views_limit=_views_limit(score),
    )
    parts = [part if part.startswith(_FENCE) else _wrapped(part) for part in _FENCED.split(text)]
    return "".join(parts).rstrip() + "\n"


def prolonged_at(log: Sequence[Mapping[str, Any]], warm_up: int) -> list[int]:
    """Return the iterations at which the learning rate rose after the warm-up: there somebody asked for more of them.

    Args:
        log: the lines of the training's log, in order.
        warm_up: iterations at the beginning in which it rises as planned.
    """
    return [
        before["iteration"]
        for before, after in itertools.pairwise(log)
        if before["iteration"] > warm_up and after["learning_rate"] > before["learning_rate"]
    ]


def _repeated(prolonged: Sequence[int]) -> str:
    if not prolonged:
        return "To repeat it:"
    *others, last = [f"{iteration:,}" for iteration in prolonged]
    times = f"{', '.join(others)} and {last}" if others else last
    return (
        f"The plan was made longer near iteration {times}, where the rate rose and fell once more. One such training, "
        "planned as a whole:"
    )


def _figures(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "This copy was not scored; `limbeck prior score FOLDER` does that."
    sampler = f"{score['steps']} steps of DDIM at a guidance scale of {score['guidance_scale']:g}, seed {score['seed']}"
    return (
        f"Shares of pictures that show what was asked for ({sampler}), judged by the exact prior's posterior, those of "
        "the world's own pictures beside them; `score.json` has all of it, and `limbeck prior score` prints it:\n\n"
        f"```text\n{summary(dict(score))}\n```"
    )


def _views_limit(score: Mapping[str, Any] | None) -> str:
    """Return one more line of the limits: how little the words for a view are heeded, where that was scored."""
    if score is None:
        return ""
    share, chance = _percent(score["azimuth"]), f"{100 / len(AZIMUTH_WORDS):g} %"
    return (
        f"\n- Of {score['azimuth_pictures']} pictures whose view can be told, {share} show the one asked for; by "
        f"chance it would be {chance}."
    )


def _wrapped(text: str) -> str:
    """Return paragraphs in lines of equal length; tables, lists, headings and pictures stay as they are."""
    blocks = text.split("\n\n")
    return "\n\n".join(
        block if block.strip().startswith(("|", "-", "#", "!")) else textwrap.fill(block, 120, break_on_hyphens=False)
        for block in blocks
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
