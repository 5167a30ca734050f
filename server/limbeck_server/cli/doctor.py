"""`limbeck doctor`: what this machine has, what is missing, how to get it."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from importlib import metadata, util
from typing import Annotated

import typer


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's answer."""

    name: str
    ok: bool
    needed: bool
    found: str
    remedy: str = ""


REQUIRED = {
    "torch": "pip install torch",
    "nerfacc": "pip install nerfacc",
    "mcubes": "pip install PyMCubes",
    "zmq": "pip install pyzmq",
    "msgspec": "pip install msgspec",
    "trimesh": "pip install trimesh",
    "xatlas": "pip install xatlas",
    "fast_simplification": "pip install fast-simplification",
}
OPTIONAL = {
    "diffusers": "pip install diffusers (for priors that are networks)",
    "transformers": "pip install transformers (for priors that are networks)",
    "bpy": "pip install bpy==5.0.1 (only to run Blender as a Python module)",
}
_DISTRIBUTION = {"mcubes": "PyMCubes", "zmq": "pyzmq", "fast_simplification": "fast-simplification"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Examine this machine; exit code 1 if something needed is missing."""
    from limbeck_server.cli.output import print_json

    findings = [*_packages(), _curve(), _device(), _cache(), _server(), _network(), _stable_diffusion()]
    healthy = all(finding.ok for finding in findings if finding.needed)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = "ok     " if finding.ok else ("MISSING" if finding.needed else "-      ")
            print(
                f"{mark} {finding.name:<22} {finding.found}" + (f"\n{'':31}{finding.remedy}" if finding.remedy else "")
            )
    if not healthy:
        raise typer.Exit(1)


def _packages() -> list[Finding]:
    findings = [Finding("Python", sys.version_info >= (3, 11), True, sys.version.split()[0])]
    for needed, table in ((True, REQUIRED), (False, OPTIONAL)):
        for name, remedy in table.items():
            there = util.find_spec(name) is not None
            version = metadata.version(_DISTRIBUTION.get(name, name)) if there else "not installed"
            findings.append(Finding(name, there, needed, version, "" if there else remedy))
    return findings


def _curve() -> Finding:
    import zmq

    there = zmq.has("curve")
    return Finding(
        "encryption (CURVE)", there, True, zmq.zmq_version(), "" if there else "Install pyzmq from its wheel."
    )


def _device() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("GPU", True, False, f"{torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    remedy = (
        "The exact prior and the network that ships need none. For Stable Diffusion: an NVIDIA GPU and a CUDA build "
        "of torch."
    )
    return Finding("GPU", False, False, f"none that torch {torch.__version__} can use", remedy)


def _cache() -> Finding:
    from limbeck_server.known_world.views import default_cache_folder

    folder = default_cache_folder()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    return Finding("rendered views", True, False, f"{size / 2**20:.0f} MiB in {folder}")


def _server() -> Finding:
    from limbeck_protocol.client import Client
    from limbeck_protocol.errors import LimbeckError

    try:
        with Client.discover(name="limbeck doctor") as client:
            status = client.status()
    except LimbeckError as error:
        return Finding("server", False, False, error.message, error.remedy.label)
    return Finding("server", True, False, f"{status.server}, {status.running} running, {status.queued} queued")


def _network() -> Finding:
    from limbeck_server.priors.kinds import NETWORK
    from limbeck_server.priors.model_card import read_card
    from limbeck_server.priors.model_files import find_model
    from limbeck_server.priors.prior import ModelError

    try:
        model = find_model(NETWORK)
        training = read_card(model.folder, model.name).training
    except ModelError as error:
        return Finding("network prior", False, True, "not usable", str(error))
    size = sum(file.stat().st_size for file in model.folder.rglob("*") if file.is_file())
    told = f", trained for {training['iteration']} iterations" if "iteration" in training else ""
    return Finding("network prior", True, True, f"ships with Limbeck, {size / 1e6:.0f} MB{told}")


def _stable_diffusion() -> Finding:
    from limbeck_server.priors.model_files import HUB_NAMES, download_command, find_model
    from limbeck_server.priors.prior import ModelError

    try:
        model = find_model("stable-diffusion")
    except ModelError:
        remedy = f"Download it, about 5 GB: {download_command(HUB_NAMES[0])}"
        return Finding("Stable Diffusion", False, False, "no model downloaded", remedy)
    return Finding("Stable Diffusion", True, False, str(model.name))
