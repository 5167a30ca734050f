"""A trained model's folder: read by the code that reads all others, by plain diffusers, and by its judges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from limbeck_server.known_world import captions
from limbeck_server.known_world.captions import parse_caption
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior
from limbeck_server.priors.latent_space import PixelSpace
from limbeck_server.priors.model_card import CARD
from limbeck_server.priors.prior import ModelError, ParticleSettings, Prior, PromptError
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.priors.training.architecture import build_denoiser, build_tokenizer
from limbeck_server.priors.training.batches import load_world
from limbeck_server.priors.training.export import export_model
from limbeck_server.priors.training.held_out import is_held_out
from limbeck_server.priors.training.judging import (
    Judge,
    judge_azimuths,
    judge_pictures,
    load_judge,
    seen_prompts,
    true_pictures,
    unseen_prompts,
)
from limbeck_server.priors.training.preview import write_preview
from limbeck_server.priors.training.sampling import sample, write_sheet
from limbeck_server.priors.training.score import score_denoising, summary
from limbeck_server.priors.training.settings import TrainingSettings
from limbeck_server.priors.training.trained import load_trained
from PIL import Image

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shipped(tiny_pixel_model: Path) -> Path:
    return tiny_pixel_model


@pytest.fixture
def folder(shipped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped, tmp_path / "my-model"))


@pytest.fixture(scope="module")
def prior(shipped: Path) -> StableDiffusionPrior:
    return load_stable_diffusion(str(shipped), CPU, torch.float32)


@pytest.fixture(scope="module")
def judge(training_views: Path) -> Judge:
    return load_judge(32, training_views, views_per_shape=20)


def change_card(folder: Path, **changes: object) -> None:
    card = folder / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


# --- the same code as for all others ----------------------------------------------------------------------------------


def test_it_loads_as_any_folder_and_keeps_the_contract(prior: StableDiffusionPrior) -> None:
    checked: Prior = prior
    assert isinstance(prior.space, PixelSpace)
    assert (checked.shaded, prior.image_size) == (True, 8)
    assert checked.default_negative_prompt == captions.NEGATIVE_PROMPT
    assert checked.view_suffix(180.0, 10.0) == ", back view, eye level"
    assert [suffix for suffix, _ in checked.view_negatives(170.0, 40.0)] == [
        ", front view, high angle",
        ", left side view, high angle",
    ]
    latents = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    texts = {
        "conditional": ["a duck", "a red cube"],
        "unconditional": ["", ""],
        "negative": [prior.view_suffix(0, 0)] * 2,
    }
    answers = checked.predict_noise(latents, torch.tensor([10, 900]), texts)
    assert all(answer.shape == latents.shape and bool(answer.isfinite().all()) for answer in answers.values())
    assert (answers["conditional"] - answers["unconditional"]).abs().max() > 1e-5, "the text changes nothing"


def test_latents_are_the_pictures_themselves(prior: StableDiffusionPrior) -> None:
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(prior.encode_images(pictures), 2 * pictures - 1)
    torch.testing.assert_close(prior.decode_latents(prior.encode_images(pictures)), pictures)
    large = pictures.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3).requires_grad_()
    small = prior.encode_images(large)
    torch.testing.assert_close(small, 2 * pictures - 1)
    small.sum().backward()
    assert large.grad is not None
    torch.testing.assert_close(large.grad, torch.full_like(large, 2 / 16))
    assert prior.encode_images(torch.rand(1, 3, 12, 12)).shape == (1, 3, 8, 8)


def test_prompts_are_checked_in_the_worlds_language(prior: StableDiffusionPrior) -> None:
    prior.check_prompt("a yellow duck, seen from the left, seen from above")
    for text, words in (
        ("a zeppelin", 'has no word "zeppelin"'),
        ("a duck and a car", "one shape at a time"),
        (" ", "the prompt is empty"),
        ("a duck " * 25, "shorten it"),
    ):
        with pytest.raises(PromptError, match=words):
            prior.check_prompt(text)


def test_a_particle_model_adapts_it(prior: StableDiffusionPrior) -> None:
    particle = prior.particle_model(ParticleSettings())
    latents, poses = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.eye(4).expand(2, 4, 4)
    at, texts = torch.tensor([10, 900]), ["a duck"] * 2
    torch.testing.assert_close(
        particle.predict_noise(latents, at, texts, poses), prior.predict_noise(latents, at, {"x": texts})["x"]
    )
    assert particle.train_step(latents, texts, poses, torch.Generator().manual_seed(0)) > 0


def test_a_folder_without_a_card_speaks_any_language(folder: Path) -> None:
    (folder / CARD).unlink()
    prior = load_stable_diffusion(str(folder), CPU, torch.float32)
    prior.check_prompt("a zeppelin")
    assert (prior.shaded, prior.view_suffix(180.0, 10.0)) == (False, ", back view")
    with pytest.raises(ModelError, match="was not trained on the known world"):
        load_trained(str(folder))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"language": "latin"}, "known are any-text, known-world"), ({"shaded": 1}, "'shaded', true or false")],
)
def test_a_card_that_says_something_else_is_refused(folder: Path, changes: dict[str, object], words: str) -> None:
    change_card(folder, **changes)
    with pytest.raises(ModelError, match=words) as caught:
        load_stable_diffusion(str(folder), CPU, torch.float32)
    assert caught.value.code == "MODEL_CORRUPT"


def test_latents_without_a_vae_are_refused(tiny_stable_diffusion, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(tiny_stable_diffusion("epsilon"), tmp_path / "no-vae"))
    index = json.loads((broken / "model_index.json").read_text())
    del index["vae"]
    (broken / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="takes 4 channels where pictures have 3"):
        load_stable_diffusion(str(broken), CPU, torch.float32)


def test_a_model_of_latents_is_not_scored(tiny_stable_diffusion) -> None:
    with pytest.raises(ModelError, match="no truth to compare it with"):
        load_trained(str(tiny_stable_diffusion("epsilon")))


# --- the size that ships, and plain diffusers -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained networks of the size that is trained."""
    settings, place = TrainingSettings(), tmp_path_factory.mktemp("full")
    tokens = len(build_tokenizer(place / "words", settings.architecture))
    denoiser = build_denoiser(settings.architecture, tokens, seed=0)
    export_model(denoiser, dict(denoiser.named_parameters()), settings, 0, place / "model")
    return place / "model"


def test_the_folder_is_small_and_holds_no_pickle(full_size: Path) -> None:
    files = [path for path in full_size.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 15e6
    assert {path.suffix for path in files} == {".json", ".txt", ".safetensors"}


def test_plain_diffusers_loads_its_parts_and_samples(full_size: Path) -> None:
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    unet = UNet2DConditionModel.from_pretrained(full_size / "unet", local_files_only=True).float()
    encoder = CLIPTextModel.from_pretrained(full_size / "text_encoder", local_files_only=True).float()
    tokenizer = CLIPTokenizer.from_pretrained(full_size / "tokenizer", local_files_only=True)
    scheduler = DDIMScheduler.from_pretrained(full_size / "scheduler", local_files_only=True)
    tokens = tokenizer(["", "a yellow duck"], padding="max_length", return_tensors="pt").input_ids
    latents = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    prior = load_stable_diffusion(str(full_size), CPU, torch.float32)
    scheduler.set_timesteps(4)
    with torch.no_grad():
        hidden = encoder(tokens).last_hidden_state
        for timestep in scheduler.timesteps:
            empty, said = unet(latents.repeat(2, 1, 1, 1), timestep, encoder_hidden_states=hidden).sample
            ours = prior.predict_noise(latents, timestep[None], {"empty": [""], "said": ["a yellow duck"]})
            torch.testing.assert_close(ours["empty"][0], empty, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(ours["said"][0], said, rtol=1e-4, atol=1e-5)
            latents = scheduler.step((empty + 5 * (said - empty))[None], timestep, latents).prev_sample
    assert bool(latents.isfinite().all())


# --- judges -----------------------------------------------------------------------------------------------------------


def test_prompts_of_seen_and_unseen_pairs_are_what_they_are_called() -> None:
    seen, unseen = ([parse_caption(text) for text in texts] for texts in (seen_prompts(40), unseen_prompts(40)))
    assert not any(is_held_out(caption.shape, caption.colour) for caption in seen)
    assert all(is_held_out(caption.shape, caption.colour) for caption in unseen)
    assert len({caption.shape for caption in seen[:28]}) == len({caption.shape for caption in unseen}) == 28


def test_true_pictures_are_judged_true_and_others_are_not(judge: Judge) -> None:
    prompts = [text for text in ("a red cube", "a yellow duck", "a blue torus", "a green cone") for _ in range(6)]
    pictures = true_pictures(judge, prompts, torch.Generator().manual_seed(0))
    found = judge_pictures(judge, pictures, prompts)
    assert (found["pictures"], set(found["prompts"])) == (24, set(prompts))
    assert min(found["colour"], found["shape"]) > 0.7, "a judge of 19 views is a poor one"
    moved = judge_pictures(judge, pictures.roll(6, dims=0), prompts)
    assert max(moved["colour"], moved["shape"]) < 0.2


def test_the_azimuth_of_true_pictures_is_seen(judge: Judge, training_views: Path) -> None:
    ducks = load_library({"duck": 19}, 32, training_views)
    said = [
        captions.Caption("duck", "yellow", captions.azimuth_word(azimuth)) for azimuth in ducks.azimuth_deg.tolist()
    ]
    yellow, grey = torch.tensor(COLOURS["yellow"]), torch.full((3,), 0.3)
    pictures = compose_picture(ducks.buffers.float() / 255, yellow, grey)
    assert judge_azimuths(judge, pictures, said) == 1.0
    assert judge_azimuths(judge, pictures.flip(0), said) < 0.5


def test_the_denoising_error_of_the_exact_prior_itself_is_nothing(training_views: Path) -> None:
    world = load_world(12, 8, training_views)
    found = score_denoising(ExactPrior(world.clean, world.degraded), world, 4, (50, 500))
    assert [row["timestep"] for row in found] == [50, 500]
    assert all(row["error"] < 1e-8 and row["error_empty"] < 1e-8 and row["exact_spread"] > 1e-4 for row in found)


def test_an_untrained_network_is_far_from_the_exact_prior(prior: StableDiffusionPrior, training_views: Path) -> None:
    world = load_world(12, 8, training_views)
    assert score_denoising(prior, world, 4, (500,))[0]["error"] > 0.3


# --- samples ----------------------------------------------------------------------------------------------------------


def test_samples_follow_from_their_generator_one_by_one(prior: StableDiffusionPrior) -> None:
    texts = ["a duck", "a car", "a cube"]
    one, two = (sample(prior, texts, (3, 8, 8), torch.Generator().manual_seed(0), steps=3) for _ in range(2))
    assert torch.equal(one, two)
    plain = sample(prior, texts, (3, 8, 8), torch.Generator().manual_seed(0), guidance_scale=1.0, steps=3)
    assert not torch.equal(one, plain)


def test_one_step_from_pure_noise_is_the_denoised_picture(prior: StableDiffusionPrior) -> None:
    found = sample(prior, ["a duck"], (3, 8, 8), torch.Generator().manual_seed(0), guidance_scale=1.0, steps=1)
    start = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    at = torch.tensor([999])
    alpha, sigma = prior.schedule.at(at, start)
    noise = prior.predict_noise(start, at, {"x": ["a duck"]})["x"]
    torch.testing.assert_close(found, (start - sigma * noise) / alpha)


def test_a_sheet_has_every_picture_in_its_place(tmp_path: Path) -> None:
    pictures = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 3, 4, 4)
    write_sheet(pictures, 3, tmp_path / "sheet.png", zoom=1)
    with Image.open(tmp_path / "sheet.png") as file:
        pixels = np.asarray(file)
    assert pixels.shape == (9, 14, 3)
    assert [pixels[0, 0, 0], pixels[0, 5, 0], pixels[0, 10, 0], pixels[5, 0, 0], pixels[5, 5, 0]] == [
        0,
        64,
        128,
        191,
        255,
    ]


def test_a_preview_is_drawn_of_prompts_that_the_model_understands(shipped: Path, tmp_path: Path) -> None:
    write_preview(str(shipped), tmp_path / "sheet.png", CPU, ("a duck", "a car"), steps=2)
    assert (tmp_path / "sheet.png").stat().st_size > 100
    with pytest.raises(PromptError, match="zeppelin"):
        write_preview(str(shipped), tmp_path / "sheet.png", CPU, ("a zeppelin",))


def test_the_summary_has_all_figures() -> None:
    row = {"pictures": 4, "colour": 0.5, "shape": 0.25, "both": 0.125, "prompts": {"a red cube": 0.75}}
    errors = [{"timestep": 20.0, "error": 0.01, "error_empty": 0.02, "exact_spread": 0.03}]
    score = {"seen": row, "unseen": row, "truth": row, "azimuth": 0.6, "azimuth_pictures": 48, "denoising": errors}
    text = summary(score)
    assert all(
        figure in text for figure in ("50.0%", "25.0%", "12.5%", "60.0%", "0.01000", "0.03000", "a red cube 75%")
    )
