"""Import of arrays: everything arrives where it was asked for, or nothing stays behind."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import tempfile
from pathlib import Path

import bpy
import harness
import numpy as np
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.recipe import Orbit, Recipe, Rig, recipe_from_json

addon = harness.load_addon()
scene_import, mesh_arrays = addon.results.scene_import, addon.results.mesh_arrays
Placement = addon.rig.placement.Placement
RECIPE = Recipe(prompt="a  yellow duck\n", rig=Rig(orbit=Orbit()))
ORIGIN = scene_import.Origin("job-0001", RECIPE, {"iou": 0.84, "watertight": True})


def fresh() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)


def as_npz(arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, normals=np.zeros_like(arrays.vertices), **dataclasses.asdict(arrays))
    return buffer.getvalue()


def everything_arrives_where_it_was_asked_for():
    fresh()
    arrays = mesh_arrays.read_mesh_arrays(as_npz(harness.cube_arrays(addon)))
    placement = Placement(location=(1.0, -2.0, 3.0), size=2.5)
    result = scene_import.import_mesh(bpy.context.scene, arrays, ORIGIN, placement)
    mesh = result.data
    assert result.name == mesh.name == "Yellow duck", result.name
    assert [c.name for c in result.users_collection] == ["Limbeck"]
    assert tuple(result.location) == (1.0, -2.0, 3.0)
    assert tuple(result.scale) == (1.0, 1.0, 1.0)
    bpy.context.view_layer.update()
    assert np.allclose(result.dimensions, 2.5)
    assert (len(mesh.vertices), len(mesh.polygons), len(mesh.edges), len(mesh.loops)) == (8, 12, 18, 36)
    positions = np.array([v.co for v in mesh.vertices])
    assert np.array_equal(positions, arrays.vertices * np.float32(2.5))
    assert [tuple(p.vertices) for p in mesh.polygons] == [tuple(f) for f in arrays.faces.tolist()]
    assert all(p.use_smooth for p in mesh.polygons)
    uv = np.array([loop.uv for loop in mesh.uv_layers.active.data]).reshape(-1, 3, 2)
    assert np.allclose(uv, arrays.corner_uv)
    colours = np.array([c.color_srgb for c in mesh.color_attributes.active_color.data])[:, :3]
    assert np.allclose(colours, arrays.vertex_colours, atol=1e-3), colours
    assert not mesh.validate()
    assert json.loads(result["limbeck_metrics"]) == {"iou": 0.84, "watertight": True}
    assert recipe_from_json(result["limbeck_recipe"]).prompt == RECIPE.prompt
    assert result["limbeck_job"] == "job-0001"
    assert bpy.context.view_layer.objects.active == result
    assert bpy.context.selected_objects == [result]


def the_faces_point_outwards_and_the_volume_is_right():
    fresh()
    result = scene_import.import_mesh(bpy.context.scene, harness.cube_arrays(addon), ORIGIN, Placement(size=2.0))
    corners = np.array([[result.data.vertices[i].co for i in p.vertices] for p in result.data.polygons])
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert math.isclose(volume, 8.0, rel_tol=1e-5), volume


def the_material_shows_the_packed_texture_the_right_way_up():
    fresh()
    arrays = harness.cube_arrays(addon)
    result = scene_import.import_mesh(bpy.context.scene, arrays, ORIGIN, Placement())
    tree = result.data.materials[0].node_tree
    surface = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    picture = surface.inputs["Base Color"].links[0].from_node
    assert abs(surface.inputs["Roughness"].default_value - 0.9) < 1e-6
    image = picture.image
    assert image.packed_file is not None
    assert image.colorspace_settings.name == "sRGB"
    assert tuple(image.size) == (96, 64)
    pixels = np.array(image.pixels[:]).reshape(64, 96, 4)
    for number, colour in enumerate(harness.CUBE_COLOURS):
        u, v = arrays.corner_uv[2 * number].mean(axis=0)
        seen = pixels[int(v * 64), int(u * 96), :3] * 255
        assert np.allclose(seen, colour, atol=1), (number, seen, colour)
    median = scene_import.linear_from_srgb(np.median(arrays.vertex_colours, axis=0))
    assert np.allclose(result.data.materials[0].diffuse_color, [*median, 1.0], atol=1e-5)  # for Solid shading


def a_second_result_shares_the_collection_and_a_rotation_turns_the_object():
    fresh()
    cube = harness.cube_arrays(addon)
    first = scene_import.import_mesh(bpy.context.scene, cube, ORIGIN, Placement())
    half_turn = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
    second = scene_import.import_mesh(bpy.context.scene, cube, ORIGIN, Placement(rotation=half_turn))
    assert first.users_collection == second.users_collection
    assert second.name == "Yellow duck.001"
    assert abs(second.rotation_euler.z - math.pi / 2) < 1e-5
    assert bpy.context.selected_objects == [second]


def a_renamed_collection_is_found_by_its_tag():
    fresh()
    cube = harness.cube_arrays(addon)
    first = scene_import.import_mesh(bpy.context.scene, cube, ORIGIN, Placement())
    first.users_collection[0].name = "My things"
    second = scene_import.import_mesh(bpy.context.scene, cube, ORIGIN, Placement())
    assert [c.name for c in second.users_collection] == ["My things"]


def a_collection_and_a_scene_of_another_file_are_left_alone():
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "other.blend")
        fresh()
        scene_import.import_mesh(bpy.context.scene, harness.cube_arrays(addon), ORIGIN, Placement())
        bpy.ops.wm.save_as_mainfile(filepath=file)
        fresh()
        with bpy.data.libraries.load(file, link=True) as (_, wanted):
            wanted.collections = ["Limbeck"]
        linked = bpy.data.collections["Limbeck"]
        bpy.context.scene.collection.children.link(linked)
        result = scene_import.import_mesh(bpy.context.scene, harness.cube_arrays(addon), ORIGIN, Placement())
        assert [c.library for c in result.users_collection] == [None]
        assert len(linked.objects) == 1
        fresh()


def the_result_survives_saving_and_opening():
    import tempfile
    from pathlib import Path

    fresh()
    scene_import.import_mesh(bpy.context.scene, harness.cube_arrays(addon), ORIGIN, Placement(size=3.0))
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "saved.blend")
        bpy.ops.wm.save_as_mainfile(filepath=file)
        fresh()
        bpy.ops.wm.open_mainfile(filepath=file)
        result = bpy.data.objects["Yellow duck"]
        image = next(n for n in result.data.materials[0].node_tree.nodes if n.type == "TEX_IMAGE").image
        assert np.array(image.pixels[:]).reshape(-1, 4).std() > 0.1
        assert recipe_from_json(result["limbeck_recipe"]).seed == 0
        fresh()


def names_are_readable_for_any_prompt():
    names = {
        "a yellow duck": "Yellow duck",
        "the": "The",
        "  an   Apple\t": "Apple",
        "\x00\x07": "Limbeck",
        "x" * 300: "X" + "x" * 55,
        "ä" * 40: "Ä" + "ä" * 27,
    }
    for prompt, name in names.items():
        assert scene_import.readable_name(prompt) == name, (prompt, scene_import.readable_name(prompt))


def two_faces_with_the_same_vertices_become_one():
    fresh()
    good = harness.cube_arrays(addon)
    faces = np.vstack([good.faces, good.faces[3][[1, 2, 0]]]).astype(np.int32)
    uv = np.vstack([good.corner_uv, good.corner_uv[:1]])
    assert mesh_arrays.has_clean_faces(good)
    assert not mesh_arrays.has_clean_faces(changed(faces=faces, corner_uv=uv))
    result = scene_import.import_mesh(bpy.context.scene, changed(faces=faces, corner_uv=uv), ORIGIN, Placement())
    assert len(result.data.polygons) == 12
    assert not result.data.validate()


def clean_faces_agree_with_blender_s_own_check_on_random_meshes():
    random = np.random.default_rng(3)
    seen = set()
    for _ in range(40):
        fresh()
        count = int(random.integers(5, 40))
        faces = random.integers(0, 12, size=(count, 3)).astype(np.int32)
        if random.random() < 0.5:  # without degenerate faces, so that only twins are left to find
            faces = np.stack([random.permutation(12)[:3] for _ in range(count)]).astype(np.int32)
        mesh = bpy.data.meshes.new("Blender's own")
        mesh.from_pydata(random.random((12, 3)).tolist(), [], faces.tolist())
        arrays = changed(
            vertices=random.random((12, 3), dtype=np.float32),
            vertex_colours=np.zeros((12, 3), dtype=np.float32),
            faces=faces,
            corner_uv=np.zeros((count, 3, 2), dtype=np.float32),
        )
        is_clean = mesh_arrays.has_clean_faces(arrays)
        assert is_clean == (not mesh.validate())
        seen.add(is_clean)
    assert seen == {True, False}
    # Many vertices: 32 bits would not hold a face's key, and different faces would look like twins.
    faces = random.permutation(900_000).astype(np.int32).reshape(-1, 3)
    assert mesh_arrays.has_clean_faces(changed(vertices=np.zeros((900_000, 3), dtype=np.float32), faces=faces))


def a_texture_comes_through_its_png_bit_for_bit():
    fresh()
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (3, 5), (64, 96)):
        texture = random.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
        result = scene_import.import_mesh(bpy.context.scene, changed(texture=texture), ORIGIN, Placement())
        image = next(n for n in result.data.materials[0].node_tree.nodes if n.type == "TEX_IMAGE").image
        assert tuple(image.size) == (width, height)
        pixels = np.round(np.array(image.pixels[:]).reshape(height, width, 4) * 255).astype(np.uint8)
        assert np.array_equal(pixels[::-1, :, :3], texture)
        assert not image.is_dirty


def changed(**values):
    return dataclasses.replace(harness.cube_arrays(addon), **values)


def hostile_arrays_are_refused_and_leave_nothing():
    fresh()
    before = harness.data_blocks()
    good = harness.cube_arrays(addon)
    nan_vertices = good.vertices.copy()
    nan_vertices[3, 1] = np.nan
    past_the_end = good.faces.copy()
    past_the_end[5, 2] = 8
    negative = good.faces.copy()
    negative[0, 0] = -1
    nan_uv = good.corner_uv.copy()
    nan_uv[0] = np.inf
    hostile = {
        "NaN vertex": changed(vertices=nan_vertices),
        "far vertex": changed(vertices=good.vertices * np.float32(1e6)),
        "index past the end": changed(faces=past_the_end),
        "negative index": changed(faces=negative),
        "wide index type": changed(faces=good.faces.astype(np.int64)),
        "no faces": changed(faces=good.faces[:0], corner_uv=good.corner_uv[:0]),
        "flat vertices": changed(vertices=good.vertices.reshape(-1)),
        "no dimension": changed(vertices=np.float32(1.0)),
        "quads": changed(faces=np.zeros((6, 4), dtype=np.int32)),
        "infinite UV": changed(corner_uv=nan_uv),
        "too few UVs": changed(corner_uv=good.corner_uv[:-1]),
        "bright colour": changed(vertex_colours=good.vertex_colours * 3),
        "float texture": changed(texture=good.texture.astype(np.float32)),
        "empty texture": changed(texture=good.texture[:0]),
        "grey texture": changed(texture=good.texture[..., 0]),
    }
    for name, arrays in hostile.items():
        error = harness.error_of(
            lambda arrays=arrays: scene_import.import_mesh(bpy.context.scene, arrays, ORIGIN, Placement())
        )
        assert str(error).startswith("The mesh that came from the server is not usable:"), (name, error)
        assert harness.data_blocks() == before, name


def a_failure_half_way_leaves_nothing():
    fresh()
    before = harness.data_blocks()
    unwritable = scene_import.Origin("job-0001", RECIPE, {"iou": object()})
    cube = harness.cube_arrays(addon)
    harness.error_of(lambda: scene_import.import_mesh(bpy.context.scene, cube, unwritable, Placement()), TypeError)
    assert harness.data_blocks() == before, harness.data_blocks()


def damaged_files_are_refused():
    data = as_npz(harness.cube_arrays(addon))
    random = np.random.default_rng(0)
    cases = [b"", b"PK", data[:100], data[:-30], random.bytes(1000)]
    for _ in range(300):  # flipped bytes: refused, or still a mesh that passes the checks
        damaged = bytearray(data)
        for place in random.integers(0, len(data), size=3):
            damaged[place] ^= int(random.integers(1, 256))
        cases.append(bytes(damaged))
    refused = 0
    for case in cases:
        try:
            mesh_arrays.check_mesh_arrays(mesh_arrays.read_mesh_arrays(case))
        except LimbeckError:
            refused += 1
    assert refused >= 5, refused
    compressed, objects, partial = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez_compressed(compressed, **dataclasses.asdict(harness.cube_arrays(addon)))
    np.savez(objects, **{**dataclasses.asdict(harness.cube_arrays(addon)), "vertices": np.array([{}], dtype=object)})
    np.savez(partial, vertices=np.zeros((3, 3), dtype=np.float32))
    for file in (compressed, objects, partial):
        harness.error_of(lambda file=file: mesh_arrays.read_mesh_arrays(file.getvalue()))


def degenerate_faces_are_taken_out_by_blender():
    fresh()
    good = harness.cube_arrays(addon)
    faces = np.vstack([good.faces, [[0, 0, 1]]]).astype(np.int32)
    uv = np.vstack([good.corner_uv, good.corner_uv[:1]])
    result = scene_import.import_mesh(bpy.context.scene, changed(faces=faces, corner_uv=uv), ORIGIN, Placement())
    assert len(result.data.polygons) == 12
    left = np.array([loop.uv for loop in result.data.uv_layers.active.data]).reshape(-1, 3, 2)
    assert np.allclose(left, good.corner_uv)


harness.main(
    everything_arrives_where_it_was_asked_for,
    the_faces_point_outwards_and_the_volume_is_right,
    the_material_shows_the_packed_texture_the_right_way_up,
    a_second_result_shares_the_collection_and_a_rotation_turns_the_object,
    a_renamed_collection_is_found_by_its_tag,
    a_collection_and_a_scene_of_another_file_are_left_alone,
    the_result_survives_saving_and_opening,
    names_are_readable_for_any_prompt,
    hostile_arrays_are_refused_and_leave_nothing,
    a_failure_half_way_leaves_nothing,
    damaged_files_are_refused,
    degenerate_faces_are_taken_out_by_blender,
    two_faces_with_the_same_vertices_become_one,
    clean_faces_agree_with_blender_s_own_check_on_random_meshes,
    a_texture_comes_through_its_png_bit_for_bit,
)
