"""The one trick: a scalar whose derivative is a gradient that we made ourselves. Nothing else knows it."""

from __future__ import annotations

from torch import Tensor


class DivergedError(ArithmeticError):
    """The optimisation ran away: a gradient is no longer finite."""


def inject(latents: Tensor, gradient: Tensor, **facts: object) -> Tensor:
    """Return a scalar whose derivative with respect to `latents` is `gradient / views`.

    The scalar's value means nothing. Other codes replace what is not finite by zeros (`nan_to_num`) and go on; a run
    that lost its numbers is stopped here, where the reason can still be seen.

    Args:
        latents: (views, c, h, w), part of the graph.
        gradient: like `latents`; its own graph is ignored.
        facts: what the error should say of the step, such as `step=12` or `timestep=[300]`.

    Raises:
        ValueError: the shapes differ.
        DivergedError: the gradient has an element that is not finite.
    """
    gradient = gradient.detach()
    if gradient.shape != latents.shape:
        raise ValueError(f"the gradient {tuple(gradient.shape)} must be shaped like the latents {tuple(latents.shape)}")
    finite = gradient.isfinite()
    if not bool(finite.all()):
        raise DivergedError(_describe(latents.detach(), gradient, finite, facts))
    return (latents * gradient).sum() / latents.shape[0]


def _describe(latents: Tensor, gradient: Tensor, finite: Tensor, facts: dict[str, object]) -> str:
    count = int((~finite).sum())
    where = f" at {', '.join(f'{name} {value}' for name, value in facts.items())}" if facts else ""
    views = (~finite).flatten(1).any(1).nonzero().flatten().tolist()
    broken_latents = int((~latents.isfinite()).sum())
    cause = (
        f"{broken_latents} values of the latents are not finite either, so the scene itself has diverged"
        if broken_latents
        else f"the latents are finite, {float(latents.abs().max()):.3g} at most, so the prior's answer is what broke"
    )
    return (
        f"{count} of {gradient.numel()} values of the gradient are not finite{where} (views {views}); {cause}. "
        "Lower the learning rate or the guidance scale, or run the prior in full precision."
    )
