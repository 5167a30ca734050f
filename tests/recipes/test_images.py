"""Recipes of pictures: their presets, what a generator changes in them, and what is refused in which words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import Image, Recipe, Settings
from limbeck_server import image_recipes, presets, recipes
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.presets import images
from msgspec import UNSET

PROMPT = "a red cube"
KINDS = (presets.EXACT, presets.NETWORK, presets.STABLE_DIFFUSION)


def image_recipe(generator: str | None = "latents", size: int | None = None, **fields: Any) -> Recipe:
    given = {"prompt": PROMPT, "preset": "image", "image": Image(generator=generator, size=size)} | fields
    return Recipe(**given)


def rate(**fields: Any) -> float:
    found = recipes.complete(image_recipe(**fields)).settings.learning_rate
    assert isinstance(found, float)
    return found


def test_every_loss_that_makes_pictures_has_the_preset_image_for_every_prior_that_it_is_for() -> None:
    made = {key[1:] for key in presets.PRESETS if key[0] == "image"}
    makers = [loss for loss in LOSSES if "reference" not in LOSSES[loss].needs]
    assert made == {(loss, kind) for loss in makers for kind in KINDS} - {("vsd", presets.EXACT)}


def test_the_papers_experiments_have_theirs() -> None:
    made = {name: {key[1] for key in presets.PRESETS if key[0] == name} for name in ("nfsd-image", "msd-image")}
    assert made == {"nfsd-image": {"sds", "nfsd"}, "msd-image": {"sds", "sdi", "nfsd", "msd"}}
    for kind in KINDS:
        nfsd, msd = presets.PRESETS["nfsd-image", "nfsd", kind], presets.PRESETS["msd-image", "msd", kind]
        assert (nfsd.steps, nfsd.guidance_scale, nfsd.timestep_max) == (1000, 7.5, [(0.0, 0.98)])
        assert (msd.steps, msd.learning_rate, msd.guidance_scale) == (400, 0.01, 8.5)


@pytest.mark.parametrize("key", [key for key in presets.PRESETS if presets.makes(key[0]) == "image"], ids="-".join)
def test_what_means_nothing_says_so_and_stands_at_one_value(key: tuple[str, str, str]) -> None:
    first = presets.PRESETS["image", "sds", presets.EXACT]
    for name in images.MEANINGLESS:
        assert getattr(presets.PRESETS[key], name) == getattr(first, name)
        if name != "regularizers":
            assert presets.SOURCES[key][name].startswith("means nothing for an image")


def test_the_catalog_tells_what_a_preset_makes() -> None:
    told = {info.name: info.makes for info in recipes.catalog().presets}
    assert {name for name, makes in told.items() if makes == "image"} == {"image", "nfsd-image", "msd-image"}
    assert told["quick"] == told["dreamfusion"] == "object"


def test_each_generator_has_a_learning_rate_of_its_own_and_the_user_s_wins() -> None:
    own = presets.PRESETS["image", "sds", presets.EXACT].learning_rate
    assert rate() == own
    assert rate(generator="pixels") == own * images.PIXELS_FACTOR
    assert rate(generator="mlp") == images.MLP_RATE
    assert rate(generator="mlp", settings=Settings(learning_rate=0.3)) == 0.3
    assert rate(generator="mlp", preset="msd-image", loss="msd") == 0.01
    of_image = presets.PRESETS["image", "msd", presets.EXACT].learning_rate
    assert rate(generator="latents", preset="msd-image", loss="msd") == of_image


def test_the_usual_generator_is_what_the_preset_is_about() -> None:
    assert images.usual_generator("image", "sds") == "latents"
    assert images.usual_generator("msd-image", "nfsd") == "mlp"
    # It would keep the noise that latents begin with.
    assert images.usual_generator("image", "csd") == "pixels"
    for preset, loss in (("image", "sds"), ("image", "csd"), ("msd-image", "nfsd")):
        recipe = recipes.complete(Recipe(prompt=PROMPT, preset=preset, loss=loss, image=Image()))
        assert recipe.image
        assert recipe.image.generator == images.usual_generator(preset, loss)
        assert recipes.complete(recipe) == recipe
    # Refused by the server, in its own words.
    assert images.usual_generator("no such preset", "sds") == "latents"


def test_the_exact_prior_s_size_is_filled_in_and_another_prior_s_is_its_own() -> None:
    assert recipes.complete(image_recipe()).image.size == 64
    assert recipes.complete(image_recipe(size=32)).image.size == 32
    assert recipes.complete(image_recipe(prior="owner/name")).image.size is None
    assert recipes.complete(image_recipe(prior="owner/name", size=300)).image.size == 300


def test_a_network_of_coordinates_larger_than_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=4 * 2**30))
    most = image_recipes.largest_mlp_size()
    assert 1024 < most < 1200
    assert recipes.complete(image_recipe("mlp", most, prior=presets.STABLE_DIFFUSION)).image.size == most
    assert recipes.complete(image_recipe("pixels", 2048, prior=presets.STABLE_DIFFUSION)).image.size == 2048
    with pytest.raises(
        LimbeckError, match=f"would not fit into this server's memory. Lower the size to {most}"
    ) as told:
        recipes.complete(image_recipe(None, most + 1, prior=presets.STABLE_DIFFUSION, preset="msd-image"))
    assert told.value.remedy.field == "recipe.image.size"


def test_an_image_s_prompt_may_say_from_where_it_is_seen() -> None:
    prompt = "a yellow duck, left side view"
    assert recipes.complete(image_recipe(prompt=prompt)).prompt == prompt
    with pytest.raises(LimbeckError, match="the cameras decide that"):
        recipes.complete(Recipe(prompt=prompt))


REFUSED: dict[str, tuple[dict[str, Any], ErrorCode, str, str]] = {
    # name: (what the recipe says, code, field, a part of the sentence)
    "loss that edits": ({"loss": "dds"}, ErrorCode.INVALID_FIELD, "loss", "limbeck edit PICTURE.png 'a red cube'"),
    "generator": ({"generator": "oils"}, ErrorCode.INVALID_FIELD, "image.generator", "latents, pixels, mlp"),
    "size": ({"size": 48}, ErrorCode.INVALID_FIELD, "image.size", "32 or 64 pixels wide"),
    "preset of objects": ({"preset": "quick"}, ErrorCode.UNKNOWN_PRESET, "preset", "there are: image, nfsd-image"),
    "preset of another loss": ({"preset": "nfsd-image", "loss": "csd"}, ErrorCode.UNKNOWN_PRESET, "preset", ": image."),
    "image preset, no image": ({"image": UNSET}, ErrorCode.UNKNOWN_PRESET, "preset", "there are: quick, standard."),
    "vsd without a network": ({"loss": "vsd"}, ErrorCode.INVALID_FIELD, "loss", "has no network"),
    "unknown word": ({"prompt": "a red unicorn"}, ErrorCode.UNKNOWN_WORD, "prompt", "unicorn"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused_by_its_field(case: str) -> None:
    fields, code, field, words = REFUSED[case]
    with pytest.raises(LimbeckError) as caught:
        recipes.complete(image_recipe(**fields))
    assert caught.value.code is code
    assert caught.value.remedy.field == f"recipe.{field}"
    assert words in caught.value.message
    assert caught.value.message.endswith(".")
