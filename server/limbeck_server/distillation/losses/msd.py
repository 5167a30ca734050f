"""Mean-shift distillation: towards a sample of the prior near the render, in a neighbourhood that shrinks.

Source: Mean-Shift Distillation (Thamizharasan et al. 2025), Algorithms 1 and 2. y is drawn from the product of the
prior's density and a Gaussian kernel around z, exp(-|y - z|^2 / bandwidth^2); its mean is the mean shift's target,
whose fixed points are the modes of the smoothed density. The paper's y - z is the direction of ascent; an optimiser
that descends receives z - y. How y is drawn is `trajectories.py`'s business, under the loss's parameters.

The paper stops a run once the bandwidth falls below its least. Here a run's length is given, and its bandwidth reaches
`bandwidth_min` as it ends. Every chain starts at the upper end of the timesteps, whatever their schedule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck_server.distillation.losses.loss import INVERSION_FLOOR, DistillationLoss, LossParameter, Parameters, choice
from limbeck_server.distillation.predictions import NoisePredictions

if TYPE_CHECKING:
    from torch import Tensor


def gradient(predictions: NoisePredictions, guidance_scale: float | Tensor) -> Tensor:
    """Return d loss / d latents (views, c, h, w), unweighted: z - y.

    Args:
        predictions: `latents` z and `target` y are read.
        guidance_scale: has already done its work while y was drawn (diffusers' convention; the paper's 7.5 counts from
            the conditional prediction, so it is 8.5 here).
    """
    return predictions.need("latents") - predictions.need("target")


def terms(predictions: NoisePredictions, guidance_scale: float | Tensor) -> dict[str, Tensor]:
    """Return `distance`, y - z: what is left to go, the paper's measure of progress."""
    return {"distance": predictions.need("target") - predictions.need("latents")}


def check(parameters: Parameters, closed_form: bool) -> str | None:
    """Return what does not fit together, as a sentence."""
    if float(parameters["bandwidth_min"]) > float(parameters["bandwidth"]):
        return (
            f"msd's bandwidth shrinks from {parameters['bandwidth']:g} to bandwidth_min, which is "
            f"{parameters['bandwidth_min']:g} and larger. Lower bandwidth_min or raise bandwidth."
        )
    if float(parameters["kernel_low"]) >= float(parameters["kernel_high"]):
        return (
            f"msd's kernel acts between kernel_low and kernel_high, but {parameters['kernel_low']:g} is not below "
            f"{parameters['kernel_high']:g}. Lower kernel_low or raise kernel_high."
        )
    if parameters["sampler"] == "product" and not closed_form:
        return (
            "msd's sampler 'product' is unbiased because it asks for denoised pictures at any noise level, which only "
            "a prior in closed form can answer; a network cannot. Choose the sampler 'splitting', or the prior 'exact'."
        )
    return None


LOSS = DistillationLoss(
    name="msd",
    title="Mean-shift distillation",
    paper="Mean-Shift Distillation (Thamizharasan et al. 2025), arXiv:2502.15989",
    gradient=gradient,
    needs=frozenset({"target"}),
    route="product",
    route_parameters=(
        choice(
            "sampler",
            ("splitting", "product"),
            "How y is drawn: 'splitting' is the paper's (any prior), 'product' is unbiased (exact prior only).",
        ),
        LossParameter(
            name="bandwidth",
            default=300.0,
            minimum=1e-4,
            maximum=1e5,
            description="Width of the kernel when the run begins; its unit is kernel_time's.",
        ),
        LossParameter(
            name="bandwidth_min",
            default=3.0,
            minimum=1e-4,
            maximum=1e5,
            description="Width of the kernel when the run ends.",
        ),
        choice("bandwidth_decay", ("geometric", "linear"), "How the one becomes the other."),
        LossParameter(
            name="sampling_steps",
            default=20.0,
            minimum=1.0,
            maximum=1000.0,
            description="DDIM steps from noise to y, each a prediction under every prompt; quality against time.",
            whole=True,
        ),
        choice(
            "centre",
            ("shared_noise", "inversion", "mean"),
            "What the kernel pulls towards at each noise level (splitting): z under the chain's own noise, z inverted "
            "by DDIM (the paper's, and dearer), or z without noise.",
        ),
        choice(
            "kernel_time",
            ("timestep", "variance"),
            "What time the kernel decays in (splitting): 'timestep' fits the paper's bandwidths of 10; 'variance' is "
            "exact, and the bandwidth is then a distance between latents, as it always is for 'product'.",
        ),
        LossParameter(
            name="kernel_low",
            default=0.072,
            minimum=0.0,
            maximum=1.0,
            description="Share of the schedule from which the kernel acts (splitting).",
        ),
        LossParameter(
            name="kernel_high",
            default=0.813,
            minimum=0.0,
            maximum=1.0,
            description="Share of the schedule up to which the kernel acts (splitting).",
        ),
        INVERSION_FLOOR,
    ),
    terms=terms,
    check=check,
)
