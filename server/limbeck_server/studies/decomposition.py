"""What a prior's score is made of: NFSD's Figs. 2 to 4, and its claim about timesteps below 200, measured.

NFSD (Katzir et al. 2023, section 4) writes the guided prediction as a sum, e = delta_N + delta_D + s delta_C: the noise
that was added, the way to the domain of real pictures, and the direction of the prompt.

- delta_C = e(z; prompt) - e(z; empty) is known exactly; the paper finds it free of noise (Fig. 2).
- delta_N + delta_D = e(z; empty). To tell them apart the paper takes two pictures of the same content under the same
  noise: what is said of an in-domain one is delta_N, and delta_D is what is said of the out-of-domain one beyond that
  (Fig. 3).
- delta_N - noise, which SDS keeps, is not 0 (Fig. 4).
- Below timestep 200 delta_N is taken to be negligible, and e(z; empty) for delta_D; above, e(z; empty) less what a
  negative prompt predicts.

Where diffusion runs in pixels the decomposition has a truth of its own: the ideal denoiser of the renders gives
delta_N, and delta_D is what the prior says beyond that, -noise_std grad log (p / q), for p the prior's pictures and q
the renders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation.losses import nfsd
from limbeck_server.distillation.noising import add_noise, draw_noise, schedule_values
from limbeck_server.distillation.predictions import NoisePredictions
from limbeck_server.priors.kinds import EXACT
from limbeck_server.priors.prior import Prior
from limbeck_server.studies import decomposition_figures, pictures
from limbeck_server.studies.noise_free import correlation, rms
from limbeck_server.studies.priors import load_study_prior
from limbeck_server.studies.unfinished import STEPS, Pair, is_in_pixels, pair, trainer_for

PROMPT = "a yellow duck"
SHOWN = (20, 60, 120, 190, 210, 400, 600, 800)
"""Timesteps of the grid of pictures, and all that --quick measures; two lie close about the threshold of 200."""
TIMESTEPS = (20, 40, 60, 90, 120, 150, 190, 210, 250, 300, 400, 500, 600, 700, 800, 900, 980)
DRAWS, QUICK_DRAWS = 32, 8
DRAWS_AT_ONCE = 8
"""Of which each asks for up to three predictions in one call."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Components:
    """What is said of a pair of pictures under the same noise, at one timestep; all (draws, c, h, w).

    Attributes:
        timestep: of all draws.
        noise: that was added.
        noisy_inside, noisy_outside: z_t.
        conditional, empty, negative: e(z_t outside) under the prompt, the empty and the negative prompt.
        noise_part: delta_N as the paper finds it: e(z_t inside; empty).
        condition_inside: delta_C of the in-domain picture.
        true_noise_part: delta_N of the renders' own ideal denoiser; None where it is not known.
        signal_scale, noise_std: of the timestep.
    """

    timestep: int
    noise: Tensor
    noisy_inside: Tensor
    noisy_outside: Tensor
    conditional: Tensor
    empty: Tensor
    negative: Tensor
    noise_part: Tensor
    condition_inside: Tensor
    true_noise_part: Tensor | None
    signal_scale: float
    noise_std: float

    @property
    def condition(self) -> Tensor:
        """delta_C at the out-of-domain picture."""
        return self.conditional - self.empty

    @property
    def domain(self) -> Tensor:
        """delta_D as the paper finds it: what is said of the out-of-domain picture beyond delta_N."""
        return self.empty - self.noise_part

    @property
    def residual(self) -> Tensor:
        """delta_N - noise."""
        return self.noise_part - self.noise

    @property
    def true_domain(self) -> Tensor | None:
        """delta_D beside the renders' own delta_N; None where that is not known."""
        return None if self.true_noise_part is None else self.empty - self.true_noise_part

    def nfsd_domain(self) -> Tensor:
        """delta_D as the loss takes it: e(empty) below the threshold, e(empty) - e(negative) from it on."""
        count = len(self.noise)
        seen = NoisePredictions(
            reference_noise=self.noise,
            timestep=torch.full((count,), self.timestep, device=self.noise.device),
            signal_scale=torch.full((count, 1, 1, 1), self.signal_scale).to(self.noise),
            noise_std=torch.full((count, 1, 1, 1), self.noise_std).to(self.noise),
            conditional=self.conditional,
            unconditional=self.empty,
            negative=self.negative,
        )
        return nfsd.terms(seen, 1.0)["domain"]

    def guided(self, guidance_scale: float) -> Tensor:
        """Return the sum delta_N + delta_D + s delta_C; it is the guided prediction."""
        return self.noise_part + self.domain + guidance_scale * self.condition


def components(prior: Prior, seen: Pair, text: str, timestep: int, noise: Tensor) -> Components:
    """Return the parts of what the prior says of the pair, both under the same noise (draws, c, h, w)."""
    count = len(noise)
    timesteps = torch.full((count,), timestep, device=noise.device)
    signal_scale, noise_std = schedule_values(prior.schedule, timesteps, noise.device, noise.dtype)
    noisy = {
        place: add_noise(latents.expand_as(noise), noise, signal_scale, noise_std)
        for place, latents in (("inside", seen.inside), ("outside", seen.outside))
    }
    texts = {"conditional": [text] * count, "empty": [""] * count}
    inside = prior.predict_noise(noisy["inside"], timesteps, texts)
    texts |= {"negative": [prior.default_negative_prompt] * count}
    outside = prior.predict_noise(noisy["outside"], timesteps, texts)
    own = None if seen.own_noise is None else seen.own_noise(noisy["outside"], signal_scale, noise_std)
    return Components(
        timestep=timestep,
        noise=noise,
        noisy_inside=noisy["inside"],
        noisy_outside=noisy["outside"],
        conditional=outside["conditional"],
        empty=outside["empty"],
        negative=outside["negative"],
        noise_part=inside["empty"],
        condition_inside=inside["conditional"] - inside["empty"],
        true_noise_part=own,
        signal_scale=float(signal_scale[0]),
        noise_std=float(noise_std[0]),
    )


def measure(parts: Sequence[Components], seen: Pair) -> dict[str, float]:
    """Return sizes (root mean squares), correlations (cosines) with the noise and with each other, at one timestep.

    Args:
        parts: batches of draws at the same timestep.
        seen: the pair that they are about.
    """
    first = parts[0]

    def joined(values: Callable[[Components], Tensor | None]) -> Tensor | None:
        found = [value for part in parts if (value := values(part)) is not None]
        return torch.cat([value.double() for value in found]) if found else None

    way = (seen.inside - seen.outside).double()
    noise = joined(lambda part: part.noise)
    named = {
        "condition": joined(lambda part: part.condition),
        "condition_inside": joined(lambda part: part.condition_inside),
        "noise_part": joined(lambda part: part.noise_part),
        "residual": joined(lambda part: part.residual),
        "empty": joined(lambda part: part.empty),
        "domain": joined(lambda part: part.domain),
        "nfsd_domain": joined(lambda part: part.nfsd_domain()),
        "true_noise_part": joined(lambda part: part.true_noise_part),
        "true_domain": joined(lambda part: part.true_domain),
    }
    known = {name: values for name, values in named.items() if values is not None}
    assert noise is not None
    found = {"timestep": float(first.timestep), "noise_variance": first.noise_std**2}
    found |= {name: rms(values) for name, values in known.items()}
    found |= {f"{name}_with_noise": correlation(values, noise) for name, values in known.items() if name != "residual"}
    # The mean over the draws tells what is left of delta_D once the noise has averaged out.
    for name in ("condition", "domain", "nfsd_domain", "true_domain"):
        if name in known:
            found[f"{name}_towards"] = correlation(-known[name], way.expand_as(known[name]))
    found["nfsd_with_domain"] = correlation(known["nfsd_domain"], known["domain"])
    if "true_domain" in known:
        found["domain_with_true"] = correlation(known["domain"], known["true_domain"])
        found["nfsd_with_true"] = correlation(known["nfsd_domain"], known["true_domain"])
        found["noise_part_off"] = rms(known["noise_part"] - known["true_noise_part"])
    return found


def run(
    quick: bool,
    seed: int,
    out: Path,
    say: Say,
    prompt: str = PROMPT,
    prior: str | Prior = EXACT,
    size: int = 32,
    steps: int = STEPS,
    device: torch.device | str = "cpu",
    allow_download: bool = False,
) -> dict[str, Any]:
    """Measure the parts on two pairs, and write `decomposition.png`, pictures, and `decomposition-curves.png`.

    Args:
        quick: fewer timesteps and draws.
        seed: of the unfinished object and all noise.
        out: folder for the figures.
        say: told what is being done.
        prompt: what is made; where it names a shape and a colour of the known world there is a true picture.
        prior: its name, see `load_study_prior`, or the prior itself.
        size: side of the exact prior's pictures, 32 or 64.
        steps: of SDS, after which the object counts as unfinished.
        device: where a prior that is named lives.
        allow_download: fetch what is missing of it from the hub.

    Raises:
        PromptError: the prior does not understand the prompt.
        ModelError: the model is missing, unsafe or broken.
        DivergedError: the unfinished object's run did.
    """
    name = prior if isinstance(prior, str) else prior.name
    if isinstance(prior, str):
        say(f"loading {name}")
        prior = load_study_prior(prior, prompt, size, device, allow_download=allow_download)
    prior.check_prompt(prompt)
    text = prompt + prior.view_suffix(pictures.AZIMUTH_DEG, pictures.ELEVATION_DEG)
    timesteps, draws = (SHOWN, QUICK_DRAWS) if quick else (TIMESTEPS, DRAWS)
    trainer = trainer_for(prior, prompt, seed, steps)
    pairs = {"start": pair(prior, trainer, prompt, seed)}
    say(f"{steps} steps of SDS: the unfinished object")
    for _ in range(steps):
        trainer.step()
    pairs["unfinished"] = pair(prior, trainer, prompt, seed)

    found: dict[str, list[dict[str, float]]] = {}
    shown: list[Components] = []
    for label, seen in pairs.items():
        found[label] = []
        for timestep in timesteps:
            say(f"{label}: timestep {timestep}")
            # The same draws at every timestep, so that a row of pictures shows what the timestep changes.
            generator = torch.Generator().manual_seed(seed)
            batches = [min(DRAWS_AT_ONCE, draws - done) for done in range(0, draws, DRAWS_AT_ONCE)]
            parts = [
                components(prior, seen, text, timestep, draw_noise(seen.inside.expand(n, -1, -1, -1), generator))
                for n in batches
            ]
            found[label].append(measure(parts, seen))
            if label == "unfinished" and timestep in SHOWN:
                shown.append(parts[0])
    decomposition_figures.draw_pictures(prior, pairs["unfinished"], shown, out / "decomposition.png")
    decomposition_figures.draw_curves(found, out / "decomposition-curves.png")
    in_pixels = is_in_pixels(prior)
    return {
        "study": "decomposition",
        "prior": name,
        "choices": {
            "prompt": f"{text!r}, prior {name!r}, seed {seed}, {draws} draws of noise, the same for both pictures",
            "in-domain": pairs["unfinished"].origin,
            "out-of-domain": f"renders: the start of every run, a grey ball, and the object after {steps} steps of SDS",
            "delta_N": "paper: e(in-domain; empty). true: the ideal denoiser of the object's own renders"
            if in_pixels
            else "paper: e(in-domain; empty). No true one: the renders' own denoiser is known in pixels only",
            "delta_D": "paper: e(out-of-domain; empty) - delta_N. true: the same less the true delta_N. "
            f"NFSD: e(empty) below {nfsd.THRESHOLD:g}, e(empty) - e(negative) from there on",
            "pictures": "components as colours about grey, each on its own scale, with its root mean square above"
            if in_pixels
            else "pictures decoded by the VAE; components by their first 3 channels, about grey, each on its own scale",
        },
        "pairs": found,
        "figures": ["decomposition.png", "decomposition-curves.png"],
    }


def report(result: Mapping[str, Any]) -> str:
    """Return the tables and every choice, as text."""
    sizes = {
        "noise_part": "delta_N",
        "residual": "delta_N-eps",
        "domain": "delta_D",
        "true_domain": "d_D true",
        "nfsd_domain": "d_D NFSD",
        "condition": "delta_C",
    }
    cosines = {
        "noise_part_with_noise": "in~eps",
        "empty_with_noise": "out~eps",
        "condition_with_noise": "d_C~eps",
        "domain_with_noise": "d_D~eps",
        "nfsd_domain_with_noise": "NFSD~eps",
        "domain_with_true": "d_D~true",
        "nfsd_with_true": "NFSD~true",
        "domain_towards": "d_D~way",
        "condition_towards": "d_C~way",
    }
    lines = [
        f"The parts of the score of {result['prior']!r}. in, out: e(in-domain; empty), e(out-of-domain; empty); "
        "eps: the noise; way: from the render to the in-domain picture, along which a step (minus the part) should lead"
    ]
    for label, points in result["pairs"].items():
        for title, columns in (("root mean squares", sizes), ("cosines", cosines)):
            kept = {name: column for name, column in columns.items() if name in points[0]}
            lines.append(f"{label}: {title}")
            lines.append(f"{'t':>6}{'w=sigma^2':>11}" + "".join(f"{column:>12}" for column in kept.values()))
            for p in points:
                cells = "".join(f"{p[name]:>12.3f}" for name in kept)
                lines.append(f"{p['timestep']:>6.0f}{p['noise_variance']:>11.3f}{cells}")
    return "\n".join([*lines, "", "Choices", *(f"  {name}: {what}" for name, what in result["choices"].items())])
