"""Which room may import which: the table of ARCHITECTURE.md, read off the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOCOL = ROOT / "shared_protocol" / "limbeck_protocol"
SERVER = ROOT / "server" / "limbeck_server"
ADDON = ROOT / "blender_addon"

OURS = ("limbeck_protocol", "limbeck_server")
HEAVY = ("torch", "diffusers", "transformers", "nerfacc")
WIRE = ("zmq", "msgpack", "limbeck_protocol", "limbeck_server.service")

# Files or folders -> names that must not be imported, at any depth, by any statement outside `if TYPE_CHECKING`.
FORBIDDEN: dict[Path, tuple[str, ...]] = {
    PROTOCOL: (*HEAVY, "bpy", "limbeck_server"),
    ADDON: (*HEAVY, "limbeck_server"),
    SERVER / "service": (
        *HEAVY,
        "bpy",
        "limbeck_server.distillation",
        "limbeck_server.scene",
        "limbeck_server.priors",
        "limbeck_server.meshing",
        "limbeck_server.known_world",
    ),
    SERVER / "distillation": (*WIRE, "bpy", "diffusers", "transformers", "limbeck_server.known_world"),
    SERVER / "priors": (*WIRE, "bpy", "limbeck_server.scene", "limbeck_server.distillation"),
    SERVER / "scene": (
        *WIRE,
        "bpy",
        "diffusers",
        "transformers",
        "limbeck_server.priors",
        "limbeck_server.distillation",
    ),
    SERVER / "meshing": (*WIRE, "bpy", "torch", "limbeck_server.scene", "limbeck_server.distillation"),
    SERVER / "known_world": (
        *WIRE,
        "bpy",
        "diffusers",
        "transformers",
        "limbeck_server.priors",
        "limbeck_server.distillation",
        "limbeck_server.meshing",
    ),
    SERVER / "studies": (*WIRE, "bpy", "diffusers", "transformers"),
    SERVER / "worker.py": ("zmq", "bpy", "limbeck_server.service"),
    SERVER / "picture_job.py": ("zmq", "bpy", "limbeck_server.service"),
    SERVER / "job_progress.py": ("zmq", "bpy", "limbeck_server.service", *HEAVY),
    SERVER / "viewer_pictures.py": ("zmq", "bpy", "limbeck_server.service"),
    SERVER / "assembly.py": ("zmq", "bpy", "limbeck_server.service"),
    SERVER / "results.py": ("zmq", "bpy", "limbeck_server.service"),
    SERVER / "starts.py": ("zmq", "bpy", "limbeck_server.service"),
    SERVER / "presets": ("zmq", "bpy", "limbeck_server.service", *HEAVY),
    SERVER / "recipes.py": ("zmq", "bpy", "limbeck_server.service", *HEAVY),
    SERVER / "image_recipes.py": ("zmq", "bpy", "limbeck_server.service", *HEAVY),
}
# What a room may import of ours, where that is a short list.
ALLOWED_OURS: dict[Path, tuple[str, ...]] = {
    PROTOCOL: ("limbeck_protocol",),
    SERVER / "distillation" / "losses": (
        "limbeck_server.distillation.predictions",
        "limbeck_server.distillation.losses",
    ),
    SERVER / "known_world": ("limbeck_server.known_world", "limbeck_server.scene.cameras"),
    SERVER / "meshing": ("limbeck_server.meshing",),
    SERVER / "scene": ("limbeck_server.scene",),
    SERVER / "priors": ("limbeck_server.priors", "limbeck_server.known_world"),
    SERVER / "studies": tuple(
        f"limbeck_server.{room}" for room in ("studies", "distillation", "priors", "scene", "known_world")
    ),
}
ONLY_IMPORTERS: dict[str, tuple[str, ...]] = {
    "diffusers": ("priors/stable_diffusion.py", "priors/training/architecture.py", "priors/training/export.py"),
    "transformers": ("priors/stable_diffusion.py", "priors/training/architecture.py"),
    "peft": ("priors/particle_model.py",),
    "nerfacc": ("scene/",),
    "sqlite3": ("service/",),
    "mcubes": ("meshing/",),
    "matplotlib": ("studies/figures.py",),
    "xatlas": ("meshing/",),
}


def files_of(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def is_type_checking(node: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(node.test)


def imports_of(path: Path) -> set[str]:
    """Every dotted name that the file imports when it runs, wherever the statement stands."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and is_type_checking(node):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


def reaches(name: str, root: str) -> bool:
    return name == root or name.startswith(root + ".")


@pytest.mark.parametrize("place", FORBIDDEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_opens_a_forbidden_door(place: Path) -> None:
    files = files_of(place)
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in sorted(imports_of(path))
        if any(reaches(name, root) for root in FORBIDDEN[place])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("place", ALLOWED_OURS, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_what_the_table_allows(place: Path) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files_of(place)
        for name in sorted(imports_of(path))
        if any(reaches(name, root) for root in OURS)
        and not any(reaches(name, root) or reaches(root, name) for root in ALLOWED_OURS[place])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", ONLY_IMPORTERS)
def test_libraries_have_one_door(library: str) -> None:
    wrong = [
        str(path.relative_to(SERVER))
        for path in files_of(SERVER)
        if any(reaches(name, library) for name in imports_of(path))
        and not str(path.relative_to(SERVER)).startswith(ONLY_IMPORTERS[library])
    ]
    assert not wrong, f"{library} is imported by {wrong}"


def test_the_add_on_imports_its_own_files_relatively() -> None:
    own = {path.stem for path in ADDON.glob("*.py")}
    wrong = [
        f"{path.name} imports {name}"
        for path in files_of(ADDON)
        for name in imports_of(path)
        if name.split(".")[0] in own | {"blender_addon", "limbeck"}
    ]
    assert not wrong, "\n".join(wrong)


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text("def f():\n    from torch.nn import functional\n    import zmq.asyncio\n")
    found = imports_of(sample)
    assert any(reaches(name, "torch") for name in found)
    assert any(reaches(name, "zmq") for name in found)
