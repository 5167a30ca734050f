"""w(t): how much each timestep's gradient counts, by name. Torch is not imported: the server lists the names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def noise_variance(signal_scale: Tensor, noise_std: Tensor) -> Tensor:
    """Return sigma_t^2 = 1 - alpha_bar: DreamFusion's choice, and what threestudio calls `sds`."""
    return noise_std**2


def uniform(signal_scale: Tensor, noise_std: Tensor) -> Tensor:
    """Return ones: every timestep counts alike."""
    return noise_std.new_ones(noise_std.shape)


def signal_noise(signal_scale: Tensor, noise_std: Tensor) -> Tensor:
    """Return alpha_t sigma_t^2 = sqrt(alpha_bar) (1 - alpha_bar), small at both ends: Fantasia3D (Chen et al. 2023)."""
    return signal_scale * noise_std**2


def noise_to_signal(signal_scale: Tensor, noise_std: Tensor) -> Tensor:
    """Return sigma_t / alpha_t = sqrt((1 - alpha_bar) / alpha_bar): what a noise prediction's error means in pictures.

    ISM's weight (Liang et al. 2023, arXiv:2311.11284), and what SDI's regression onto the denoised picture amounts to
    (Lukoianov et al. 2024, arXiv:2405.15891).
    """
    return noise_std / signal_scale


WEIGHTINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "noise_variance": noise_variance,
    "uniform": uniform,
    "signal_noise": signal_noise,
    "noise_to_signal": noise_to_signal,
}


def choose_weighting(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return w as a function of signal scale and noise std, both (views, 1, 1, 1); its result has that shape too.

    Raises:
        ValueError: there is no such weighting; the message lists those there are.
    """
    if name not in WEIGHTINGS:
        raise ValueError(f"there is no weighting {name!r}; there are: {', '.join(WEIGHTINGS)}")
    return WEIGHTINGS[name]
