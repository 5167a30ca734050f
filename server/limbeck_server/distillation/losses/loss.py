"""What a loss is, to the trainer and to the catalogue. Torch is not imported: the server lists losses without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Parameters = Mapping[str, float | str]

BRANCHES = frozenset({"conditional", "unconditional", "negative", "particle", "reference", "interval", "target"})
"""What a loss may ask for. The first three are prompts; `particle` is VSD's own model; `reference` stands for the
guided pair at DDS's reference, `interval` for ISM's earlier prediction, `target` for MSD's sample."""
ROUTES = ("random", "inversion", "interval", "product", "paired")
"""How the noisy latents come about; `observations.py` holds the functions of these names."""


@dataclass(frozen=True)
class LossParameter:
    """What a loss lets a user choose besides the guidance scale: a number within bounds, or one of a few words."""

    name: str
    default: float | str
    minimum: float
    maximum: float
    description: str
    choices: tuple[str, ...] = ()
    """Where there are any, the value is one of them, and the bounds mean nothing."""
    whole: bool = False
    """Whether it counts something, so that a fraction has no meaning."""


def choice(name: str, choices: tuple[str, ...], description: str) -> LossParameter:
    """Return a parameter that is one of a few words; the first is the default."""
    return LossParameter(name, choices[0], 0.0, 0.0, description, choices)


INVERSION_FLOOR = LossParameter(
    name="inversion_floor",
    default=0.0,
    minimum=0.0,
    maximum=999.0,
    description=(
        "Lowest timestep at which the prior is asked while inverting. A render is never quite a picture that the prior "
        "knows, and near timestep 0 an exact prior calls the difference noise, magnified without bound."
    ),
    whole=True,
)
"""For losses that invert the render."""


@dataclass(frozen=True)
class DistillationLoss:
    """A loss as the trainer and the catalogue see it."""

    name: str
    title: str
    paper: str
    gradient: Callable[..., Tensor]
    """`gradient(predictions, guidance_scale, **own_parameters)`: d loss / d latents, unweighted."""
    needs: frozenset[str]
    """All that it may ask for, out of `BRANCHES`."""
    own_parameters: tuple[LossParameter, ...] = ()
    """What `gradient` takes besides the predictions and the guidance scale."""
    route: str = "random"
    """How the noisy latents come about: one of `ROUTES`."""
    route_parameters: tuple[LossParameter, ...] = ()
    """What the route takes."""
    narrow: Callable[[Sequence[int], Parameters], frozenset[str]] | None = None
    """Where a loss can do with less at some timesteps: what it needs there."""
    terms: Callable[..., dict[str, Tensor]] | None = None
    """Where there is more to watch than the gradient: called like it, it returns tensors like the latents, by name."""
    unguided_scale: float = 1.0
    """The guidance scale that is no guidance: 0 where it is a plain factor on guidance's direction."""
    check: Callable[[Parameters, bool], str | None] | None = None
    """`check(parameters, closed_form)`: a sentence if values do not fit together, or not the prior."""

    @property
    def parameters(self) -> tuple[LossParameter, ...]:
        """Everything that a user may choose."""
        return self.own_parameters + self.route_parameters

    def branches(self, timesteps: Sequence[int], parameters: Parameters) -> frozenset[str]:
        """Return what is needed for a batch of views at these timesteps; a prior is asked for no more."""
        return self.needs if self.narrow is None else self.narrow(timesteps, parameters)

    def own(self, parameters: Parameters) -> dict[str, float | str]:
        """Return the parameters that `gradient` and `terms` take, out of all."""
        return {p.name: parameters[p.name] for p in self.own_parameters if p.name in parameters}
