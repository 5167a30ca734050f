"""A small classifier of the known world's pictures: which shape, which colour, and features to compare sets by.

A second judge beside the exact prior's posterior, made in another way, so that the two can contradict each other. It
has seen all pairs of shape and colour, those too that the network prior never sees: it judges composition.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from limbeck_server.known_world.names import SHAPE_NAMES
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.priors.prior import ModelError
from limbeck_server.priors.training.judging import shares_right
from limbeck_server.priors.training.state import write_whole

FOLDER = Path(__file__).parents[1] / "shipped"
"""Where the classifier that ships lies."""
WEIGHTS, CARD = "classifier.safetensors", "classifier.json"
_AT_ONCE = 256


@dataclass(frozen=True)
class ClassifierArchitecture:
    """Sizes of the classifier.

    Attributes:
        picture_size: side of the pictures in pixels.
        channels: of the convolutions, each with the stride of the same place.
        strides: see `channels`.
        features: how many numbers a picture comes to before shape and colour are read off them. Few, since a set of n
            pictures tells a covariance of d x d numbers only where n is well above d.
    """

    picture_size: int = 32
    channels: tuple[int, ...] = (24, 48, 64, 96, 96, 128)
    strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2)
    features: int = 32


class Classifier(nn.Module):
    """Convolutions, a mean over the picture, `features` numbers, and two linear readings of them.

    Args:
        architecture: its sizes. Weights are drawn from torch's own generator; see `build_classifier`.
    """

    def __init__(self, architecture: ClassifierArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        layers: list[nn.Module] = []
        before = 3
        for channels, stride in zip(architecture.channels, architecture.strides, strict=True):
            layers += [
                nn.Conv2d(before, channels, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            before = channels
        self.body = nn.Sequential(*layers)
        # What is where counts too, at the last size: a mean alone would take a snowman upside down for one.
        cells = (architecture.picture_size // _product(architecture.strides)) ** 2
        self.where = nn.Parameter(torch.ones(cells, before) / cells)
        self.to_features = nn.Linear(before, architecture.features)
        self.shape = nn.Linear(architecture.features, len(SHAPE_NAMES))
        self.colour = nn.Linear(architecture.features, len(COLOURS))

    def penultimate(self, pictures: Tensor) -> Tensor:
        """Return features (n, d) of pictures (n, 3, s, s) in 0..1, s its own size; differentiable."""
        seen = self.body(2 * pictures - 1).flatten(2)
        summed: Tensor = (seen * self.where.T).sum(dim=2)
        return functional.linear(summed, self.to_features.weight, self.to_features.bias)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the shapes (n, 28) and the colours (n, 12) of pictures (n, 3, s, s) in 0..1."""
        features = self.penultimate(pictures)
        return self.shape(features), self.colour(features)

    @torch.no_grad()
    def features(self, pictures: Tensor) -> Tensor:
        """Return features (n, d) float64 on the CPU of pictures (n, 3, h, w) in 0..1, any square size from its own up.

        Raises:
            ValueError: the pictures are smaller than those it knows, or not square.
        """
        chunks = [self.penultimate(chunk).double() for chunk in self._chunks(pictures)]
        return torch.cat(chunks).cpu() if chunks else torch.zeros(0, self.architecture.features, dtype=torch.float64)

    @torch.no_grad()
    def words(self, pictures: Tensor) -> dict[str, list[str]]:
        """Return the most probable `shape` and `colour` of every picture (n, 3, h, w) in 0..1; sizes as in `features`.

        Raises:
            ValueError: the pictures are smaller than those it knows, or not square.
        """
        found: dict[str, list[str]] = {"shape": [], "colour": []}
        for chunk in self._chunks(pictures):
            shapes, colours = self(chunk)
            found["shape"] += [SHAPE_NAMES[index] for index in shapes.argmax(dim=1).tolist()]
            found["colour"] += [list(COLOURS)[index] for index in colours.argmax(dim=1).tolist()]
        return found

    def _chunks(self, pictures: Tensor) -> list[Tensor]:
        """Return the pictures in parts, at the classifier's size, clamped to what a screen shows."""
        size = self.architecture.picture_size
        if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.shape[2] != pictures.shape[3]:
            raise ValueError(
                f"the classifier looks at square pictures (n, 3, h, h), but got {tuple(pictures.shape)}; crop them"
            )
        if pictures.shape[2] < size:
            raise ValueError(
                f"the classifier looks at pictures of {size} pixels or more, but these have {pictures.shape[2]}; judge "
                "them by the exact prior's posterior"
            )
        shown = functional.adaptive_avg_pool2d(pictures.to(self.where).clamp(0, 1), size)
        return list(torch.split(shown, _AT_ONCE))


def build_classifier(architecture: ClassifierArchitecture, seed: int) -> Classifier:
    """Return a classifier of random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(architecture)


def judge_by_classifier(classifier: Classifier, pictures: Tensor, prompts: Sequence[str]) -> dict[str, Any]:
    """Return the shares of pictures (n, 3, h, w) in 0..1 that show colour, shape, and both, of their prompts.

    The same table as `judging.judge_pictures`, by the other judge. A prompt that names no colour or no shape is right
    about it whatever the picture shows.
    """
    return shares_right(classifier.words(pictures), prompts)


def save_classifier(classifier: Classifier, folder: Path, about: Mapping[str, Any]) -> None:
    """Write weights in half precision, and `classifier.json` with sizes, the weights' digest and what else is said."""
    tensors = {
        name: value.detach().cpu().half().contiguous() if value.is_floating_point() else value.cpu()
        for name, value in classifier.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    data = save(tensors, {"format": "pt"})
    card = {"architecture": asdict(classifier.architecture), "sha256": hashlib.sha256(data).hexdigest(), **about}
    write_whole(folder / WEIGHTS, data)
    write_whole(folder / CARD, (json.dumps(card, indent=2) + "\n").encode())


def load_classifier(folder: Path | None = None, device: torch.device | str = "cpu") -> Classifier:
    """Return the classifier that ships, or that of a folder `limbeck prior classifier` has written, ready to judge.

    Raises:
        ModelError: it is missing or damaged.
    """
    place = folder or FOLDER
    card = classifier_card(place)
    try:
        data = (place / WEIGHTS).read_bytes()
        if hashlib.sha256(data).hexdigest() != card["sha256"]:
            raise _damaged(place, f"{WEIGHTS} is not what {CARD} says it is")
        sizes: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in card["architecture"].items()
        }
        classifier = Classifier(ClassifierArchitecture(**sizes))
        missing, unexpected = classifier.load_state_dict(load(data), strict=False)
        left = [name for name in missing if not name.endswith("num_batches_tracked")]
        if left or unexpected:
            raise _damaged(place, f"{WEIGHTS} lacks {left} or has {unexpected} besides")
    except (OSError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _damaged(place, f"{type(error).__name__}: {error}") from error
    return classifier.to(device).eval()


def classifier_card(folder: Path | None = None) -> dict[str, Any]:
    """Return what `classifier.json` says of the classifier that ships, or of a folder's: training and accuracy too.

    Raises:
        ModelError: it is missing or damaged.
    """
    place = folder or FOLDER
    try:
        card = json.loads((place / CARD).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            "MODEL_NOT_FOUND",
            f"there is no classifier in {place}: it has no {CARD}. Make one with `limbeck prior classifier`.",
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(place, f"{CARD} cannot be read ({type(error).__name__})") from error
    if not isinstance(card, dict):
        raise _damaged(place, f"{CARD} holds no object")
    return card


def _damaged(place: Path, why: str) -> ModelError:
    return ModelError(
        "MODEL_CORRUPT",
        f"the classifier in {place} is damaged: {why}. Install Limbeck anew, or make one with "
        "`limbeck prior classifier`.",
    )


def _product(numbers: Sequence[int]) -> int:
    result = 1
    for number in numbers:
        result *= number
    return result
