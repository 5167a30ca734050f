"""The Stable Diffusion prior on a tiny model of random weights, read from files by the shipped code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from limbeck_server.priors.prior import NoiseSchedule, Prior, PromptError
from limbeck_server.priors.prompts import NEGATIVE_PROMPT, VIEW_SUFFIXES
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from torch import Tensor

CPU = torch.device("cpu")
PROMPTS = {
    "conditional": ["a yellow duck, front view", "a yellow duck, back view"],
    "unconditional": ["", ""],
    "negative": [NEGATIVE_PROMPT] * 2,
}


@pytest.fixture(scope="module")
def folder(tiny_stable_diffusion: Callable[[str], Path]) -> Path:
    return tiny_stable_diffusion("epsilon")


@pytest.fixture
def prior(folder: Path) -> StableDiffusionPrior:
    return load_stable_diffusion(str(folder), CPU, torch.float32)


@pytest.fixture
def noisy() -> Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def timesteps() -> Tensor:
    return torch.tensor([30, 700])


def test_it_has_all_that_the_contract_asks_for(prior: StableDiffusionPrior, folder: Path) -> None:
    checked: Prior = prior
    assert checked.name == folder.name
    assert checked.device == CPU
    assert checked.evaluations == 0
    assert checked.shaded is False
    assert checked.default_negative_prompt == NEGATIVE_PROMPT
    assert checked.view_suffix(180.0, 10.0) == ", back view"


def test_the_schedule_is_read_from_the_scheduler(prior: StableDiffusionPrior) -> None:
    expected = NoiseSchedule.stable_diffusion()
    assert prior.schedule.timesteps == 1000
    torch.testing.assert_close(prior.schedule.signal_scales, expected.signal_scales, rtol=1e-4, atol=0)
    # diffusers multiplies in single precision, of which the first timesteps' 1 - alpha_bar keeps three digits.
    torch.testing.assert_close(prior.schedule.noise_stds, expected.noise_stds, rtol=1e-3, atol=0)


def test_sizes_are_read_from_the_files(prior: StableDiffusionPrior) -> None:
    assert prior.image_size == 16
    assert prior.max_tokens == 77
    assert prior.encode_images(torch.rand(3, 3, 16, 16)).shape == (3, 4, 8, 8)


@pytest.mark.parametrize("size", [8, 16, 40])
def test_gradients_reach_every_corner_of_the_picture_through_the_vae(prior: StableDiffusionPrior, size: int) -> None:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    latents = prior.encode_images(images)
    assert latents.shape == (2, 4, 8, 8)
    latents.square().sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert (images.grad.abs().amax(dim=1) > 0).all()


def test_the_gradient_through_the_vae_agrees_with_finite_differences(folder: Path) -> None:
    prior = load_stable_diffusion(str(folder), CPU, torch.float64)
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    direction = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights = torch.randn(1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def value(step: float) -> Tensor:
        return (weights * prior.encode_images(images + step * direction)).sum()

    free = images.clone().requires_grad_()
    (weights * prior.encode_images(free)).sum().backward()
    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    torch.testing.assert_close((free.grad * direction).sum(), slope, rtol=1e-6, atol=1e-8)


def test_latents_are_the_posteriors_scaled_mean_unless_a_generator_draws(prior: StableDiffusionPrior) -> None:
    images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    posterior = prior._networks.vae.encode(images * 2 - 1).latent_dist
    torch.testing.assert_close(prior.encode_images(images), posterior.mean * 0.18215)
    drawn = [prior.encode_images(images, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_decoded_pictures_lie_in_0_to_1_and_carry_no_graph(prior: StableDiffusionPrior) -> None:
    pictures = prior.decode_latents(torch.randn(2, 4, 8, 8).requires_grad_())
    assert pictures.shape == (2, 3, 16, 16)
    assert not pictures.requires_grad
    assert 0 <= pictures.min() <= pictures.max() <= 1


def test_branches_answered_together_equal_branches_asked_one_by_one(
    prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor
) -> None:
    together = prior.predict_noise(noisy, timesteps, PROMPTS)
    assert list(together) == list(PROMPTS)
    for branch, texts in PROMPTS.items():
        for view in range(2):
            one = slice(view, view + 1)
            alone = prior.predict_noise(noisy[one], timesteps[one], {branch: texts[one]})[branch]
            torch.testing.assert_close(together[branch][one], alone, rtol=1e-4, atol=1e-5)
    assert not any(answer.requires_grad for answer in together.values())
    assert (together["conditional"] - together["unconditional"]).abs().max() > 1e-4, "the text changes nothing"
    assert (together["negative"] - together["unconditional"]).abs().max() > 1e-4


def test_unet_samples_are_counted_and_asked_for_in_one_call(
    prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor
) -> None:
    batches: list[int] = []
    handle = prior._networks.unet.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    prior.predict_noise(noisy, timesteps, {b: PROMPTS[b] for b in ("conditional", "unconditional")})
    assert (batches, prior.evaluations) == ([4], 4)
    prior.predict_noise(noisy[:1], timesteps[:1], {b: PROMPTS[b][:1] for b in PROMPTS})
    assert (batches, prior.evaluations) == ([4, 3], 7)
    handle.remove()


def test_a_text_is_encoded_once(prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor) -> None:
    calls: list[int] = []
    prior._networks.text_encoder.register_forward_pre_hook(lambda module, args: calls.append(1))
    for _ in range(3):
        prior.predict_noise(noisy, timesteps, PROMPTS)
    assert len(calls) == 4  # two views' prompts, the empty one, the negative one


def test_predictions_equal_those_of_diffusers_own_pipeline(
    prior: StableDiffusionPrior, folder: Path, noisy: Tensor, timesteps: Tensor
) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, requires_safety_checker=False)
    positive, negative = pipeline.encode_prompt(
        PROMPTS["conditional"][0], CPU, 1, True, negative_prompt=NEGATIVE_PROMPT
    )
    answers = prior.predict_noise(noisy[:1], timesteps[:1], {branch: texts[:1] for branch, texts in PROMPTS.items()})
    with torch.no_grad():
        for branch, embedding in (("conditional", positive), ("negative", negative)):
            expected = pipeline.unet(noisy[:1], timesteps[:1], encoder_hidden_states=embedding).sample
            torch.testing.assert_close(answers[branch], expected, rtol=1e-4, atol=1e-5)


def test_velocities_become_the_noise_that_their_definition_says(
    tiny_stable_diffusion: Callable[[str], Path], prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor
) -> None:
    """Both tiny models have the same weights, so what one calls noise, the other calls v = alpha eps - sigma z."""
    other = load_stable_diffusion(str(tiny_stable_diffusion("v_prediction")), CPU, torch.float32)
    assert (prior.prediction_type, other.prediction_type) == ("epsilon", "v_prediction")
    velocity = prior.predict_noise(noisy, timesteps, PROMPTS)["conditional"]
    noise = other.predict_noise(noisy, timesteps, PROMPTS)["conditional"]
    alpha, sigma = (
        values[timesteps].float().view(2, 1, 1, 1)
        for values in (other.schedule.signal_scales, other.schedule.noise_stds)
    )
    clean = (noisy - sigma * noise) / alpha  # what the predicted noise says the clean latents are
    torch.testing.assert_close(alpha * noise - sigma * clean, velocity, rtol=1e-4, atol=1e-4)


def test_half_precision_networks_take_and_give_single_precision(folder: Path, noisy: Tensor, timesteps: Tensor) -> None:
    prior = load_stable_diffusion(str(folder), CPU, torch.bfloat16)
    assert {p.dtype for p in prior._networks.unet.parameters()} == {torch.bfloat16}
    assert prior.encode_images(torch.rand(1, 3, 16, 16)).dtype == torch.float32
    assert prior.encode_images(torch.rand(1, 3, 16, 16).bfloat16()).dtype == torch.float32
    assert prior.decode_latents(noisy).dtype == torch.float32
    answers = prior.predict_noise(noisy, timesteps, PROMPTS)
    assert all(answer.dtype == torch.float32 and answer.isfinite().all() for answer in answers.values())


def test_networks_are_frozen(prior: StableDiffusionPrior) -> None:
    for network in (prior._networks.unet, prior._networks.vae, prior._networks.text_encoder):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


# --- prompts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_prompt_is_refused(prior: StableDiffusionPrior, text: str) -> None:
    with pytest.raises(PromptError, match="the prompt is empty"):
        prior.check_prompt(text)


def test_a_prompt_may_be_as_long_as_leaves_room_for_the_view_words(
    prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor
) -> None:
    # A letter without merges is a token; comma, one of the view words and "view" are appended.
    room = next(n for n in range(80) if prior._count_tokens(" ".join("z" * (n + 1)) + ", overhead view") > 77)
    assert room > 60
    fits = " ".join("z" * room)
    prior.check_prompt(fits)
    for suffix in VIEW_SUFFIXES:
        prior.predict_noise(noisy[:1], timesteps[:1], {"conditional": [fits + suffix]})
    with pytest.raises(PromptError, match=rf"has {room + 1} tokens, and .* reads {room} besides the \d of the view"):
        prior.check_prompt(" ".join("z" * (room + 1)))


def test_a_text_that_would_be_cut_off_is_refused(prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor) -> None:
    with pytest.raises(PromptError, match=r"has 200 tokens, and .* reads 75; shorten"):
        prior.predict_noise(noisy[:1], timesteps[:1], {"negative": [" ".join("z" * 200)]})
    assert prior.evaluations == 0


def test_branches_with_a_text_too_few_are_refused(
    prior: StableDiffusionPrior, noisy: Tensor, timesteps: Tensor
) -> None:
    with pytest.raises(ValueError, match="every branch needs 2 texts"):
        prior.predict_noise(noisy, timesteps, {"conditional": ["a duck"]})


# --- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_loading_and_predicting_print_nothing(folder: Path) -> None:
    code = (
        "import sys, torch\n"
        "from limbeck_server.priors.stable_diffusion import load_stable_diffusion\n"
        "prior = load_stable_diffusion(sys.argv[1], torch.device('cpu'), torch.float32)\n"
        "prior.check_prompt('a duck')\n"
        "z = prior.encode_images(torch.rand(1, 3, 16, 16))\n"
        "prior.decode_latents(z)\n"
        "prior.predict_noise(z, torch.tensor([5]), {'conditional': ['a duck'], 'unconditional': ['']})\n"
        "try:\n"
        "    prior.predict_noise(z, torch.tensor([5]), {'conditional': ['z ' * 200]})\n"
        "except ValueError:\n"
        "    sys.exit(0)\n"
        "sys.exit(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(folder)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
