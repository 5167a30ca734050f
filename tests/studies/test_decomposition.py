"""The study of the score's parts: closed forms on Gaussian domains, then the study itself in small on every kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_server.distillation.predictions import classifier_free_guidance
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.prior import NoiseSchedule, PromptError
from limbeck_server.studies import decomposition
from limbeck_server.studies.decomposition import Components, components, measure
from limbeck_server.studies.unfinished import Pair, own_noise_of
from torch import Tensor

STD = 0.6
SHAPE = (1, 3, 6, 6)
DRAWS = 5


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*(shape or SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


MEANS = {"": drawn(1), "a duck": drawn(2), "bad": drawn(3)}
SHIFT = drawn(4)


class GaussianPrior:
    """The ideal denoiser of pictures N(mean of the text, STD^2), whose every answer is known by hand."""

    name = "gaussian"
    shaded = True
    default_negative_prompt = "bad"
    device = torch.device("cpu")
    evaluations = 0
    schedule = NoiseSchedule.stable_diffusion()

    def predict_noise(
        self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]
    ) -> dict[str, Tensor]:
        signal, std = self.schedule.at(timesteps, noisy)
        return {
            branch: std * (noisy - signal * torch.cat([MEANS[text] for text in texts])) / variance(signal, std)
            for branch, texts in prompts.items()
        }


def variance(signal: Tensor, std: Tensor) -> Tensor:
    """Of z_t, per element."""
    return signal**2 * STD**2 + std**2


def own_noise_of_shifted(noisy: Tensor, signal: Tensor, std: Tensor) -> Tensor:
    """The ideal denoiser of the same domain, moved by SHIFT."""
    return std * (noisy - signal * (MEANS[""] + SHIFT)) / variance(signal, std)


@pytest.fixture(params=[20, 150, 250, 900])
def seen(request: pytest.FixtureRequest) -> tuple[Components, Pair, Tensor, Tensor]:
    inside = drawn(5)
    pair = Pair(inside, inside + SHIFT, own_noise_of_shifted, "by hand")
    noise = drawn(6, DRAWS, *SHAPE[1:])
    signal, std = GaussianPrior.schedule.at(torch.tensor([request.param]), noise)
    return components(GaussianPrior(), pair, "a duck", request.param, noise), pair, signal, std  # type: ignore[arg-type]


def same(found: Tensor | None, expected: Tensor) -> None:
    assert found is not None
    torch.testing.assert_close(found, expected.expand_as(found), rtol=1e-9, atol=1e-9)


def test_the_direction_of_the_prompt_is_the_way_between_the_means_and_holds_no_noise(seen) -> None:
    parts, _, signal, std = seen
    expected = -std * signal * (MEANS["a duck"] - MEANS[""]) / variance(signal, std)
    same(parts.condition, expected)
    same(parts.condition_inside, expected)


def test_delta_n_is_the_noise_shrunk_by_what_the_domain_explains_of_it(seen) -> None:
    parts, pair, signal, std = seen
    of_z = variance(signal, std)
    same(parts.noise_part, std * (signal * (pair.inside - MEANS[""]) + std * parts.noise) / of_z)
    left = std * signal * (pair.inside - MEANS[""]) / of_z - signal**2 * STD**2 * parts.noise / of_z
    same(parts.residual, left)


def test_delta_d_is_the_shift_of_the_domain_and_the_paper_s_estimate_is_exact(seen) -> None:
    parts, _, signal, std = seen
    expected = std * signal * SHIFT / variance(signal, std)
    same(parts.domain, expected)
    same(parts.true_domain, expected)


@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 7.5])
def test_the_parts_add_up_to_the_guided_prediction(seen, guidance_scale: float) -> None:
    parts, *_ = seen
    same(parts.guided(guidance_scale), classifier_free_guidance(parts.conditional, parts.empty, guidance_scale))
    same(parts.guided(1.0), parts.conditional)


def test_nfsd_s_delta_d_is_the_empty_prompt_below_the_threshold_and_a_difference_above(seen) -> None:
    parts, *_ = seen
    same(parts.nfsd_domain(), parts.empty if parts.timestep < 200 else parts.empty - parts.negative)


def test_what_is_measured_is_the_closed_form_s(seen) -> None:
    parts, pair, signal, std = seen
    found = measure([parts, parts], pair)
    ratio = float(std * signal / variance(signal, std))
    assert found["timestep"] == parts.timestep
    assert found["noise_variance"] == pytest.approx(float(std**2))
    assert found["domain"] == pytest.approx(ratio * float(SHIFT.square().mean().sqrt()))
    assert found["domain_with_true"] == pytest.approx(1.0)
    assert found["domain_towards"] == pytest.approx(1.0)
    assert found["noise_part_off"] == pytest.approx(0.0, abs=1e-9)
    assert found["condition"] == pytest.approx(found["condition_inside"])


# --- the renders' own denoiser ----------------------------------------------------------------------------------------


def scales(timestep: int, like: Tensor) -> tuple[Tensor, Tensor]:
    return NoiseSchedule.stable_diffusion().at(torch.full((len(like),), timestep), like)


@pytest.mark.parametrize("timestep", [20, 400, 950])
def test_of_a_single_opaque_render_all_that_was_added_is_known(timestep: int) -> None:
    colours = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    buffers = torch.cat([torch.zeros(1, 1, 6, 6), colours, torch.ones(1, 1, 6, 6)], dim=1)
    noise = drawn(7, 2, 3, 6, 6)
    signal, std = scales(timestep, noise)
    found = own_noise_of(buffers)(signal * (2 * colours - 1) + std * noise, signal, std)
    torch.testing.assert_close(found, noise, rtol=1e-7, atol=1e-7)


def test_of_an_empty_render_the_background_is_a_gaussian_seen_through_every_pixel() -> None:
    noisy = drawn(8, 2, 3, 6, 6)
    signal, std = scales(700, noisy)
    found = own_noise_of(torch.zeros(1, 5, 6, 6, dtype=torch.float64))(noisy, signal, std)
    # Latents are 2 x - 1: the background's mean 0.5 is 0, its deviation 0.35 is 0.7. There are 36 pixels.
    precision = 36 * signal**2 / std**2 + 1 / 0.7**2
    background = signal / std**2 * noisy.sum(dim=(2, 3), keepdim=True) / precision
    torch.testing.assert_close(found, (noisy - signal * background) / std, rtol=1e-9, atol=1e-9)


def test_of_two_renders_the_nearer_one_is_believed_where_there_is_little_noise() -> None:
    opaque = torch.ones(1, 1, 6, 6)
    views = [torch.cat([0 * opaque, level * opaque.expand(1, 3, 6, 6), opaque], dim=1) for level in (0.2, 0.9)]
    noise = drawn(9, 1, 3, 6, 6)
    signal, std = scales(100, noise)
    found = own_noise_of(torch.cat(views).double())(signal * (2 * 0.9 - 1) + std * noise, signal, std)
    torch.testing.assert_close(found, noise, rtol=1e-6, atol=1e-6)


# --- the study itself, in small ---------------------------------------------------------------------------------------


def study(prior: ExactPrior, out: Path) -> dict[str, Any]:
    return decomposition.run(quick=True, seed=0, out=out, say=lambda _: None, prior=prior, steps=4)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def result(small_world: ExactPrior, out: Path) -> dict[str, Any]:
    return study(small_world, out)


def test_on_the_exact_prior_the_noise_is_not_negligible_below_200(result: dict[str, Any], out: Path) -> None:
    assert set(result["pairs"]) == {"start", "unfinished"}
    for points in result["pairs"].values():
        for p in points:
            assert p["noise_part_with_noise"] > 0.95
            assert abs(p["condition_with_noise"]) < 0.1
            if p["timestep"] < 200:
                assert p["empty_with_noise"] > 0.7
                assert p["nfsd_domain"] == pytest.approx(p["empty"])
            else:
                assert p["nfsd_domain"] < 0.5 * p["empty"]
    assert {path.name for path in out.iterdir()} == set(result["figures"])
    text = decomposition.report(result)
    assert all(word in text for word in ("unfinished", "delta_N-eps", "NFSD~true", "nearest to the truth", "Choices"))


def test_the_same_seed_gives_the_same_figures(
    small_world: ExactPrior, result: dict[str, Any], out: Path, tmp_path: Path
) -> None:
    assert study(small_world, tmp_path)["pairs"] == result["pairs"]
    for name in result["figures"]:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_a_network_of_pixels_has_a_true_picture_and_the_renders_own_denoiser(
    tiny_pixel_model: Path, tmp_path: Path
) -> None:
    result = decomposition.run(True, 0, tmp_path, lambda _: None, prior=str(tiny_pixel_model), steps=2)
    assert result["choices"]["in-domain"] == "the true picture"
    assert "domain_with_true" in result["pairs"]["unfinished"][0]


def test_a_network_of_latents_makes_its_own_in_domain_picture(
    tiny_stable_diffusion: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = str(tiny_stable_diffusion("epsilon"))
    result = decomposition.run(True, 0, tmp_path, lambda _: None, prompt="an armchair", prior=folder, steps=2)
    assert result["choices"]["in-domain"].startswith("sampled by the prior")
    assert "first 3 channels" in result["choices"]["pictures"]
    assert "true_domain" not in result["pairs"]["start"][0]
    assert "d_D~true" not in decomposition.report(result)
    assert (tmp_path / "decomposition.png").stat().st_size > 5000


def test_a_prompt_that_the_prior_does_not_understand_is_refused(small_world: ExactPrior, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="zeppelin"):
        decomposition.run(True, 0, tmp_path, lambda _: None, prompt="a zeppelin", prior=small_world)
