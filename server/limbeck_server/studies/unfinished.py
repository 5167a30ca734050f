"""Pairs of pictures for the study `decomposition`: one of the prior's own domain, one of an unfinished object.

NFSD (Katzir et al. 2023, section 4) compares what a prior says of an in-domain and of an out-of-domain picture of the
same content under the same noise. The unfinished object here is a real one: a field after some steps of SDS on the
prior at hand. Of its own renders the ideal denoiser is known too, where the diffusion runs in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck_server.distillation import trajectories
from limbeck_server.distillation.asking import Request, guided_predictor
from limbeck_server.distillation.noising import draw_noise
from limbeck_server.distillation.picture import picture_subject
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.known_world.captions import CaptionError
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.latent_space import PixelSpace
from limbeck_server.priors.mixture import ColourModel, ViewMixture, posterior_weights
from limbeck_server.priors.prior import Prior
from limbeck_server.priors.view_stack import ViewStack
from limbeck_server.scene.cameras import CameraRig, OrbitRange, Views, orbit_views
from limbeck_server.scene.field import FieldSettings
from limbeck_server.scene.renderer import RenderSettings
from limbeck_server.studies import pictures
from limbeck_server.studies.priors import knows_the_world

STEPS = 60
"""Of SDS, after which the object counts as unfinished."""
GUIDANCE_KNOWN_WORLD, GUIDANCE_ANY_TEXT = 2.0, 7.5
SAMPLING_FROM, SAMPLING_STEPS = 700, 20
"""Timestep to which an unfinished picture is noised, and the steps of DDIM that make an in-domain one of it."""
LARGEST_RENDER = 64
"""Side in pixels at which the field is trained and seen; a prior with larger pictures enlarges them."""
RING_AZIMUTHS, RING_ELEVATIONS_DEG = 24, (0.0, 15.0, 35.0)

OwnNoise = Callable[[Tensor, Tensor, Tensor], Tensor]
"""own(noisy (n, c, h, w), signal_scale (n, 1, 1, 1), noise_std (n, 1, 1, 1)) -> expected noise, shaped like noisy."""


@dataclass(frozen=True)
class Pair:
    """Two pictures of the same content.

    Attributes:
        inside: (1, c, h, w) clean latents of the prior's domain.
        outside: (1, c, h, w) of a render.
        own_noise: the ideal denoiser of the object's own renders; None where diffusion runs in a VAE's latents.
        origin: where the inside picture comes from, for the record.
    """

    inside: Tensor
    outside: Tensor
    own_noise: OwnNoise | None
    origin: str


def is_in_pixels(prior: Prior) -> bool:
    """Return whether the prior's latents are pictures in -1..1."""
    return isinstance(prior, ExactPrior) or isinstance(getattr(prior, "space", None), PixelSpace)


def picture_size(prior: Prior) -> int:
    """Return the side in pixels of the pictures that the prior's latents are made of."""
    return int(prior.size if isinstance(prior, ExactPrior) else getattr(prior, "image_size", LARGEST_RENDER))


def camera() -> Views:
    """Return the one camera of the studies' pictures: front left, at eye level."""
    return orbit_views(torch.tensor([pictures.AZIMUTH_DEG]), torch.tensor([pictures.ELEVATION_DEG]))


def trainer_for(prior: Prior, prompt: str, seed: int, steps: int = STEPS) -> Trainer:
    """Return a small field on its way to the prompt's object by SDS; it stands at its start."""
    render_size = min(LARGEST_RENDER, picture_size(prior))
    settings = TrainerSettings(
        prompt=prompt,
        negative_prompt=prior.default_negative_prompt,
        loss="sds",
        guidance_scale=GUIDANCE_KNOWN_WORLD if knows_the_world(prior) else GUIDANCE_ANY_TEXT,
        timestep_min=0.02,
        timestep_max=((0.0, 0.98),),
        weighting="noise_variance",
        steps=steps,
        views_per_step=1,
        render_size=((0.0, render_size),),
        learning_rate=0.05,
        background="random",
        shading="albedo",
        regularizers={"total_variation": ((0.0, 1e-3),)},
        scene=FieldSettings(kind="voxels", resolution=40),
        rendering=RenderSettings(samples_per_ray=40),
        seed=seed,
    )
    return Trainer(prior, CameraRig(orbit=OrbitRange()), settings)


def pair(prior: Prior, trainer: Trainer, prompt: str, seed: int) -> Pair:
    """Return the pair of what the trainer's field is now.

    On a prior of the known world the inside picture is the true one; the exact prior's is the nearest of the pictures
    that it knows, so that it is in its domain to the last digit. Any other prior makes one itself, out of the
    unfinished picture: noised to timestep 700 and sampled from there with the prompt (SDEdit, Meng et al. 2021).
    """
    size = int(trainer.settings.render_size[0][1])
    outside = prior.encode_images(trainer.render_still(camera(), size).image.clamp(0, 1)).detach()
    inside, origin = _inside(prior, outside, prompt, seed)
    return Pair(inside, outside, own_noise(prior, trainer, outside.shape[-1]), origin)


def _inside(prior: Prior, outside: Tensor, prompt: str, seed: int) -> tuple[Tensor, str]:
    text = prompt + prior.view_suffix(pictures.AZIMUTH_DEG, pictures.ELEVATION_DEG)
    true = _true_latents(prior, prompt)
    if true is None:
        return _sampled(prior, outside, text, seed), "sampled by the prior from the unfinished picture"
    if isinstance(prior, ExactPrior):
        sigma = torch.full((1,), pictures.NEAREST_SIGMA)
        return prior.denoise_at(true, sigma, [text]), "the picture of the prior's own that is nearest to the truth"
    return true, "the true picture"


def _true_latents(prior: Prior, prompt: str) -> Tensor | None:
    """Return latents of the true picture, before grey; None where no truth is known."""
    if not knows_the_world(prior):
        return None
    try:
        caption = pictures.known_caption(prompt)
    except (CaptionError, ValueError):
        return None
    assert caption.shape is not None
    assert caption.colour is not None
    seen = pictures.true_buffers(caption.shape, picture_size(prior))
    return prior.encode_images(pictures.in_colour(seen, caption.colour).to(prior.device))


@torch.no_grad()
def _sampled(prior: Prior, outside: Tensor, text: str, seed: int) -> Tensor:
    """Return an in-domain picture (1, c, h, w) like the outside one: noise, then DDIM with guidance."""
    generator = torch.Generator().manual_seed(seed)
    start = min(SAMPLING_FROM, prior.schedule.timesteps - 1)
    timesteps = torch.linspace(start, 0, SAMPLING_STEPS + 1).round().long()
    sigmas = prior.schedule.sigmas.cpu()[timesteps].to(outside)[:, None].clone()
    sigmas[-1] = 0.0
    request = Request(
        needed=frozenset({"conditional", "unconditional"}),
        timesteps=timesteps[:1].to(outside.device),
        noise=draw_noise(outside, generator),
        guidance_scale=GUIDANCE_KNOWN_WORLD if knows_the_world(prior) else GUIDANCE_ANY_TEXT,
    )
    predict = guided_predictor(prior, picture_subject(prior, outside, text), request)
    return trajectories.sample(predict, outside + sigmas[0] * request.noise, sigmas)


def own_noise(prior: Prior, trainer: Trainer, size: int) -> OwnNoise | None:
    """Return the ideal denoiser of the object's renders from all around, before any plain background.

    It is the exact prior's mathematics on renders: a view is its premultiplied colours and its opacity, the background
    a Gaussian as in the known world. What it answers is the noise in a render as far as it can be known, delta_N of the
    object's own domain, and what the prior answers less this is a way from that domain to the prior's:
    -noise_std grad log (p / q). VSD trains a network to be it.
    """
    if not is_in_pixels(prior):
        return None
    azimuths = torch.arange(RING_AZIMUTHS) * (360.0 / RING_AZIMUTHS)
    ring = torch.cartesian_prod(azimuths, torch.tensor(RING_ELEVATIONS_DEG))
    around = orbit_views(ring[:, 0], ring[:, 1])
    # The pair's own camera is one of those around: its picture is a render like the others.
    seen = [trainer.render_still(views, size) for views in (camera(), *(around[k : k + 1] for k in range(len(around))))]
    buffers = torch.cat([torch.cat([torch.zeros_like(r.opacity), r.colour, r.opacity], dim=1) for r in seen])
    return own_noise_of(buffers.detach().cpu())


def own_noise_of(buffers: Tensor) -> OwnNoise:
    """Return the ideal denoiser of views (n, 5, h, w), all equally probable; for the channels see `ViewStack`."""
    mixture = ViewMixture([ViewStack.from_buffers(buffers, dtype=torch.float64)], ColourModel(torch.full((1, 3), 0.5)))
    height, width = buffers.shape[2:]

    @torch.no_grad()
    def expected(noisy: Tensor, signal_scale: Tensor, noise_std: Tensor) -> Tensor:
        z, signal, noise = (values.detach().cpu().double() for values in (noisy, signal_scale, noise_std))
        explanation = mixture.explain((z / signal + 1) / 2, (noise / (2 * signal)).flatten())
        weights = posterior_weights(explanation.log_density, 0.0)
        means = mixture.mean_pictures(explanation, torch.arange(len(z)), weights, (height, width))
        return ((z - signal * (2 * means - 1)) / noise).to(noisy)

    return expected
