"""What a loss refuses: each with a sentence of what was expected, what came and what to do, before a job begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_protocol.errors import ErrorCode, LimbeckError
from limbeck_protocol.recipe import Recipe, Settings, Start
from limbeck_server import recipes, worker
from limbeck_server.distillation.losses import LOSSES

NETWORK = "owner/name"
PARAMETERS = "recipe.settings.loss_parameters"


@dataclass(frozen=True)
class Bad:
    """A recipe that cannot be made: what it says, and what is to be heard of it."""

    loss: str
    expected: str
    came: str
    to_do: str
    parameters: dict[str, float | str] = field(default_factory=dict)
    prior: str = "exact"
    code: ErrorCode = ErrorCode.INVALID_FIELD
    field_name: str = PARAMETERS
    others: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def recipe(self) -> Recipe:
        settings = Settings(loss_parameters=self.parameters, **self.settings)
        named = {"prompt": "a red cube", "preset": "quick", "loss": self.loss, "prior": self.prior}
        return Recipe(**(named | self.others), settings=settings)


BAD: dict[str, Bad] = {
    "unknown loss": Bad(
        "gan",
        expected="there are: sds, nfsd, csd, msd, sdi, ism, vsd, dds",
        came="no loss 'gan'",
        to_do="Choose one of the losses listed",
        code=ErrorCode.UNKNOWN_LOSS,
        field_name="recipe.loss",
    ),
    "unknown parameter": Bad(
        "nfsd",
        expected="there are: threshold",
        came="no parameter of nfsd 'treshold'",
        to_do="Correct the field",
        parameters={"treshold": 200.0},
    ),
    "another loss's parameter": Bad(
        "sds",
        expected="there are: none",
        came="no parameter of sds 'threshold'",
        to_do="Correct the field",
        parameters={"threshold": 200.0},
    ),
    "no such choice": Bad(
        "msd",
        expected="must be one of: splitting, product",
        came="got 'paper'",
        to_do="Correct the field",
        parameters={"sampler": "paper"},
    ),
    "a number for a choice": Bad(
        "msd",
        expected="centre must be one of: shared_noise, inversion, mean",
        came="got 2.0",
        to_do="Correct the field",
        parameters={"centre": 2.0},
    ),
    "a word for a number": Bad(
        "ism",
        expected="must be a number between 1 and 500",
        came="got 'long'",
        to_do="Correct the field",
        parameters={"interval": "long"},
    ),
    "out of range": Bad(
        "sdi",
        expected="must lie between 1 and 200",
        came="got 0",
        to_do="Correct the field",
        parameters={"inversion_steps": 0.0},
    ),
    "a fraction of a step": Bad(
        "msd",
        expected="sampling_steps must be a whole number between 1 and 1000",
        came="got 2.7",
        to_do="Correct the field",
        parameters={"sampling_steps": 2.7},
    ),
    "a fraction of a rank": Bad(
        "vsd",
        expected="lora_rank must be a whole number between 1 and 128",
        came="got 4.5",
        to_do="Correct the field",
        parameters={"lora_rank": 4.5},
        prior=NETWORK,
    ),
    "a fraction of a timestep": Bad(
        "sdi",
        expected="inversion_floor must be a whole number between 0 and 999",
        came="got 100.25",
        to_do="Correct the field",
        parameters={"inversion_floor": 100.25},
    ),
    "unbiased MSD with a network": Bad(
        "msd",
        expected="only a prior in closed form",
        came="a network cannot",
        to_do="Choose the sampler 'splitting', or the prior 'exact'",
        parameters={"sampler": "product"},
        prior=NETWORK,
    ),
    "NFSD without a negative prompt": Bad(
        "nfsd",
        expected="compares with a negative prompt",
        came="the recipe's is empty",
        to_do="Say what pictures should not look like, or leave negative_prompt out",
        field_name="recipe.negative_prompt",
        others={"negative_prompt": ""},
    ),
    "NFSD with a blank negative prompt": Bad(
        "nfsd",
        expected="compares with a negative prompt",
        came="the recipe's is empty",
        to_do="leave negative_prompt out",
        prior=NETWORK,
        field_name="recipe.negative_prompt",
        others={"negative_prompt": "  "},
    ),
    "CSD without a negative prompt": Bad(
        "csd",
        expected="compares with a negative prompt",
        came="'csd', as it is set here",
        to_do="leave negative_prompt out",
        parameters={"negative_weight": 0.5},
        field_name="recipe.negative_prompt",
        others={"negative_prompt": ""},
    ),
    "a kernel that grows": Bad(
        "msd",
        expected="bandwidth shrinks from 2",
        came="bandwidth_min, which is 3 and larger",
        to_do="Lower bandwidth_min or raise bandwidth",
        parameters={"bandwidth": 2.0, "bandwidth_min": 3.0},
    ),
    "a kernel that acts nowhere": Bad(
        "msd",
        expected="acts between kernel_low and kernel_high",
        came="0.9 is not below 0.5",
        to_do="Lower kernel_low or raise kernel_high",
        parameters={"kernel_low": 0.9, "kernel_high": 0.5},
    ),
    "VSD with the exact prior": Bad(
        "vsd",
        expected="trains a LoRA copy of the prior's own network",
        came="the exact prior has no network",
        to_do="Choose sds, or a prior that is a network",
        field_name="recipe.loss",
    ),
    "DDS without a start": Bad(
        "dds",
        expected="edits something that exists",
        came="names no job to start from",
        to_do="Give the job to start from, `limbeck edit JOB 'a red cube'`, or choose another loss",
        field_name="recipe.start",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_hears_what_was_expected_what_came_and_what_to_do(case: str) -> None:
    bad = BAD[case]
    with pytest.raises(LimbeckError) as caught:
        recipes.complete(bad.recipe())
    said = str(caught.value)
    for words in (bad.expected, bad.came, bad.to_do):
        assert words in said, said
    assert said.endswith(".")
    assert caught.value.code == bad.code
    assert caught.value.remedy.field == bad.field_name


@pytest.mark.parametrize(
    ("loss", "parameters", "settings"),
    [
        ("sds", {}, {}),
        ("csd", {}, {}),
        ("nfsd", {"threshold": 1000.0}, {}),
        ("nfsd", {"threshold": 1000.0}, {"timestep_max": [(0.0, 1.0)]}),
        ("nfsd", {}, {"timestep_max": [(0.0, 0.199)]}),
    ],
)
@pytest.mark.parametrize("prior", ["exact", NETWORK])
def test_an_empty_negative_prompt_is_nobodys_business_where_it_is_not_used(
    loss: str, parameters: dict[str, float], settings: dict[str, Any], prior: str
) -> None:
    how = Settings(loss_parameters=parameters, **settings)
    recipe = Recipe(prompt="a red cube", preset="quick", loss=loss, prior=prior, negative_prompt="", settings=how)
    assert recipes.complete(recipe).negative_prompt == ""


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "vsd"])
def test_none_leaves_the_negative_prompt_to_the_prior(loss: str) -> None:
    start = {"start": Start(job_id="01JD4ZK7Q5R8M2N3P4S5T6V7W8", prompt="a red cube")} if loss == "dds" else {}
    recipe = Recipe(prompt="a red cube", preset="quick", loss=loss, **start)
    assert recipes.complete(recipe).negative_prompt is None


def test_lora_on_a_network_without_attention_is_refused_by_the_job(
    tiny_stable_diffusion: Callable[[str], Path], tmp_path: Path
) -> None:
    """No recipe can tell: the job looks at the model, and hears from it."""
    from diffusers import UNet2DConditionModel

    folder = tmp_path / "model"
    shutil.copytree(tiny_stable_diffusion("epsilon"), folder)
    shutil.rmtree(folder / "unet")
    with torch.random.fork_rng():
        config = UNet2DConditionModel.load_config(tiny_stable_diffusion("epsilon") / "unet")
        plain = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
        changed = {**config, **plain, "mid_block_type": "UNetMidBlock2D"}
        UNet2DConditionModel.from_config(changed).save_pretrained(folder / "unet")
    small = Settings(device="cpu", threads=1, field_resolution=16, render_size=[(0.0, 16)])
    recipe = Recipe(prompt="a yellow duck", preset="quick", loss="vsd", prior=str(folder), settings=small)
    with pytest.raises(LimbeckError) as caught:
        list(worker.run(recipes.complete(recipe), tmp_path / "job"))
    assert (caught.value.code, caught.value.remedy.field) == (ErrorCode.INVALID_FIELD, "recipe.loss")
    for words in ("trains LoRA on the attention layers", "this UNet has none", "Choose another loss, such as 'sds'"):
        assert words in str(caught.value)


WHOLE = {"sampling_steps", "inversion_floor", "interval", "interval_start", "lora_rank", "lora_warmup"}


def test_what_counts_something_is_whole_and_so_is_its_default() -> None:
    parameters = [parameter for loss in LOSSES.values() for parameter in loss.parameters]
    assert {parameter.name for parameter in parameters if parameter.whole} == WHOLE
    for parameter in parameters:
        assert not parameter.whole or float(parameter.default).is_integer(), parameter.name


@pytest.mark.parametrize(("loss", "parameters"), [("msd", {"sampling_steps": 3.0}), ("sdi", {"inversion_steps": 2.5})])
def test_whole_numbers_and_fractions_where_they_mean_something_are_taken(
    loss: str, parameters: dict[str, float | str]
) -> None:
    recipe = Recipe(prompt="a red cube", preset="quick", loss=loss, settings=Settings(loss_parameters=parameters))
    completed = recipes.complete(recipe).settings.loss_parameters
    assert isinstance(completed, dict)
    assert parameters.items() <= completed.items()
