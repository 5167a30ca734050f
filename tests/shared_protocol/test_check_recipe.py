"""What the types of a recipe cannot say: cameras that see, schedules in order, words that are words."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from limbeck_protocol.errors import ErrorCode, LimbeckError, RemedyAction
from limbeck_protocol.recipe import Cameras, Image, Orbit, Recipe, Rig, Settings, Start, check_recipe


def cameras(count: int = 2, **changes: Any) -> Cameras:
    matrices = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    matrices[:, 2, 3] = 2.0
    values = {
        "camera_to_world": matrices,
        "lens": np.tile(np.array([1.4, 0.0, 0.0], np.float32), (count, 1)),
        "weight": np.ones(count, np.float32),
        "prompt_suffix": [""] * count,
        **changes,
    }
    return Cameras(**values)


def matrix(change: Any) -> Cameras:
    """Two cameras of which the second matrix went through `change`, in place."""
    good = cameras()
    change(good.camera_to_world[1])
    return good


def scaled(m: np.ndarray) -> None:
    m[:3, :3] *= 2.0


def mirrored(m: np.ndarray) -> None:
    m[:3, 0] *= -1.0


def sheared(m: np.ndarray) -> None:
    m[0, 1] = 0.3


def not_a_number(m: np.ndarray) -> None:
    m[0, 0] = np.nan


def infinite(m: np.ndarray) -> None:
    m[0, 3] = np.inf


def far_away(m: np.ndarray) -> None:
    m[0, 3] = 1e6


def transposed(m: np.ndarray) -> None:
    m[:] = m.T.copy()


GOOD = [
    Recipe(prompt="a yellow duck"),
    Recipe(prompt="ein gelbes Entchen, größer: 黄色い鴨"),
    Recipe(prompt="a duck", rig=Rig(cameras=cameras())),
    Recipe(prompt="a duck", rig=Rig(orbit=Orbit(weight=0.0), cameras=cameras())),
    Recipe(prompt="a duck", rig=Rig(orbit=Orbit(), cameras=cameras(weight=np.zeros(2, np.float32)))),
    Recipe(prompt="a duck", rig=Rig(cameras=cameras(512))),
    Recipe(prompt="a duck", settings=Settings(render_size=[(0.0, 32), (0.5, 64)], density_level=None)),
    Recipe(prompt="a duck", settings=Settings(gradient_clamp=None, pixel_clip=None, guidance_interval=(0.5, 0.5))),
    Recipe(prompt="a duck", settings=Settings(gradient_clamp=[(0.0, 0.5), (1.0, 2.0)], pixel_clip=0.1, perp_neg=1)),
    Recipe(prompt="a duck", start=Start(job_id="01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt="a goose")),
    Recipe(prompt="a duck", image=Image()),
    Recipe(prompt="a duck", image=Image(generator="one that only the server knows", size=512)),
    Recipe(prompt="a duck", settings=Settings(loss_parameters={"bandwidth": 3, "sampler": "x" * 40})),
]


@pytest.mark.parametrize("recipe", GOOD, ids=range(len(GOOD)))
def test_sensible_recipes_pass(recipe: Recipe) -> None:
    check_recipe(recipe)


def rig(value: Cameras | None = None, orbit: Orbit | None = None) -> dict[str, Any]:
    return {"rig": Rig(orbit=orbit, cameras=value)}


def start(job_id: str = "01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt: str = "a goose") -> dict[str, Any]:
    return {"start": Start(job_id=job_id, prompt=prompt)}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "start at a path": (start(job_id="../../etc/passwd"), "recipe.start.job_id"),
    "start without a job": (start(job_id=""), "recipe.start.job_id"),
    "start made of nothing": (start(prompt=""), "recipe.start.prompt"),
    "start made of blanks": (start(prompt="  "), "recipe.start.prompt"),
    "start with a newline": (start(prompt="a\ngoose"), "recipe.start.prompt"),
    "start that is a text": ({"start": "01JD4ZK7Q5R8M2N3P4S5T6V7W8"}, "recipe.start"),
    "image of nothing": ({"image": Image(generator="")}, "recipe.image.generator"),
    "image of blanks": ({"image": Image(generator="  ")}, "recipe.image.generator"),
    "image with a control": ({"image": Image(generator="pix\u202eels")}, "recipe.image.generator"),
    "image of 41 letters": ({"image": Image(generator="x" * 41)}, "recipe.image.generator"),
    "image without pixels": ({"image": Image(size=0)}, "recipe.image.size"),
    "image of half a pixel": ({"image": Image(size=64.5)}, "recipe.image.size"),  # type: ignore[arg-type]
    "image as large as a wall": ({"image": Image(size=4096)}, "recipe.image.size"),
    "image that is a text": ({"image": "mlp"}, "recipe.image"),
    "image that starts from an object": ({"image": Image(), **start()}, "recipe.start"),
    "empty prompt": ({"prompt": ""}, "recipe.prompt"),
    "blank prompt": ({"prompt": "   "}, "recipe.prompt"),
    "long prompt": ({"prompt": "x" * 5000}, "recipe.prompt"),
    "prompt that is a number": ({"prompt": 3}, "recipe.prompt"),
    "newline": ({"prompt": "a\nduck"}, "recipe.prompt"),
    "NUL": ({"prompt": "a\0duck"}, "recipe.prompt"),
    "reversed text": ({"prompt": "a \u202ekcud"}, "recipe.prompt"),
    "lone surrogate": ({"prompt": "a \ud800"}, "recipe.prompt"),
    "control in the negative prompt": ({"negative_prompt": "\x07"}, "recipe.negative_prompt"),
    "control in a name": ({"prior": "../\x00"}, "recipe.prior"),
    "negative seed": ({"seed": -1}, "recipe.seed"),
    "empty rig": (rig(), "recipe.rig"),
    "no cameras": (rig(cameras(0)), "recipe.rig.cameras.prompt_suffix"),
    "513 cameras": (rig(cameras(513)), "recipe.rig.cameras.prompt_suffix"),
    "a suffix missing": (rig(cameras(prompt_suffix=[""])), "recipe.rig.cameras.camera_to_world"),
    "suffix with a newline": (rig(cameras(prompt_suffix=["", "\n"])), "recipe.rig.cameras.prompt_suffix"),
    "matrices as float64": (rig(cameras(camera_to_world=np.zeros((2, 4, 4)))), "recipe.rig.cameras.camera_to_world"),
    "matrices as lists": (rig(cameras(camera_to_world=[1, 2])), "recipe.rig.cameras.camera_to_world"),
    "lens for one only": (rig(cameras(lens=np.ones((1, 3), np.float32))), "recipe.rig.cameras.lens"),
    "lens without focal length": (rig(cameras(lens=np.zeros((2, 3), np.float32))), "recipe.rig.cameras.lens"),
    "NaN lens": (rig(cameras(lens=np.full((2, 3), np.nan, np.float32))), "recipe.rig.cameras.lens"),
    "weight of the wrong shape": (rig(cameras(weight=np.ones((2, 1), np.float32))), "recipe.rig.cameras.weight"),
    "negative weight": (rig(cameras(weight=np.array([2, -1], np.float32))), "recipe.rig.cameras.weight"),
    "no weight at all": (rig(cameras(weight=np.zeros(2, np.float32)), Orbit(weight=0.0)), "recipe.rig"),
    "orbit without weight": (rig(orbit=Orbit(weight=0.0)), "recipe.rig"),
    "scale": (rig(matrix(scaled)), "recipe.rig.cameras.camera_to_world"),
    "mirror": (rig(matrix(mirrored)), "recipe.rig.cameras.camera_to_world"),
    "shear": (rig(matrix(sheared)), "recipe.rig.cameras.camera_to_world"),
    "NaN matrix": (rig(matrix(not_a_number)), "recipe.rig.cameras.camera_to_world"),
    "infinite matrix": (rig(matrix(infinite)), "recipe.rig.cameras.camera_to_world"),
    "camera a million away": (rig(matrix(far_away)), "recipe.rig.cameras.camera_to_world"),
    "column-major matrix": (rig(matrix(transposed)), "recipe.rig.cameras.camera_to_world"),
    "orbit turned around": (rig(orbit=Orbit(azimuth_deg=(90.0, -90.0))), "recipe.rig.orbit.azimuth_deg"),
    "distances turned around": (rig(orbit=Orbit(distance=(3.0, 2.0))), "recipe.rig.orbit.distance"),
    "beyond the pole": (rig(orbit=Orbit(elevation_deg=(0.0, 120.0))), "recipe.rig.orbit.elevation_deg"),
    "NaN in the orbit": (rig(orbit=Orbit(azimuth_deg=(float("nan"), 1.0))), "recipe.rig.orbit.azimuth_deg"),
    "negative distance": (rig(orbit=Orbit(distance=(-1.0, 2.0))), "recipe.rig.orbit.distance"),
    "steps of 0": ({"settings": Settings(steps=0)}, "recipe.settings.steps"),
    "NaN parameter": ({"settings": Settings(loss_parameters={"a": float("nan")})}, "recipe"),
    "parameter that is a list": (
        {"settings": Settings(loss_parameters={"a": ["b"]})},  # type: ignore[dict-item]
        "recipe.settings.loss_parameters",
    ),
    "choice of 41 letters": (
        {"settings": Settings(loss_parameters={"a": "b" * 41})},
        "recipe.settings.loss_parameters",
    ),
    "sizes out of order": (
        {"settings": Settings(render_size=[(0.0, 32), (0.8, 64), (0.5, 48)])},
        "recipe.settings.render_size",
    ),
    "sizes that start late": ({"settings": Settings(render_size=[(0.5, 64)])}, "recipe.settings.render_size"),
    "regulariser out of order": (
        {"settings": Settings(regularizers={"sparsity": [(1.0, 0.0), (0.0, 1.0)]})},
        "recipe.settings.regularizers.sparsity",
    ),
    "clamp out of order": (
        {"settings": Settings(gradient_clamp=[(0.5, 1.0), (0.0, 2.0)])},
        "recipe.settings.gradient_clamp",
    ),
    "clamp at 0": ({"settings": Settings(gradient_clamp=[(0.0, 0.0)])}, "recipe.settings.gradient_clamp"),
    "pixels clipped at 0": ({"settings": Settings(pixel_clip=0.0)}, "recipe.settings.pixel_clip"),
    "negative Perp-Neg": ({"settings": Settings(perp_neg=-1.0)}, "recipe.settings.perp_neg"),
    "interval turned around": (
        {"settings": Settings(guidance_interval=(0.8, 0.2))},
        "recipe.settings.guidance_interval",
    ),
    "interval beyond the schedule": (
        {"settings": Settings(guidance_interval=(0.0, 1.5))},
        "recipe.settings.guidance_interval",
    ),
    "a share of lit steps above 1": ({"settings": Settings(lit_share=1.2)}, "recipe.settings.lit_share"),
    "timesteps that cross": (
        {"settings": Settings(timestep_min=0.5, timestep_max=[(0.0, 0.9), (1.0, 0.4)])},
        "recipe.settings.timestep_min",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_senseless_recipes_are_refused_by_name_of_the_field(name: str) -> None:
    changes, field = BAD[name]
    recipe = Recipe(**{"prompt": "a duck", **changes})
    with pytest.raises(LimbeckError) as caught:
        check_recipe(recipe)
    assert caught.value.code == ErrorCode.INVALID_FIELD
    assert caught.value.remedy.action == RemedyAction.EDIT_FIELD
    assert (caught.value.remedy.field or "").split("[")[0] == field
    assert caught.value.message.endswith(".")


def test_checking_does_not_change_the_recipe() -> None:
    recipe = Recipe(prompt="a duck", rig=Rig(cameras=cameras()))
    before = recipe.rig.cameras.camera_to_world.copy()  # type: ignore[union-attr]
    check_recipe(recipe)
    np.testing.assert_array_equal(recipe.rig.cameras.camera_to_world, before)  # type: ignore[union-attr]
    assert recipe.settings == Settings()
    assert msgspec.to_builtins(recipe.settings) == {}
