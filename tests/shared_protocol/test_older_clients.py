"""What a server withholds from clients of an earlier minor version, held against what those versions declared."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from limbeck_protocol import messages as m
from limbeck_protocol.job_states import JobState
from limbeck_protocol.minor_versions import SETTINGS_SINCE_1_2
from limbeck_protocol.recipe import Image, Recipe, Settings, Start
from limbeck_protocol.replies import SHORTENED_FOR, for_minor

SETTINGS_11 = {
    "steps",
    "guidance_scale",
    "loss_parameters",
    "views_per_step",
    "render_size",
    "timestep_min",
    "timestep_max",
    "weighting",
    "learning_rate",
    "background",
    "shading",
    "field",
    "field_resolution",
    "samples_per_ray",
    "regularizers",
    "preview_every",
    "mesh_resolution",
    "density_level",
    "face_budget",
    "texture_size",
    "threads",
    "device",
}
JOB = "01JD4ZK7Q5R8M2N3P4S5T6V7W8"


class Parameter11(msgspec.Struct):
    """As 1.0 and 1.1 declared it; other fields are left out on reading, as those clients do."""

    name: str
    default: float
    minimum: float
    maximum: float


class Loss11(msgspec.Struct):
    name: str
    parameters: list[Parameter11]


class Settings11(msgspec.Struct):
    loss_parameters: dict[str, float] | msgspec.UnsetType = msgspec.UNSET


class Preset11(msgspec.Struct):
    settings: dict[str, Any]


class Catalog11(msgspec.Struct):
    losses: list[Loss11]
    presets: list[Preset11]


class Recipe11(msgspec.Struct):
    settings: Settings11


class Job11(msgspec.Struct):
    recipe: Recipe11


class Jobs11(msgspec.Struct):
    jobs: list[Job11]


def parameter(name: str, default: float | str, *choices: str) -> m.ParameterInfo:
    return m.ParameterInfo(name=name, default=default, minimum=0.0, maximum=9.0, description="", choices=list(choices))


def job(**parameters: float | str) -> m.JobInfo:
    recipe = Recipe(prompt="a duck", loss="msd", settings=Settings(steps=7, loss_parameters=parameters))
    return m.JobInfo(job_id=JOB, state=JobState.QUEUED, recipe=recipe, created=0.0)


CATALOG = m.Catalog(
    losses=[
        m.LossInfo(name="sds", title="SDS", description=""),
        m.LossInfo(
            name="msd",
            title="MSD",
            description="",
            parameters=[parameter("sampler", "splitting", "splitting", "product"), parameter("bandwidth", 0.3)],
        ),
    ],
    priors=[],
    presets=[
        m.PresetInfo(
            name="quick",
            loss="msd",
            prior="exact",
            description="",
            settings={
                "weighting": "uniform",
                "guidance_interval": [0.2, 0.8],
                "loss_parameters": {"sampler": "product", "bandwidth": 0.1},
            },
        ),
        m.PresetInfo(name="quick", loss="sds", prior="exact", description="", settings={"steps": 3}),
        m.PresetInfo(name="image", loss="sds", prior="exact", description="", settings={"steps": 5}, makes="image"),
    ],
)
PLAIN_JOB = m.JobInfo(job_id=JOB, state=JobState.QUEUED, recipe=Recipe(prompt="a duck"), created=0.0)
REPLIES: list[tuple[m.Reply, type]] = [
    (CATALOG, Catalog11),
    (job(sampler="product", bandwidth=0.1), Job11),
    (m.JobList(jobs=[PLAIN_JOB, job(sampler="product"), job(bandwidth=0.1)]), Jobs11),
]


def read_as(reply: m.Reply, kind: type) -> Any:
    return msgspec.convert(msgspec.to_builtins(reply), kind, strict=True)


@pytest.mark.parametrize(("reply", "kind"), REPLIES, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("minor", [0, 1])
def test_choices_are_withheld_from_clients_that_could_not_read_the_reply(
    minor: int, reply: m.Reply, kind: type
) -> None:
    with pytest.raises(msgspec.ValidationError, match="Expected `float`, got `str`"):
        read_as(reply, kind)
    read_as(for_minor(reply, minor), kind)


@pytest.mark.parametrize(("reply", "kind"), REPLIES, ids=lambda value: type(value).__name__)
def test_clients_of_today_get_everything(reply: m.Reply, kind: type) -> None:
    assert for_minor(reply, m.PROTOCOL_MINOR) is reply


def test_an_older_client_is_told_of_the_numbers_and_of_all_else() -> None:
    told = read_as(for_minor(CATALOG, 1), Catalog11)
    assert [(loss.name, [info.name for info in loss.parameters]) for loss in told.losses] == [
        ("sds", []),
        ("msd", ["bandwidth"]),
    ]
    assert [preset.settings for preset in told.presets] == [
        {"weighting": "uniform", "loss_parameters": {"bandwidth": 0.1}},
        {"steps": 3},
    ]
    jobs = for_minor(REPLIES[2][0], 1)
    assert isinstance(jobs, m.JobList)
    assert [info.recipe.settings.loss_parameters for info in jobs.jobs] == [msgspec.UNSET, {}, {"bandwidth": 0.1}]
    assert jobs.jobs[1].recipe.settings.steps == 7
    assert REPLIES[2][0].jobs[1].recipe.settings.loss_parameters == {"sampler": "product"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("minor", [0, 1, 2])
def test_presets_that_make_images_are_told_to_those_only_who_can_ask_for_images(minor: int) -> None:
    told = for_minor(CATALOG, minor)
    assert isinstance(told, m.Catalog)
    assert [(preset.name, preset.loss) for preset in told.presets] == [("quick", "msd"), ("quick", "sds")]
    assert told.losses == CATALOG.losses or minor < 2
    assert len(CATALOG.presets) == 3


@pytest.mark.parametrize("minor", [0, 1, 2])
def test_a_job_that_makes_an_image_is_told_as_a_shortened_recipe(minor: int) -> None:
    recipe = Recipe(
        prompt="a duck", preset="image", image=Image(), settings=Settings(loss_parameters={"sampler": "product"})
    )
    whole = m.JobInfo(job_id=JOB, state=JobState.SUCCEEDED, recipe=recipe, created=0.0)
    for told in (for_minor(whole, minor), for_minor(m.JobList(jobs=[PLAIN_JOB, whole]), minor).jobs[1]):  # type: ignore[attr-defined]
        assert "image" not in msgspec.to_builtins(told.recipe)  # type: ignore[attr-defined]
        assert told.recipe.versions == {SHORTENED_FOR: f"protocol 1.{minor}"}  # type: ignore[attr-defined]
        # A choice is withheld only from those who could not read it.
        parameters = told.recipe.settings.loss_parameters  # type: ignore[attr-defined]
        assert parameters == ({"sampler": "product"} if minor == 2 else {})
    assert recipe.image == Image()
    assert for_minor(whole, 3) is whole


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize(
    "newer",
    [
        {"settings": Settings(loss_parameters={"sampler": "product"})},
        {"settings": Settings(gradient_clamp=None)},
        {"start": Start(job_id=JOB, prompt="a red mug")},
    ],
    ids=["choice", "setting", "start"],
)
def test_a_recipe_of_which_something_is_withheld_says_so(minor: int, newer: dict[str, Any]) -> None:
    recipe = Recipe(prompt="a duck", versions={"torch": "2"}, **newer)
    whole = m.JobInfo(job_id=JOB, state=JobState.QUEUED, recipe=recipe, created=0.0)
    told = for_minor(whole, minor)
    assert isinstance(told, m.JobInfo)
    assert told.recipe.versions == {"torch": "2", SHORTENED_FOR: f"protocol 1.{minor}"}
    assert recipe.versions == {"torch": "2"}
    assert for_minor(whole, 2) is whole
    readable = for_minor(job(bandwidth=0.1), minor)
    assert isinstance(readable, m.JobInfo)
    assert readable.recipe.versions == {}


def test_the_settings_of_older_clients_are_told_apart_from_later_ones() -> None:
    """A setting that is added now belongs into `SETTINGS_SINCE_1_2`: an older panel may stumble over its value."""
    assert set(Settings.__struct_fields__) == SETTINGS_11 | SETTINGS_SINCE_1_2
    assert not SETTINGS_SINCE_1_2 & SETTINGS_11


def test_replies_that_hold_no_parameters_go_to_everybody_as_they_are() -> None:
    status = m.Status(server="s", seconds_up=1.0, queued=0, running=0, data_folder_free_bytes=1, device="cpu")
    for reply in (status, PLAIN_JOB, m.ErrorReply(code="INTERNAL", message="It broke.")):
        assert for_minor(reply, 0) is reply
