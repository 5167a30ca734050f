"""Four cameras of the scene, one job, its mesh imported, the file saved and opened again: everything is still there."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import bpy
import harness
import numpy as np
from limbeck_protocol.recipe import recipe_from_json

addon = harness.load_addon()
api = addon.api
SIZE, HEIGHT, DISTANCE = 2.0, 1.0, 5.0
CAMERAS = {"Front": (0.0, 50.0), "Right": (90.0, 35.0), "Back": (180.0, 85.0), "Left": (270.0, 50.0)}
"""Name -> where it stands around the object, degrees, and its lens, millimetres."""


def a_scene_with_cameras() -> list[bpy.types.Object]:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    cameras = []
    for name, (azimuth_deg, lens) in CAMERAS.items():
        data = bpy.data.cameras.new(name)
        data.lens = lens
        camera = bpy.data.objects.new(name, data)
        angle = math.radians(azimuth_deg)
        camera.location = (DISTANCE * math.sin(angle), -DISTANCE * math.cos(angle), HEIGHT)
        camera.rotation_euler = (math.pi / 2, 0.0, angle)
        bpy.context.scene.collection.objects.link(camera)
        cameras.append(camera)
    cameras[2].data.shift_x = 0.1
    bpy.context.view_layer.update()
    return cameras


def four_cameras_make_an_object_that_survives_saving_and_opening():
    addon.register()
    cameras = a_scene_with_cameras()
    thing = api.generate(
        "a red cube", cameras=cameras, location=(0, 0, HEIGHT), size=SIZE, seed=7, start_server=False, timeout_s=60
    )
    job_id = thing["limbeck_job"]
    with api.connect(start_server=False) as client:
        sent = client.job(job_id).recipe
    check_rig(sent)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "cube.blend")
        assert bpy.ops.wm.save_as_mainfile(filepath=file) == {"FINISHED"}
        bpy.ops.wm.read_factory_settings(use_empty=True)
        assert len(bpy.data.objects) == 0
        assert bpy.ops.wm.open_mainfile(filepath=file) == {"FINISHED"}
        check_file(job_id)
        # The file that was opened can be worked with: once more from its own cameras, and beside the first.
        again = api.generate(
            "a red cube",
            cameras=[bpy.data.objects[name] for name in CAMERAS],
            location=(0, 0, HEIGHT),
            size=SIZE,
            seed=7,
            start_server=False,
            timeout_s=60,
        )
        assert again.name == "Red cube.001"
        assert recipe_from_json(again["limbeck_recipe"]).seed == 7
        check_rig(recipe_from_json(again["limbeck_recipe"]))
    bpy.ops.wm.read_factory_settings(use_empty=True)


def check_rig(recipe) -> None:
    """The recipe holds the four cameras, where they stand seen from the object, in its units."""
    assert recipe.rig.orbit is None
    rig = recipe.rig.cameras
    poses = np.array(rig.camera_to_world)
    assert poses.shape[0] == len(CAMERAS)
    for pose, (azimuth_deg, _) in zip(poses, CAMERAS.values(), strict=True):
        angle = math.radians(azimuth_deg)
        expected = np.array([math.sin(angle), -math.cos(angle), 0.0]) * DISTANCE / SIZE
        assert np.allclose(pose[:3, 3], expected, atol=1e-5), (pose[:3, 3], expected)
        # Cameras look along their own -Z: towards the object.
        assert np.allclose(-pose[:3, 2], -expected / np.linalg.norm(expected), atol=1e-5)


def check_file(job_id: str) -> None:
    """The file holds the object as it was imported, the cameras, and the recipe."""
    thing = bpy.data.objects["Red cube"]
    assert thing["limbeck_job"] == job_id
    recipe = recipe_from_json(thing["limbeck_recipe"])
    assert (recipe.prompt, recipe.seed) == ("a red cube", 7)
    check_rig(recipe)
    assert json.loads(thing["limbeck_metrics"])["faces"] == 12
    assert [collection.name for collection in thing.users_collection] == ["Limbeck"]
    assert tuple(thing.location) == (0.0, 0.0, HEIGHT)
    bpy.context.view_layer.update()
    assert np.allclose(thing.dimensions, SIZE)
    mesh = thing.data
    assert (len(mesh.vertices), len(mesh.polygons), len(mesh.uv_layers)) == (8, 12, 1)
    assert mesh.color_attributes.active_color is not None
    image = next(node for node in mesh.materials[0].node_tree.nodes if node.type == "TEX_IMAGE").image
    assert image.packed_file is not None
    assert tuple(image.size) == (1024, 1024)
    pixels = np.empty(4 * 1024 * 1024, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    assert pixels.reshape(-1, 4)[:, :3].std() > 0.1
    assert sorted(o.name for o in bpy.data.objects if o.type == "CAMERA") == sorted(CAMERAS)
    assert abs(bpy.data.objects["Back"].data.shift_x - 0.1) < 1e-6


harness.main(four_cameras_make_an_object_that_survives_saving_and_opening)
