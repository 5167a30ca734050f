"""Every kind of GLB that is written passes the Khronos validator without an error or a warning."""

import numpy as np
import pytest
from limbeck_server.meshing.gltf import write_glb
from limbeck_server.meshing.mesh import Mesh
from limbeck_server.meshing.pipeline import build_mesh
from limbeck_server.meshing.preparation import MeshSettings, surface_at_level


@pytest.fixture(scope="module")
def files(fields, tmp_path_factory):
    folder = tmp_path_factory.mktemp("glb")
    shapes = {
        "ball": fields.ball(0.5),
        "torus": fields.torus(0.4, 0.15),
        "box": fields.box((0.4, 0.3, 0.2)),
        "two": fields.union(fields.ball(0.3, (-0.4, 0, 0)), fields.ball(0.2, (0.4, 0, 0))),
    }
    paths = []
    for name, distance in shapes.items():
        for size in (0, 256):
            settings = MeshSettings(resolution=48, density_level=fields.LEVEL, face_budget=3000, texture_size=size)
            surface = surface_at_level(fields.solid(distance), None, settings)
            mesh, _ = build_mesh(surface, fields.rainbow, settings)
            paths.append(folder / f"{name}-{'textured' if size else 'coloured'}.glb")
            write_glb(paths[-1], mesh, f"a {name}, “quoted” & ünïcode")
    paths.append(folder / "bare.glb")
    write_glb(paths[-1], Mesh(mesh.vertices, mesh.faces), "bare")
    return paths


def test_no_file_has_an_error_or_a_warning(files, gltf_issues):
    found = gltf_issues(*files)
    assert set(found) == {str(path) for path in files}
    assert {path: issues for path, issues in found.items() if issues["errors"] or issues["warnings"]} == {}
    assert all(issues["hints"] == 0 and issues["infos"] == 0 for issues in found.values()), found


def test_the_validator_does_see_faults(files, gltf_issues, tmp_path):
    data = bytearray(files[0].read_bytes())
    at = data.index(b'"NORMAL"')
    data[at : at + 8] = b'"NORMAX"'
    (tmp_path / "bad.glb").write_bytes(bytes(data))
    (tmp_path / "none.glb").write_bytes(np.arange(100, dtype=np.uint8).tobytes())
    found = gltf_issues(tmp_path / "bad.glb", tmp_path / "none.glb")
    assert all(issues["errors"] > 0 for issues in found.values())
