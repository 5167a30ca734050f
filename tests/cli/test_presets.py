"""`limbeck presets`: what can be asked for, and every value with its source."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from limbeck_server import presets
from limbeck_server.distillation.losses import LOSSES

SOME = [
    ("dreamfusion", "sds", "guidance_scale", "101.0", "counts from the"),
    ("sjc", "sds", "field_resolution", "100", "sjc.yaml: grid_size"),
    ("nfsd", "nfsd", "loss_parameters.threshold", "200.0", "NFSD, section 5, eq. 6"),
    ("csd", "csd", "perp_neg", "3.0", "perpneg_scale"),
    ("msd", "msd", "loss_parameters.sampler", '"splitting"', "MSD, Algorithm 2"),
    ("sdi", "sdi", "loss_parameters.inversion_eta", "0.3", "sdi.yaml: inversion_eta"),
    ("luciddreamer", "ism", "timestep_max", "[[0.0, 0.98], [0.3, 0.5]]", "LucidDreamer's code"),
    ("prolificdreamer", "vsd", "loss_parameters.lora_rank", "4.0", "ProlificDreamer's code"),
    ("dds", "dds", "weighting", '"uniform"', "DDS's notebook"),
]


def run(*arguments: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "limbeck_server.cli", "presets", *arguments],
        env={**os.environ, "COLUMNS": str(columns)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(("name", "loss", "setting", "value", "source"), SOME)
def test_a_published_preset_is_printed_with_values_and_sources_in_columns(
    name: str, loss: str, setting: str, value: str, source: str
) -> None:
    answer = run(name)
    assert answer.returncode == 0, answer.stderr
    assert f" {name} ({loss}, stable-diffusion)" in answer.stdout
    row = next(line for line in answer.stdout.splitlines() if line.split()[:1] == [setting])
    assert row.removeprefix("    ").removeprefix(setting).strip().startswith(value)
    assert source in row
    assert answer.stdout.count(f"    {setting} ") == 1


def test_values_can_be_handed_to_set() -> None:
    from limbeck_server.cli.generate import read_settings

    rows = [line.removeprefix("    ") for line in run("nfsd").stdout.splitlines() if line.startswith("    ")]
    key = ("nfsd", "nfsd", presets.STABLE_DIFFUSION)
    plain = {row.split()[0]: row for row in rows if row[0] != " " and "." not in row.split()[0]}
    assert set(plain) == {name for name in presets.SOURCES[key] if "." not in name}
    for name, row in plain.items():
        # Columns are at least two blanks apart.
        value = row.removeprefix(name).strip().split("  ")[0]
        expected = getattr(presets.PRESETS[key], name)
        assert getattr(read_settings([f"{name}={value}"], {}, {}), name) == expected, name


def test_a_narrow_terminal_wraps_the_sources_below_each_other() -> None:
    lines = run("msd", columns=100).stdout.splitlines()
    table = [line for line in lines if line.startswith("    ")]
    start = next(line.index("ours") for line in table if line.startswith("    preview_every"))
    continued = [line for line in table if line.startswith(" " * 8)]
    assert continued
    assert all(line[:start].isspace() and line[start] != " " for line in continued)


def test_without_a_name_everything_is_printed_once() -> None:
    answer = run()
    assert answer.returncode == 0, answer.stderr
    for loss in LOSSES.values():
        assert f"  {loss.name:<10} {loss.title}: " in answer.stdout
        for parameter in loss.parameters:
            assert f"    {parameter.name} = " in answer.stdout
    assert answer.stdout.count("dreamfusion (") == 1
    assert "  standard = dreamfusion (sds, stable-diffusion)" in answer.stdout
    assert "duck" in answer.stdout
    assert "`limbeck presets NAME`" in answer.stderr


def test_json_is_the_catalog_with_the_presets_of_that_name() -> None:
    answer = run("quick", "--json")
    offer = json.loads(answer.stdout)
    assert answer.stderr == ""
    assert {preset["name"] for preset in offer["presets"]} == {"quick"}
    assert {loss["name"] for loss in offer["losses"]} == set(LOSSES)
    for preset in offer["presets"]:
        assert preset["sources"] == presets.SOURCES["quick", preset["loss"], preset["prior"]]


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    answer = run("dreamfusoin")
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert "'dreamfusoin'" in answer.stderr
    assert "dreamfusion, sjc, nfsd" in answer.stderr
    assert "Traceback" not in answer.stderr
