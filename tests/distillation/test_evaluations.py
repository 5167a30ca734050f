"""Evaluations of the prior, counted around it, against what the README's table of methods says."""

from __future__ import annotations

import ast
import itertools
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from limbeck_protocol.recipe import Recipe
from limbeck_server import recipes
from limbeck_server.distillation.distil import DistillationSettings, distil
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.distillation.schedules import piecewise_linear
from limbeck_server.distillation.timesteps import choose_timesteps
from limbeck_server.distillation.trainer import Trainer, TrainerSettings
from limbeck_server.presets import BORROWERS
from limbeck_server.priors.prior import NoiseSchedule
from limbeck_server.scene.cameras import CameraRig, OrbitRange
from limbeck_server.scene.field import FieldSettings, build_field
from limbeck_server.scene.renderer import RenderSettings
from torch import Tensor

ROOT = Path(__file__).parents[2]
Values = Mapping[str, float | str]

# --- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """What the column says of a loss: formulas, the last of which whose condition holds counts."""

    formulas: tuple[tuple[str, str | None], ...]
    steps: str | None
    """What k is."""
    of_quick: tuple[int, int] | None
    """Least and most, with the preset `quick` of the exact prior."""
    others: tuple[str, ...]
    """Further numbers in backticks."""

    def count(self, values: Values) -> int:
        values = {**values, "S": values.get("sampling_steps", 0.0)}
        if self.steps is not None:
            values = {**values, "k": evaluate(self.steps, values)}
        chosen = [formula for formula, condition in self.formulas if condition is None or holds(condition, values)]
        return int(evaluate(chosen[-1], values))


def read_table() -> dict[str, Cell]:
    """Return the README's table of methods, by loss."""
    below = (ROOT / "README.md").read_text().split("## Methods", 1)[1].splitlines()
    from_table = itertools.dropwhile(lambda line: not line.startswith("|"), below)
    table = itertools.takewhile(lambda line: line.startswith("|"), from_table)
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    cells = {}
    for row in rows:
        values = dict(zip(heads, row, strict=True))
        cells[values["loss"].strip("`")] = read_cell(values["evaluations a step"])
        assert (ROOT / values["file"].strip("`")).is_file(), values["file"]
    return cells


def read_cell(text: str) -> Cell:
    formulas, steps, of_quick, others = [], None, None, []
    for clause in text.split(";"):
        quoted = re.findall(r"`([^`]+)`", clause)
        condition = quoted.pop(1) if re.search(r"` if `", clause) else None
        formulas.append((quoted[0], condition))
        for other in quoted[1:]:
            if other.startswith("k = "):
                steps = other.removeprefix("k = ")
            else:
                others.append(other)
        if found := re.search(r"` = (\d+)(?: to (\d+))?", clause):
            of_quick = int(found[1]), int(found[2] or found[1])
    return Cell(tuple(formulas), steps, of_quick, tuple(others))


def holds(condition: str, values: Values) -> bool:
    """Say whether `name < number`, `name > number` or `name = word` holds."""
    name, sign, wanted = condition.split()
    value = values.get(name, 0.0)
    if sign == "=":
        return value == (wanted if isinstance(value, str) else float(wanted))
    return {"<": operator.lt, ">": operator.gt}[sign](float(values.get(name, 0.0)), float(wanted))


def evaluate(formula: str, values: Values) -> float:
    """Return what a formula comes to: numbers, names, + - * /, a space for *, ceil and max."""
    spelled = re.sub(r"(?<=\w) (?=[A-Za-z])", "*", formula)
    signs = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
    functions = {"ceil": math.ceil, "max": max}

    def of(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=number):
                return float(number)
            case ast.Name(id=name):
                return float(values[name])
            case ast.BinOp(left=left, op=sign, right=right):
                return signs[type(sign)](of(left), of(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return functions[name](*map(of, arguments))
        raise AssertionError(f"{formula!r} is more than this test can read")

    return of(ast.parse(spelled, mode="eval").body)


TABLE = read_table()


def test_the_table_has_a_row_for_every_settled_loss_in_their_order() -> None:
    """A loss on trial, with borrowed presets, may do without; whoever gives it presets of its own writes its row."""
    assert set(LOSSES) - set(TABLE) == BORROWERS
    assert list(TABLE) == [loss for loss in LOSSES if loss in TABLE]


@pytest.mark.parametrize(("formula", "expected"), [("2 S", 40), ("2 k + 2", 8), ("ceil(max(t - k, 0) / 200)", 3)])
def test_the_reading_of_formulas(formula: str, expected: int) -> None:
    assert evaluate(formula, {"S": 20.0, "k": 3.0, "t": 500.0}) == expected


# --- counted ----------------------------------------------------------------------------------------------------------


class Counted:
    """A prior that counts, per view and text, what it is asked; all else is the one's behind it."""

    def __init__(self, prior: Any) -> None:
        self._prior = prior
        self.counted = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)

    def predict_noise(self, noisy: Tensor, timesteps: Tensor, prompts: Mapping[str, Sequence[str]]) -> Any:
        self.counted += sum(len(texts) for texts in prompts.values())
        return self._prior.predict_noise(noisy, timesteps, prompts)

    def denoise_at(self, scaled: Tensor, sigmas: Tensor, texts: Sequence[str]) -> Tensor:
        self.counted += len(texts)
        return self._prior.denoise_at(scaled, sigmas, texts)


@pytest.fixture
def count(two_classes, exact_particles, subject_of, draw, generator) -> Callable[..., tuple[int, Any]]:
    """Return a function: loss, timestep, parameters -> evaluations of one shipped step, and the particle model."""

    def counted(name: str, timestep: int, parameters: Values, views: int = 1, **given: Any) -> tuple[int, Any]:
        how = DistillationSettings(
            loss=name,
            loss_parameters=parameters,
            timestep_min=timestep / 1000,
            timestep_max=((0.0, timestep / 1000),),
            weighting="uniform",
            **({"guidance_scale": 7.5} | given),
        )
        prior = Counted(two_classes)
        particle = exact_particles(two_classes) if name == "vsd" else None
        seen = subject_of(
            draw(views, 1, 2, 2),
            **{side: [(["b"] * views, [-1.0] * views)] * 2 for side in ("opposites", "reference_opposites")},
        )
        before = two_classes.evaluations
        done = distil(prior, how, seen, 1.0, generator, particle)
        assert done.timesteps.tolist() == [timestep] * views
        assert two_classes.evaluations - before == prior.counted, "the prior's own count"
        assert prior.counted % views == 0
        return prior.counted // views, particle

    return counted


PARAMETERS: list[tuple[str, dict[str, float | str]]] = [
    *((name, {}) for name in TABLE),
    ("csd", {"negative_weight": 0.5}),
    ("msd", {"centre": "inversion"}),
    ("msd", {"centre": "mean", "sampling_steps": 7.0}),
    ("msd", {"sampler": "product", "sampling_steps": 12.0}),
    ("sdi", {"inversion_steps": 3.0}),
    ("sdi", {"inversion_guidance": 0.0}),
    ("sdi", {"inversion_steps": 150.0}),
    ("ism", {"interval": 200.0, "inversion_stride": 33.0}),
]


@pytest.mark.parametrize("timestep", [0, 20, 150, 199, 200, 500, 501, 980])
@pytest.mark.parametrize(
    ("loss", "parameters"), PARAMETERS, ids=["-".join([n, *map(str, p.values())]) for n, p in PARAMETERS]
)
def test_a_step_takes_the_evaluations_of_the_table(count, loss: str, parameters: dict, timestep: int) -> None:
    values = {p.name: p.default for p in LOSSES[loss].parameters} | parameters | {"t": float(timestep)}
    assert count(loss, timestep, parameters)[0] == TABLE[loss].count(values)


@pytest.mark.parametrize("loss", TABLE)
def test_three_views_take_three_times_as_many(count, loss: str) -> None:
    assert count(loss, 500, {}, views=3)[0] == count(loss, 500, {})[0]


def test_the_particle_model_is_asked_once_for_each_view(count) -> None:
    assert TABLE["vsd"].others == ("1", "1")
    _, particle = count("vsd", 500, {}, views=3)
    assert (particle.evaluations, particle.training_passes) == (3, 0), "the trainer trains it, after the step"


@pytest.mark.parametrize(
    ("loss", "parameters", "given", "expected"),
    [
        ("msd", {}, {"guidance_scale": 1.0}, "S"),
        ("msd", {"sampler": "product"}, {"guidance_scale": 1.0}, "S"),
        ("msd", {"centre": "inversion"}, {"guidance_scale": 1.0}, "2 S"),
        ("sdi", {"inversion_guidance": 1.0}, {}, "k + 2"),
        ("sdi", {"inversion_guidance": 0.0}, {"perp_neg": 1.0}, "k + 4"),
        ("sds", {}, {"perp_neg": 1.0}, "4"),
        ("nfsd", {}, {"perp_neg": 1.0}, "5"),
        ("csd", {}, {"perp_neg": 1.0}, "4"),
        ("vsd", {}, {"perp_neg": 1.0}, "4"),
        ("ism", {}, {"perp_neg": 1.0}, "k + 5"),
        ("sdi", {}, {"perp_neg": 1.0}, "4 k + 4"),
        ("msd", {}, {"perp_neg": 1.0}, "4 S"),
        ("msd", {"sampler": "product"}, {"perp_neg": 1.0}, "4 S"),
        ("dds", {}, {"perp_neg": 1.0}, "8"),
    ],
)
def test_what_stands_below_the_table(count, loss: str, parameters: dict, given: dict, expected: str) -> None:
    """No guidance spares the empty prompt on trajectories; Perp-Neg asks for its two opposites wherever it guides."""
    values = {p.name: p.default for p in LOSSES[loss].parameters} | parameters | {"t": 500.0}
    cell = Cell(((expected, None),), TABLE[loss].steps, None, ())
    assert count(loss, 500, parameters, **given)[0] == cell.count(values)


# --- presets, and the whole loop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [name for name, cell in TABLE.items() if cell.of_quick])
def test_the_figures_of_quick_are_the_presets(loss: str) -> None:
    settings = recipes.complete(Recipe(prompt="a red cube", loss=loss, preset="quick")).settings
    schedule, cell = NoiseSchedule.stable_diffusion(), TABLE[loss]
    at_hand, counts = {"guidance_scale": settings.guidance_scale}, []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        ends = round(1000 * settings.timestep_min), round(1000 * piecewise_linear(settings.timestep_max, share))
        drawn = torch.Generator().manual_seed(0)
        at = choose_timesteps(settings.timestep_schedule, *ends, 1, share, schedule, drawn).tolist()
        for timestep in ends if settings.timestep_schedule == "uniform" else at:
            counts.append(cell.count({**settings.loss_parameters, **at_hand, "t": float(timestep)}))
    assert (min(counts), max(counts)) == cell.of_quick


@pytest.mark.parametrize("loss", TABLE)
def test_a_step_of_the_trainer_takes_no_more(mixture_of, draw, loss: str) -> None:
    mean = draw(2, 3, 2, 2)
    prior = Counted(mixture_of({text: [(1.0, mean[row], 0.5)] for text, row in {"a": 0, "": 1, "b": 1}.items()}))
    scene = FieldSettings(resolution=12)
    settings = TrainerSettings(
        loss=loss,
        guidance_scale=2.0,
        timestep_min=0.6,
        timestep_max=((0.0, 0.6),),
        weighting="uniform",
        prompt="a",
        negative_prompt="b",
        start_prompt="b",
        steps=4,
        views_per_step=2,
        render_size=((0.0, 16),),
        learning_rate=0.01,
        background="grey",
        shading="albedo",
        regularizers={},
        scene=scene,
        rendering=RenderSettings(samples_per_ray=8),
        seed=0,
    )
    start = build_field(scene, prior.device, torch.Generator().manual_seed(1))
    trainer = Trainer(prior, CameraRig(orbit=OrbitRange()), settings, start)
    assert prior.counted == 0
    trainer.step()
    values = settings.all_parameters() | {"t": 600.0}
    if loss == "ism":
        values |= {"interval": values["interval_start"]}
    assert prior.counted == 2 * TABLE[loss].count(values)
    if trainer.particle is not None:
        # Two views: `1` evaluation and `1` pass of training each.
        assert (trainer.particle.evaluations, trainer.particle.training_passes) == (2, 2)
