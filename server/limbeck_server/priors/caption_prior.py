"""What a caption says about stored views: one joint distribution over the known world, and its restrictions.

Before anything is said, a picture is degraded with a small probability, shows any shape equally likely, any stored view
of that shape equally likely, and any colour word equally likely. A caption only ever *restricts* this joint
distribution (to a shape, a colour word, a sector of views, degraded pictures), so every prompt's density is an exact
conditional of the empty prompt's, and p(z) = sum of p(caption) p(z | caption) holds whatever the captions tell apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.known_world.captions import (
    AZIMUTH_WORDS,
    ELEVATION_WORDS,
    Caption,
    CaptionError,
    azimuth_word,
    elevation_word,
    parse_caption,
)
from limbeck_server.known_world.library import ViewLibrary
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.prior import PromptError

_REMEMBERED_TEXTS = 256


@dataclass(frozen=True)
class Labels:
    """A word for every stored view, or for every colour component.

    Attributes:
        words: the words there are.
        index: (views,) or (components,) int64, which word applies.
    """

    words: tuple[str, ...]
    index: Tensor


@dataclass(frozen=True)
class Restriction:
    """What a caption leaves of the joint distribution: a conditional distribution of view and colour component.

    Attributes:
        log_view: (views,) float64 log probabilities, -inf where the caption excludes the view.
        log_colour: (components,) likewise.
    """

    log_view: Tensor
    log_colour: Tensor

    @property
    def log_joint(self) -> Tensor:
        """(views, components) log probabilities of view and component together."""
        return self.log_view[:, None] + self.log_colour


class CaptionPrior:
    """The joint distribution of stored views and colour words, and its restriction by captions.

    Attributes:
        labels: `shape`, `azimuth`, `elevation` (of the views) and `colour` (of the components).
        log_view: (views,) float64 log probabilities before anything is said; degraded views come last.
        degraded: (views,) bool.
    """

    def __init__(
        self, clean: ViewLibrary, degraded: ViewLibrary | None, degraded_share: float, device: torch.device
    ) -> None:
        libraries = [clean] if degraded is None else [clean, degraded]
        shares = [1.0] if degraded is None else [1.0 - degraded_share, degraded_share]
        for library in libraries:
            if library.shape_names != clean.shape_names or library.size != clean.size:
                raise ValueError(
                    f"degraded views must have the library's shapes and size {clean.size}, but have "
                    f"size {library.size} and shapes {', '.join(library.shape_names)}"
                )
        shapes = torch.cat([library.shape_index for library in libraries])
        azimuths = torch.cat([library.azimuth_deg for library in libraries]).tolist()
        elevations = torch.cat([library.elevation_deg for library in libraries]).tolist()
        index = {
            "shape": (clean.shape_names, shapes),
            "azimuth": (AZIMUTH_WORDS, [AZIMUTH_WORDS.index(azimuth_word(azimuth)) for azimuth in azimuths]),
            "elevation": (
                ELEVATION_WORDS,
                [ELEVATION_WORDS.index(elevation_word(elevation)) for elevation in elevations],
            ),
            "colour": (tuple(COLOURS), range(len(COLOURS))),
        }
        self.labels = {
            over: Labels(words, torch.as_tensor(of_each, dtype=torch.int64, device=device))
            for over, (words, of_each) in index.items()
        }
        self.log_view = torch.cat([_log_uniform(lib, share) for lib, share in zip(libraries, shares, strict=True)])
        self.log_view = self.log_view.to(device)
        self.degraded = torch.arange(len(shapes), device=device) >= len(clean.shape_index)
        self._restrictions: dict[tuple[str, bool], Restriction] = {}

    def restrict(self, text: str, include_degraded: bool = True) -> Restriction:
        """Return the conditional distribution that a caption describes.

        Args:
            text: the caption; the empty string describes everything.
            include_degraded: whether everything includes degraded pictures. Captions that call a picture degraded
                always mean degraded ones, and all others clean ones.

        Raises:
            PromptError: if a word is unknown, or if no stored view fits the caption.
        """
        key = (text, include_degraded)
        if key not in self._restrictions:
            if len(self._restrictions) >= _REMEMBERED_TEXTS:
                self._restrictions.clear()
            self._restrictions[key] = self._restrict(text, include_degraded)
        return self._restrictions[key]

    def _restrict(self, text: str, include_degraded: bool) -> Restriction:
        try:
            caption = parse_caption(text)
        except CaptionError as error:
            raise PromptError(str(error)) from error
        fits = torch.ones_like(self.degraded)
        for over, word in (("shape", caption.shape), ("azimuth", caption.azimuth), ("elevation", caption.elevation)):
            if word is not None:
                fits &= self._matches(over, word)
        # The empty prompt is the whole joint distribution; anything said of a picture that does not call it degraded
        # is said of a clean one.
        if caption.degraded:
            fits &= self.degraded
        elif caption != Caption() or not include_degraded:
            fits &= ~self.degraded
        log_view = self.log_view.masked_fill(~fits, -math.inf)
        mass = log_view.logsumexp(dim=0)
        if mass == -math.inf:
            raise PromptError(
                f"no stored view of the known world fits {text!r}: of its shapes this prior holds "
                f"{', '.join(self.labels['shape'].words)}. Leave out a view word, or load the prior for this prompt."
            )
        named = torch.ones_like(self.labels["colour"].index, dtype=torch.bool)
        if caption.colour is not None:
            named = self._matches("colour", caption.colour)
        log_colour = torch.zeros(len(named), dtype=torch.float64, device=named.device).masked_fill(~named, -math.inf)
        return Restriction(log_view - mass, log_colour - log_colour.logsumexp(dim=0))

    def _matches(self, over: str, word: str) -> Tensor:
        """Return which views (or components) carry a word."""
        labels = self.labels[over]
        if word not in labels.words:  # a shape of the known world that this library leaves out
            return torch.zeros_like(labels.index, dtype=torch.bool)
        return labels.index == labels.words.index(word)


def _log_uniform(library: ViewLibrary, share: float) -> Tensor:
    """Return the log probability of each view: `share`, split evenly over the shapes and then over a shape's views."""
    counts = torch.bincount(library.shape_index.long(), minlength=len(library.shape_names)).double()
    shapes = int((counts > 0).sum())
    return math.log(share) - math.log(shapes) - counts[library.shape_index.long()].log()
