"""The main job from the command line: a real server, a real worker, the exact prior."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trimesh

QUICK = ("--preset", "quick", "--threads", "1")


@pytest.fixture(scope="module")
def made(limbeck, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("out")
    answer = limbeck("generate", "a red cube", *QUICK, "--json", "--out", str(folder / "cube.glb"))
    assert answer.returncode == 0, answer.stderr
    return folder / "cube.glb", json.loads(answer.stdout)


def test_json_is_one_object_with_what_scripts_need(made: tuple[Path, dict]) -> None:
    path, summary = made
    for key in ("job_id", "recipe", "seconds", "steps", "prior_evaluations", "artifacts", "metrics"):
        assert summary[key], key
    assert summary["steps"] == 300
    assert summary["prior_evaluations"] == 600
    assert {a["name"] for a in summary["artifacts"]} >= {
        "mesh.glb",
        "mesh.npz",
        "preview.png",
        "recipe.json",
        "metrics.json",
    }
    assert path.stat().st_size == next(a["size_bytes"] for a in summary["artifacts"] if a["name"] == "mesh.glb")


def test_a_red_cube_is_a_closed_cube_of_the_true_size(made: tuple[Path, dict]) -> None:
    metrics = made[1]["metrics"]
    assert metrics["watertight"] is True
    assert metrics["euler_number"] == 2
    assert metrics["iou"] >= 0.75
    assert metrics["iou"] > metrics["start"]["iou"]
    assert abs(metrics["volume"] / metrics["true_volume"] - 1) <= 0.15


def test_the_glb_passes_the_validator(made: tuple[Path, dict], gltf_issues) -> None:
    found = gltf_issues(made[0])[str(made[0])]
    assert (found["errors"], found["warnings"]) == (0, 0), found


def test_the_glb_is_red_and_upright(made: tuple[Path, dict]) -> None:
    scene = trimesh.load(made[0])
    mesh = scene.to_geometry()
    assert mesh.extents == pytest.approx([mesh.extents.mean()] * 3, rel=0.25)
    texture = mesh.visual.material.baseColorTexture
    assert texture is not None


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_mesh(limbeck, tmp_path: Path) -> None:
    digests = set()
    for attempt in range(2):
        out = tmp_path / f"{attempt}.glb"
        answer = limbeck("generate", "a blue torus", *QUICK, "--steps", "40", "--json", "--out", str(out))
        assert answer.returncode == 0, answer.stderr
        digests.add(json.loads(answer.stdout)["metrics"]["mesh_digest"])
    assert len(digests) == 1


def test_the_job_is_kept(limbeck, made: tuple[Path, dict], tmp_path: Path) -> None:
    job_id = made[1]["job_id"]
    listed = json.loads(limbeck("jobs", "list", "--json").stdout)["jobs"]
    assert job_id in {job["job_id"] for job in listed}
    shown = json.loads(limbeck("jobs", "show", job_id, "--json").stdout)
    assert shown["state"] == "succeeded"
    assert limbeck("jobs", "follow", job_id).returncode == 0
    out = tmp_path / "metrics.json"
    assert limbeck("jobs", "fetch", job_id, "metrics.json", "--out", str(out)).returncode == 0
    assert json.loads(out.read_text())["iou"] == made[1]["metrics"]["iou"]


@pytest.mark.slow
def test_nfsd_runs_by_name(limbeck, tmp_path: Path) -> None:
    out = tmp_path / "sphere.glb"
    answer = limbeck("generate", "a green sphere", *QUICK, "--loss", "nfsd", "--json", "--out", str(out))
    assert answer.returncode == 0, answer.stderr
    metrics = json.loads(answer.stdout)["metrics"]
    assert metrics["euler_number"] == 2
    assert abs(metrics["volume"] / metrics["true_volume"] - 1) <= 0.15


@pytest.mark.slow
def test_a_torus_keeps_its_hole(limbeck, tmp_path: Path) -> None:
    # The default preset: at 32 pixels the ring comes out 16 % too voluminous.
    out = str(tmp_path / "torus.glb")
    answer = limbeck("generate", "a blue torus", "--json", "--out", out, timeout_s=900)
    assert answer.returncode == 0, answer.stderr
    metrics = json.loads(answer.stdout)["metrics"]
    assert metrics["euler_number"] == 0
    assert abs(metrics["volume"] / metrics["true_volume"] - 1) <= 0.15
