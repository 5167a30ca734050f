"""Whether pictures show what was asked for, judged by the exact prior's posterior over shapes, colours and views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.known_world.captions import Caption, parse_caption
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.training.batches import world_colours
from limbeck_server.priors.training.held_out import HELD_OUT, held_out_colour

VIEWS_PER_SHAPE = 960
"""Of which a twentieth is kept for true pictures. Of those the judge mistakes 5 % of shapes with 240, 1 % with 960."""
FORGIVEN_STD = 0.25
"""Deviation from a perfect picture of 32 pixels, in 0..1, that the posterior forgives; it grows with the side."""
ONE_FRONT: tuple[str, ...] = ("duck", "car", "chair", "mug", "airplane", "sofa")
"""Shapes whose azimuth a picture shows."""
_AT_ONCE = 32


@dataclass(frozen=True)
class Judge:
    """Who looks at pictures.

    Attributes:
        prior: the exact prior of clean pictures.
        others: views that it does not hold, of which true pictures are made.
        others_per_shape: how many of them.
    """

    prior: ExactPrior
    others: ViewLibrary
    others_per_shape: int


def load_judge(size: int, cache_folder: Path | None = None, views_per_shape: int = VIEWS_PER_SHAPE) -> Judge:
    """Return who judges pictures of `size` pixels by views of every shape; the last of them are the others."""
    library = load_library(dict.fromkeys(SHAPE_NAMES, views_per_shape), size, cache_folder)
    known, others, others_per_shape = split_views(library, views_per_shape)
    return Judge(ExactPrior(known), others, others_per_shape)


def split_views(library: ViewLibrary, views_per_shape: int) -> tuple[ViewLibrary, ViewLibrary, int]:
    """Return a library's views in two parts, and how many of a shape the second has: the last twentieth, at least one.

    Who judges knows the first part; true pictures that it has not seen are made of the second.
    """
    others = max(1, views_per_shape // 20)
    known = torch.arange(len(library.shape_index)) % views_per_shape < views_per_shape - others
    return _rows(library, known), _rows(library, ~known), others


def true_pictures(judge: Judge, prompts: Sequence[str], generator: torch.Generator) -> Tensor:
    """Return a true picture (n, 3, s, s) of every prompt that names a shape and a colour, from anywhere."""
    model = world_colours()
    wanted = [parse_caption(prompt) for prompt in prompts]
    shapes = torch.tensor([judge.others.shape_names.index(str(caption.shape)) for caption in wanted])
    rows = shapes * judge.others_per_shape + torch.randint(judge.others_per_shape, (len(wanted),), generator=generator)
    colours = torch.tensor([list(COLOURS).index(str(caption.colour)) for caption in wanted])
    main = model.means[colours] + model.std * torch.randn(len(wanted), 3, generator=generator)
    background = model.background_mean + model.background_std * torch.randn(len(wanted), 3, generator=generator)
    return compose_picture(judge.others.buffers[rows].float() / 255, main, background)


def seen_prompts(count: int, seed: int = 0) -> list[str]:
    """Return prompts of a shape in a colour that training has shown, all shapes before any comes twice."""
    generator = torch.Generator().manual_seed(seed)
    prompts = []
    for shape in _shapes(count, generator):
        index = int(torch.randint(len(COLOURS) - 1, (1,), generator=generator))
        prompts.append(_prompt(shape, list(COLOURS)[index + (index >= held_out_colour(shape))]))
    return prompts


def unseen_prompts(count: int, seed: int = 0) -> list[str]:
    """Return prompts of a shape in the colour that training has left out for it; at most one a shape."""
    shapes = _shapes(min(count, len(SHAPE_NAMES)), torch.Generator().manual_seed(seed))
    return [_prompt(shape, HELD_OUT[shape]) for shape in shapes]


@torch.no_grad()
def words_seen(judge: Judge, pictures: Tensor, over: str, given: Sequence[str]) -> list[str]:
    """Return the most probable word of every picture (n, 3, s, s) in 0..1.

    Args:
        judge: see `load_judge`.
        pictures: on any device.
        over: `shape`, `colour`, `azimuth` or `elevation`.
        given: a caption per picture, known to hold; empty where nothing is.
    """
    forgiven = FORGIVEN_STD * judge.prior.size / 32
    found = []
    for first in range(0, len(pictures), _AT_ONCE):
        chunk = pictures[first : first + _AT_ONCE].to(judge.prior.device)
        texts = given[first : first + _AT_ONCE]
        if len(set(texts)) == 1:
            words, probabilities = judge.prior.posterior(chunk, forgiven, over, texts[0])
            found += [words[index] for index in probabilities.argmax(dim=1).tolist()]
            continue
        for index, text in enumerate(texts):
            words, probabilities = judge.prior.posterior(chunk[index : index + 1], forgiven, over, text)
            found.append(words[int(probabilities.argmax())])
    return found


def judge_pictures(judge: Judge, pictures: Tensor, prompts: Sequence[str]) -> dict[str, Any]:
    """Return the shares of pictures (n, 3, s, s) in 0..1 that show the colour, the shape, and both, of their prompts.

    Besides, `prompts`: prompt -> the share of its pictures that show both.
    """
    nothing = [""] * len(prompts)
    return shares_right({over: words_seen(judge, pictures, over, nothing) for over in ("colour", "shape")}, prompts)


def shares_right(seen: Mapping[str, Sequence[str]], prompts: Sequence[str]) -> dict[str, Any]:
    """Return how often the words seen in pictures are those of their prompts.

    Args:
        seen: `shape` and `colour` -> the word seen in every picture.
        prompts: one per picture.

    Returns:
        `pictures`, their number; `colour`, `shape`, `both`, shares 0..1; `prompts`: prompt -> its share of both.
    """
    wanted = [parse_caption(prompt) for prompt in prompts]
    right = {
        over: [getattr(caption, over) in (None, word) for word, caption in zip(seen[over], wanted, strict=True)]
        for over in ("colour", "shape")
    }
    both = [colour and shape for colour, shape in zip(right["colour"], right["shape"], strict=True)]
    per_prompt: dict[str, list[bool]] = {}
    for prompt, hit in zip(prompts, both, strict=True):
        per_prompt.setdefault(prompt, []).append(hit)
    return {
        "pictures": len(prompts),
        "colour": _share(right["colour"]),
        "shape": _share(right["shape"]),
        "both": _share(both),
        "prompts": {prompt: _share(hits) for prompt, hits in per_prompt.items()},
    }


def judge_azimuths(judge: Judge, pictures: Tensor, captions: Sequence[Caption]) -> float:
    """Return the share of pictures whose most probable azimuth word, given their shape, is the caption's."""
    given = [f"a {caption.shape}" for caption in captions]
    seen = words_seen(judge, pictures, "azimuth", given)
    return _share([word == caption.azimuth for word, caption in zip(seen, captions, strict=True)])


def _rows(library: ViewLibrary, chosen: Tensor) -> ViewLibrary:
    """Return the chosen views of a library."""
    return replace(
        library,
        buffers=library.buffers[chosen],
        shape_index=library.shape_index[chosen],
        azimuth_deg=library.azimuth_deg[chosen],
        elevation_deg=library.elevation_deg[chosen],
    )


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)


def _prompt(shape: str, colour: str) -> str:
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"


def _shapes(count: int, generator: torch.Generator) -> list[str]:
    order: list[int] = []
    while len(order) < count:
        order += torch.randperm(len(SHAPE_NAMES), generator=generator).tolist()
    return [SHAPE_NAMES[index] for index in order[:count]]
