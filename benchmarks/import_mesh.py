"""Import of a mesh from arrays beside Blender's own glTF import of the same mesh, interleaved, in one run.

    python benchmarks/import_mesh.py [--triangles 1000000] [--rounds 5] [--json FILE]
    blender --background --python-exit-code 1 --python benchmarks/import_mesh.py -- [the same options]

One torus with vertex colours, corner UVs and a texture of 1024 pixels is written twice: as the server's `mesh.npz`, and
by Blender's own exporter as GLB. Both are timed from the file on disk to the object in the scene, everything included:
reading, checks, mesh, material, texture, custom properties. glTF is measured with normals, as exporters write it by
default, and without, which is less work (and less of a mesh: it comes in flat-shaded). Each glTF import keeps its
texture packed and undecoded, and so does ours. What came in is compared before anything is timed.

In Blender itself the installed extension is used; `--site FOLDER` names a folder with `limbeck_protocol` and what it
needs, for a Blender without the extension.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TEXTURE_SIZE = 1024
GOAL = 3.0
INSTALLED = "bl_ext.user_default.limbeck"


def load_limbeck(site: Path | None) -> ModuleType:
    """Return the installed extension, or the add-on's source folder as a package."""
    if site is not None:
        sys.path.insert(0, str(site))
    elif INSTALLED in bpy.context.preferences.addons:
        return importlib.import_module(INSTALLED)
    sys.path.insert(0, str(ROOT / "packaging"))
    return importlib.import_module("load_addon").load_addon()


def torus(limbeck: ModuleType, triangles: int) -> Any:
    """Return a torus of about so many triangles as `MeshArrays`, its faces in no particular order."""
    across = max(3, round((triangles / 4) ** 0.5))
    around = 2 * across
    u, v = (grid.ravel() for grid in np.meshgrid(np.arange(around), np.arange(across), indexing="ij"))
    theta, phi = 2 * np.pi * u / around, 2 * np.pi * v / across
    radius = 0.4 + 0.15 * np.cos(phi)
    vertices = np.stack([radius * np.cos(theta), radius * np.sin(theta), 0.15 * np.sin(phi)], axis=-1)
    steps = ((0, 0), (1, 0), (1, 1), (0, 1))
    corners = np.stack([((u + a) % around) * across + (v + b) % across for a, b in steps], axis=-1)
    uv = np.stack([np.stack([(u + a) / around, (v + b) / across], axis=-1) for a, b in steps], axis=1)
    faces = np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]])
    corner_uv = np.concatenate([uv[:, [0, 1, 2]], uv[:, [0, 2, 3]]])
    random = np.random.default_rng(0)
    order = random.permutation(len(faces))
    ramp = np.linspace(0, 200, TEXTURE_SIZE)
    texture = np.stack([*np.meshgrid(ramp, ramp), np.full((TEXTURE_SIZE, TEXTURE_SIZE), 90.0)], axis=-1)
    texture += random.integers(0, 40, size=texture.shape)
    return limbeck.results.mesh_arrays.MeshArrays(
        vertices=vertices.astype(np.float32),
        faces=faces[order].astype(np.int32),
        vertex_colours=(vertices + 0.6).clip(0, 1).astype(np.float32),
        corner_uv=corner_uv[order].astype(np.float32),
        texture=texture.astype(np.uint8),
    )


def write_files(limbeck: ModuleType, arrays: Any, folder: Path) -> dict[str, Callable[[], bpy.types.Object]]:
    """Write the mesh in each format; return what imports each of them and returns the object."""
    protocol = importlib.import_module("limbeck_protocol.recipe")
    origin = limbeck.results.recipe_on_object.Origin("job-0001", protocol.Recipe(prompt="a torus"), {"iou": 1.0})
    np.savez(folder / "mesh.npz", **{name: getattr(arrays, name) for name in arrays.__dataclass_fields__})

    def from_arrays() -> bpy.types.Object:
        checked = limbeck.results.mesh_arrays.read_mesh_arrays((folder / "mesh.npz").read_bytes())
        return limbeck.results.scene_import.import_mesh(
            bpy.context.scene, checked, origin, limbeck.rig.placement.Placement()
        )

    def from_gltf(name: str) -> bpy.types.Object:
        with quiet():
            bpy.ops.import_scene.gltf(filepath=str(folder / name))
        return bpy.context.view_layer.objects.active

    from_arrays()
    for name, normals in (("normals.glb", True), ("plain.glb", False)):
        with quiet():
            bpy.ops.export_scene.gltf(
                filepath=str(folder / name), use_selection=True, export_vertex_color="ACTIVE", export_normals=normals
            )
    return {
        "arrays": from_arrays,
        "glTF": lambda: from_gltf("normals.glb"),
        "glTF without normals": lambda: from_gltf("plain.glb"),
    }


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the glTF add-on's log out of the table, at no cost to it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def empty_file() -> None:
    """Take everything out of the file, without opening another one: that would switch add-ons off and on."""
    for kind in ("objects", "meshes", "materials", "images"):
        owner = getattr(bpy.data, kind)
        for block in list(owner):
            owner.remove(block)


def check_same(results: dict[str, Callable[[], bpy.types.Object]], triangles: int) -> None:
    """See that each import brings the same faces, colours, UVs and texture.

    Raises:
        SystemExit: one of them does not.
    """
    textures = {}
    for name, run in results.items():
        empty_file()
        mesh = run().data
        picture = next(node for node in mesh.materials[0].node_tree.nodes if node.type == "TEX_IMAGE").image
        textures[name] = np.round(np.array(picture.pixels[:]) * 255).astype(np.uint8)
        counts = (len(mesh.polygons), len(mesh.color_attributes), len(mesh.uv_layers))
        if counts != (triangles, 1, 1):
            raise SystemExit(f"{name}: {counts} faces, colours and UV maps came; {(triangles, 1, 1)} were expected")
        if not np.array_equal(textures[name], textures["arrays"]):
            raise SystemExit(f"{name}: its texture is another one")


def measure(results: dict[str, Callable[[], bpy.types.Object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each import in each round, one of each kind a round."""
    times: dict[str, list[float]] = {name: [] for name in results}
    for _ in range(rounds):
        for name, run in results.items():
            empty_file()
            begun = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begun)
    return times


def main() -> int:
    """Print the table; return 0 if the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triangles", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--site", type=Path, help="folder with limbeck_protocol and what it needs")
    # Blender passes its own arguments on too; ours stand behind the two dashes.
    is_program = bool(bpy.app.binary_path) and Path(sys.argv[0]).name.startswith("blender")
    separator = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[separator + 1 :] if is_program else sys.argv[1:])
    limbeck = load_limbeck(options.site)
    empty_file()
    arrays = torus(limbeck, options.triangles)
    with tempfile.TemporaryDirectory() as folder:
        imports = write_files(limbeck, arrays, Path(folder))
        check_same(imports, len(arrays.faces))
        times = measure(imports, options.rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"Blender {bpy.app.version_string}, Python {platform.python_version()}, {len(arrays.faces)} triangles")
    for name, values in times.items():
        ratio = medians[name] / medians["arrays"]
        print(f"{name:22} median {medians[name]:.2f} s, best {min(values):.2f} s, {ratio:.1f} x the time of arrays")
    speed_up = medians["glTF"] / medians["arrays"]
    print(f"arrays are {speed_up:.1f} times as fast as glTF; wanted: {GOAL:g}")
    if options.json:
        options.json.write_text(json.dumps({"blender": bpy.app.version_string, "seconds": times, "ratio": speed_up}))
    return 0 if speed_up >= GOAL else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Blender's module may hang at exit; everything is written and closed by now
