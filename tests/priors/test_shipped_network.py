"""The network that ships: what lies beside it, who can load it, what it shows, what is said where it is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from limbeck_server.known_world import captions
from limbeck_server.known_world.palette import COLOURS
from limbeck_server.known_world.pictures import compose_picture
from limbeck_server.known_world.views import load_library
from limbeck_server.priors import kinds, model_files
from limbeck_server.priors.latent_space import PixelSpace
from limbeck_server.priors.model_card import read_card
from limbeck_server.priors.model_files import find_model
from limbeck_server.priors.prior import ModelError, ParticleSettings, PromptError
from limbeck_server.priors.stable_diffusion import StableDiffusionPrior, load_stable_diffusion
from limbeck_server.priors.training.held_out import HELD_OUT
from limbeck_server.priors.training.trained import load_trained
from torch import Tensor

FOLDER = kinds.SHIPPED_NETWORK
CPU = torch.device("cpu")
EASY = ("a red cube", "a blue cube", "a yellow sphere", "a purple sphere")
"""Shapes that fill the middle of a picture, in colours that no shade of another is mistaken for."""
PICTURES_EACH, STEPS, GUIDANCE_SCALE = 2, 25, 5.0


@pytest.fixture(scope="module")
def prior() -> StableDiffusionPrior:
    return load_stable_diffusion("network", CPU, torch.float32)


# --- files ------------------------------------------------------------------------------------------------------------


def test_weights_are_small_and_what_ships_holds_no_pickle() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files if path.suffix == ".safetensors") <= 15_000_000
    assert {path.suffix for path in files} <= {".json", ".jsonl", ".txt", ".safetensors", ".png", ".md"}


def test_its_card_says_how_it_was_trained_and_its_log_ends_there() -> None:
    card = read_card(FOLDER, "network")
    assert (card.language.name, card.shaded) == ("known-world", True)
    training = card.training
    assert training["held_out"] == HELD_OUT
    log = [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]
    assert 0 < len(log) <= 400
    assert training["iteration"] - 10 < log[-1]["iteration"] <= training["iteration"]
    assert log[-1]["error"] < log[0]["error"] / 5
    readme = (FOLDER / "README.md").read_text()
    for words in ("## Data", "## Architecture", "## Training", "## Figures", "## Limits", "## Licence", "samples.png"):
        assert words in readme
    assert f"{training['iteration']} of {training['iterations']} iterations" in readme
    assert (FOLDER / "samples.png").read_bytes().startswith(b"\x89PNG")


# --- the same code as for all others ----------------------------------------------------------------------------------


def test_it_is_found_by_its_name_and_loads_as_any_folder_does(prior: StableDiffusionPrior) -> None:
    assert find_model("network").folder == FOLDER
    assert find_model(str(FOLDER)).folder == FOLDER
    assert (prior.name, prior.shaded, prior.image_size, prior.dtype) == ("network", True, 32, torch.float32)
    assert isinstance(prior.space, PixelSpace)
    assert prior.default_negative_prompt == captions.NEGATIVE_PROMPT
    assert load_trained("network").card.language.name == "known-world"
    pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert prior.encode_images(pictures).shape == (1, 3, 32, 32)


def test_it_refuses_what_the_world_has_no_word_for(prior: StableDiffusionPrior) -> None:
    prior.check_prompt("a yellow duck")
    with pytest.raises(PromptError, match='has no word "zeppelin"'):
        prior.check_prompt("a zeppelin")


def test_a_particle_model_learns_on_it_and_leaves_it_alone(prior: StableDiffusionPrior) -> None:
    latents = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    at, texts, poses = torch.tensor([500]), ["a red cube"], torch.eye(4)[None]
    before = prior.predict_noise(latents, at, {"x": texts})["x"]
    particle = prior.particle_model(ParticleSettings(learning_rate=1e-3))
    torch.testing.assert_close(particle.predict_noise(latents, at, texts, poses), before)
    generator = torch.Generator().manual_seed(0)
    errors = [particle.train_step(0.3 * latents, texts, poses, generator) for _ in range(3)]
    assert all(0.0 < error < 10.0 for error in errors)
    assert (particle.predict_noise(latents, at, texts, poses) - before).abs().max() > 1e-4
    assert torch.equal(prior.predict_noise(latents, at, {"x": texts})["x"], before)


# --- plain diffusers, without any code of ours ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    """Pictures (n, 3, 32, 32) in 0..1 of the easy prompts, some of each: DDIM as diffusers itself has it."""
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    unet = UNet2DConditionModel.from_pretrained(FOLDER / "unet", local_files_only=True).float()
    encoder = CLIPTextModel.from_pretrained(FOLDER / "text_encoder", local_files_only=True).float()
    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer", local_files_only=True)
    scheduler = DDIMScheduler.from_pretrained(FOLDER / "scheduler", local_files_only=True)
    texts = [prompt for prompt in EASY for _ in range(PICTURES_EACH)]
    tokens = tokenizer([""] * len(texts) + texts, padding="max_length", return_tensors="pt").input_ids
    latents = torch.randn(len(texts), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(STEPS)
    with torch.no_grad():
        hidden = encoder(tokens).last_hidden_state
        for timestep in scheduler.timesteps:
            both = unet(latents.repeat(2, 1, 1, 1), timestep, encoder_hidden_states=hidden).sample
            empty, said = both.chunk(2)
            latents = scheduler.step(empty + GUIDANCE_SCALE * (said - empty), timestep, latents).prev_sample
    return (latents + 1) / 2


def test_plain_diffusers_samples_pictures(pictures: Tensor) -> None:
    assert pictures.shape == (len(EASY) * PICTURES_EACH, 3, 32, 32)
    assert bool(pictures.isfinite().all())
    assert float(pictures.std()) > 0.05, "all grey"
    assert (pictures[0] - pictures[1]).abs().mean() > 0.01, "the noise changes nothing"


def nearest_colour(colour: Tensor) -> str:
    """The palette's colour of which a shade, between half and full light, comes nearest."""
    shades = torch.linspace(0.5, 1.0, 11)[:, None, None] * torch.tensor(list(COLOURS.values()))
    return list(COLOURS)[int((shades - colour).norm(dim=2).min(dim=0).values.argmin())]


def colours_shown(pictures: Tensor) -> list[str]:
    """The colour of the middle of each picture (n, 3, 32, 32) in 0..1."""
    return [nearest_colour(colour) for colour in pictures[:, :, 12:20, 12:20].flatten(2).median(dim=2).values]


def test_the_worlds_own_pictures_show_the_colour_of_their_names(training_views: Path) -> None:
    """What the next test relies on."""
    each = 20
    for prompt in EASY:
        _, colour, shape = prompt.split()
        views = load_library({shape: each}, 32, training_views).buffers.float() / 255
        background = torch.rand(each, 3, generator=torch.Generator().manual_seed(0))
        shown = colours_shown(compose_picture(views, torch.tensor(COLOURS[colour]).expand(each, 3), background))
        assert shown.count(colour) == each, (prompt, shown)


def test_its_pictures_show_the_colour_that_was_asked_for(pictures: Tensor) -> None:
    wanted = [prompt.split()[1] for prompt in EASY for _ in range(PICTURES_EACH)]
    shown = colours_shown(pictures)
    right = sum(one == other for one, other in zip(shown, wanted, strict=True))
    assert right >= len(wanted) - 1, f"asked for {wanted}, shown {shown}"


# --- a checkout without them ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacking", ["all", "the index"])
def test_where_the_files_are_missing_a_sentence_says_what_to_do(
    lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "network"
    if lacking == "the index":
        (place / "unet").mkdir(parents=True)
    monkeypatch.setattr(kinds, "SHIPPED_NETWORK", place)
    monkeypatch.setattr(model_files, "SHIPPED_NETWORK", place)
    with pytest.raises(ModelError, match=r"files are missing.*Install the package limbeck-server.*train") as caught:
        find_model("network")
    assert caught.value.code == "MODEL_NOT_FOUND"
