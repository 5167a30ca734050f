"""Settings that every loss shares, from the recipe on: complete, refused by name, and off where nobody asks."""

from __future__ import annotations

import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import Recipe, Settings
from limbeck_server import presets, recipes
from limbeck_server.distillation.timesteps import TIMESTEP_SCHEDULES

PROMPT = "a red cube"


def complete(settings: Settings) -> Settings:
    return recipes.complete(Recipe(prompt=PROMPT, preset="quick", settings=settings)).settings


REFUSED: dict[str, tuple[Settings, str, str]] = {
    # name: (settings, field, a part of the sentence)
    "timestep-schedule": (
        Settings(timestep_schedule="cosine"),
        "timestep_schedule",
        "uniform, linear, hifa, dreamtime",
    ),
    "guidance-interval": (Settings(guidance_interval=(0.8, 0.2)), "guidance_interval", "0.8 is above 0.2"),
    "falling-clamp": (Settings(gradient_clamp=[(0.4, 1.0), (0.3, 1.0)]), "gradient_clamp", "rising"),
    "background": (Settings(background="sky"), "background", "learned, alternating"),
    "shading": (Settings(shading="toon"), "shading", "textureless, mixed"),
    "weighting": (Settings(weighting="snr"), "weighting", "noise_to_signal"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_its_field(case: str) -> None:
    settings, field, words = REFUSED[case]
    with pytest.raises(LimbeckError) as caught:
        complete(settings)
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.remedy.field == f"recipe.settings.{field}"
    assert words in caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize("name", TIMESTEP_SCHEDULES)
def test_every_timestep_schedule_can_be_asked_for(name: str) -> None:
    assert complete(Settings(timestep_schedule=name)).timestep_schedule == name


@pytest.mark.parametrize("background", ["learned", "alternating"])
@pytest.mark.parametrize("shading", ["textureless", "mixed"])
def test_every_background_and_shading_can_be_asked_for(background: str, shading: str) -> None:
    done = complete(Settings(background=background, shading=shading, albedo_until=0.4))
    assert (done.background, done.shading, done.albedo_until) == (background, shading, 0.4)
    assert (done.lit_share, done.textureless_share) == (0.75, 0.5)


def test_no_limit_is_an_answer_that_wins_over_a_presets_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("quick", "sds", presets.EXACT)
    limited = presets.layer(presets.PRESETS[key], Settings(gradient_clamp=[(0.0, 0.5)], pixel_clip=0.1))
    monkeypatch.setitem(presets.PRESETS, key, limited)
    done = complete(Settings(gradient_clamp=None, pixel_clip=None))
    assert (done.gradient_clamp, done.pixel_clip) == (None, None)
    done = complete(Settings())
    assert (done.gradient_clamp, done.pixel_clip) == ([(0.0, 0.5)], 0.1)


def test_a_client_that_knows_none_of_these_gets_what_it_always_got() -> None:
    done = complete(Settings())
    assert (done.timestep_schedule, done.guidance_interval, done.perp_neg) == ("uniform", (0.0, 1.0), 0.0)
    assert (done.gradient_clamp, done.pixel_clip) == (None, None)
