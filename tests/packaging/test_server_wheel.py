"""The server's wheel: the network prior is inside, whole, and the wheel stays small enough for everybody to have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import wheels

SHIPPED = Path(__file__).parents[2] / "server" / "limbeck_server" / "priors" / "shipped"
LARGEST = 20_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build_server_wheel(tmp_path_factory.mktemp("server-wheel"))


def test_the_wheel_is_small_enough_for_everybody(wheel: Path) -> None:
    assert wheel.stat().st_size <= LARGEST


def test_all_that_ships_is_in_the_wheel_as_it_is_in_the_source(wheel: Path) -> None:
    here = {
        f"limbeck_server/priors/shipped/{path.relative_to(SHIPPED).as_posix()}": path.read_bytes()
        for path in SHIPPED.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "limbeck_server/priors/shipped/network/unet/diffusion_pytorch_model.safetensors" in here
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist() if "/shipped/" in name}
    assert sorted(inside) == sorted(here)
    assert all(inside[name] == content for name, content in here.items())


def test_an_installed_wheel_finds_its_network_beside_its_code(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        "import json, limbeck_server; from importlib import resources; from limbeck_server.priors import kinds; "
        "from limbeck_server.priors.model_files import find_model; "
        "looked_up = resources.files('limbeck_server') / 'priors' / 'shipped' / 'network' / 'limbeck.json'; "
        "print(json.dumps([limbeck_server.__file__, str(find_model('network').folder), looked_up.is_file()]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    code, folder, is_there = json.loads(done.stdout)
    assert Path(code).parent == tmp_path / "limbeck_server"
    assert Path(folder) == tmp_path / "limbeck_server" / "priors" / "shipped" / "network"
    assert is_there
