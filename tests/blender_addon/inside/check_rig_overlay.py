"""What the viewport draws of a rig lies where the server looks from; without a window nothing is ever drawn."""

from __future__ import annotations

import bpy
import harness
import numpy as np
from limbeck_protocol.recipe import Cameras, Orbit, Recipe, Rig, recipe_to_json
from mathutils import Euler, Vector
from server_rays import ServerRays

addon = harness.load_addon()
server = ServerRays()
overlay, geometry = addon.rig.frusta_overlay, addon.rig.rig_geometry


def random_rotation(random: np.random.Generator) -> np.ndarray:
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    return rotation * np.sign(np.linalg.det(rotation))


def one_camera(matrix: np.ndarray, lens: np.ndarray) -> str:
    arrays = {"camera_to_world": matrix[None], "lens": lens[None], "weight": np.ones(1)}
    arrays = {name: values.astype(np.float32) for name, values in arrays.items()}
    return recipe_to_json(Recipe(prompt="a duck", rig=Rig(cameras=Cameras(prompt_suffix=[""], **arrays))))


def a_frustum_s_edges_are_the_rays_of_the_picture_s_corners():
    random = np.random.default_rng(0)
    size = 512
    for _ in range(5):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = random_rotation(random), random.normal(size=3)
        lens = np.array([random.uniform(0.5, 3.0), *random.normal(size=2) * 0.2])
        lines = geometry.frustum_lines(matrix, lens, 0.7)
        assert lines.shape == (4 + 4 + 3, 2, 3)
        assert np.allclose(lines[:4, 0], matrix[:3, 3])
        seen = server.ask(recipe=one_camera(matrix, lens), number=0, size=size, points=[])
        assert np.allclose(seen["origin"], matrix[:3, 3], atol=1e-6)
        edges = lines[:4, 1] - lines[:4, 0]
        # Lower left, lower right, upper right, upper left; the outermost pixels' centres lie half a pixel inside.
        for edge, ray in zip(edges, seen["corners"], strict=True):
            assert np.dot(edge / np.linalg.norm(edge), ray) > 1 - (2 / size) ** 2
        depths = -edges @ matrix[:3, 2]
        assert np.allclose(depths, 0.7)
        square = lines[4:8, 0]
        assert np.allclose(np.linalg.norm(square[0] - square[2]), np.sqrt(2) * 0.7 / lens[0])
        # The triangle stands on the upper side, as Blender draws its own cameras.
        up = matrix[:3, 1]
        assert (lines[8:, 0] @ up).max() > (square @ up).max()


def orbit_arcs_lie_where_the_server_puts_the_cameras():
    azimuth, elevation = np.array([0.0, 90.0, -30.0, 200.0]), np.array([10.0, -20.0, 60.0, 0.0])
    theirs = server.ask(orbit=[azimuth.tolist(), elevation.tolist(), [2.5] * 4])["positions"]
    assert np.allclose(geometry.orbit_points(azimuth, elevation, 2.5), theirs, atol=1e-5)
    assert np.allclose(geometry.orbit_points(0.0, 0.0, 2.0), (0, -2, 0))
    orbit = Orbit(azimuth_deg=(-60.0, 60.0), elevation_deg=(0.0, 30.0), distance=(2.0, 3.0))
    points = geometry.orbit_lines(orbit).reshape(-1, 3)
    radius = np.linalg.norm(points, axis=1)
    assert np.allclose((radius.min(), radius.max()), (2.0, 3.0))
    angles = np.degrees(np.arctan2(points[:, 0], -points[:, 1]))
    assert np.allclose((angles.min(), angles.max()), (-60.0, 60.0))
    rise = np.degrees(np.arcsin(points[:, 2] / radius))
    assert np.allclose((rise.min(), rise.max()), (0.0, 30.0), atol=1e-6)
    one = geometry.orbit_lines(Orbit(elevation_deg=(10.0, 10.0), distance=(2.0, 2.0)))
    assert np.isfinite(one).all()


def the_box_and_its_front_are_where_the_object_will_stand():
    box = geometry.box_lines()
    assert box.shape == (12, 2, 3)
    assert np.allclose(np.linalg.norm(box[:, 1] - box[:, 0], axis=1), 1.0)
    front = geometry.front_lines().reshape(-1, 3)
    assert front[:, 1].max() <= -0.5
    assert np.allclose(front[:, 2], -0.5)
    assert np.allclose(front[:, 0].min(), -front[:, 0].max())


def fresh() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    return bpy.context.scene


def new_camera(location=(0.0, -3.0, 0.0), name="Camera") -> bpy.types.Object:
    camera = bpy.data.objects.new(name, bpy.data.cameras.new(name))
    camera.location, camera.rotation_euler = location, (-Vector(location)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.view_layer.update()
    return camera


def colours(scene: bpy.types.Scene) -> set:
    return {layer.colour for layer in overlay.layers_of(scene) if len(layer.lines)}


def layers_follow_the_panel_and_the_box():
    scene = fresh()
    camera = new_camera()
    always = {overlay.BOX_COLOUR, overlay.FRONT_COLOUR}
    for source, expected in {
        "ORBIT": {overlay.ORBIT_COLOUR},
        "CAMERAS": {overlay.CAMERA_COLOUR},
        "BOTH": {overlay.ORBIT_COLOUR, overlay.CAMERA_COLOUR},
    }.items():
        scene.limbeck.rig_source = source
        assert colours(scene) == always | expected
    camera.data.type = "ORTHO"
    assert colours(scene) == always | {overlay.ORBIT_COLOUR}  # the panel says why it is missing
    camera.data.type = "PERSP"
    box = bpy.data.objects.new("Box", None)
    scene.collection.objects.link(box)
    box.empty_display_size, box.location = 0.25, (1.0, 2.0, 3.0)
    box.rotation_euler = Euler((0.0, 0.0, 1.0))
    bpy.context.view_layer.update()
    scene.limbeck.target = box
    drawn = {layer.colour: layer.lines.reshape(-1, 3) for layer in overlay.layers_of(scene)}
    assert np.allclose(drawn[overlay.BOX_COLOUR].mean(axis=0), (1, 2, 3), atol=1e-6)
    assert np.allclose(np.linalg.norm(drawn[overlay.BOX_COLOUR] - (1, 2, 3), axis=1), 0.25 * np.sqrt(3), atol=1e-6)
    out_of_front = drawn[overlay.FRONT_COLOUR].mean(axis=0) - (1, 2, 3)
    assert np.allclose(np.cross(out_of_front[:2], (np.sin(1.0), -np.cos(1.0))), 0.0, atol=0.05)
    apex = np.array(camera.location)
    assert np.isclose(np.linalg.norm(drawn[overlay.CAMERA_COLOUR] - apex, axis=1).min(), 0.0, atol=1e-6)
    box.scale = (0.0, 0.0, 0.0)
    bpy.context.view_layer.update()
    assert overlay.layers_of(scene) == []
    addon.unregister()


def a_path_is_drawn_once_it_was_sampled():
    scene = fresh()
    camera = new_camera()
    scene.camera = camera
    for frame, x in ((1, -1.0), (250, 1.0)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)
    scene.limbeck.rig_source, scene.limbeck.camera_source, scene.limbeck.path_samples = "CAMERAS", "PATH", 5
    before = scene.frame_current
    frustum = 11
    assert len(overlay.layers_of(scene)[-1].lines) == frustum
    assert bpy.ops.limbeck.sample_path() == {"FINISHED"}
    assert scene.frame_current == before
    lines = overlay.layers_of(scene)[-1].lines
    assert len(lines) == 5 * frustum + 4
    assert np.allclose(lines[-4:].reshape(-1, 3)[[0, -1], 0], (-1, 1), atol=1e-6)
    scene.limbeck.path_samples = 6  # another path than the one that was sampled
    assert len(overlay.layers_of(scene)[-1].lines) == frustum
    addon.unregister()


def the_view_in_work_is_drawn_where_its_job_belongs():
    scene = fresh()
    assert overlay.followed_view(scene) is None
    entry = scene.limbeck.jobs.add()
    entry.name = entry.job_id = "job-0001"
    entry.location, entry.size = (5.0, 0.0, 0.0), 2.0
    matrix = np.eye(4, dtype=np.float32)
    matrix[2, 3] = 3.0
    job = addon.connection.followed_job.FollowedJob("job-0001", wants_result=True)
    overlay.follow(job)
    assert overlay.followed_view(scene) is None  # no view was told yet
    job.view = (matrix, np.array([1.0, 0.0, 0.0], np.float32))
    overlay.follow(job)
    lines = overlay.followed_view(scene).lines
    assert np.allclose(lines[0, 0], (5, 0, 6))
    assert np.allclose(lines[4:8, :, 2], 0.0, atol=1e-6)  # up to the object's centre
    job.job_id = "job-0002"  # of another file
    overlay.follow(job)
    assert overlay.followed_view(scene) is None
    addon.unregister()
    addon.register()
    assert overlay.followed_view(bpy.context.scene) is None
    addon.unregister()


def the_timer_passes_the_view_on():
    scene = fresh()
    entry = scene.limbeck.jobs.add()
    entry.name = entry.job_id = "job-0001"
    job = addon.connection.followed_job.FollowedJob("job-0001", wants_result=True)
    job.view = (np.eye(4, dtype=np.float32), np.array([1.0, 0.0, 0.0], np.float32))
    addon.runtime.session().followed = job
    addon.runtime.pump()
    assert overlay.followed_view(scene) is not None
    addon.runtime.session().followed = None
    addon.runtime.pump()
    assert overlay.followed_view(scene) is None
    addon.unregister()


def nothing_is_drawn_without_a_window():
    scene = fresh()
    manager = bpy.context.window_manager
    assert manager.limbeck_show_rig is False
    manager.limbeck_show_rig = True
    assert bpy.app.background
    assert manager.limbeck_show_rig is False
    manager.limbeck_show_rig = False
    assert scene is not None
    addon.unregister()
    assert not hasattr(bpy.types.WindowManager, "limbeck_show_rig")


harness.main(
    a_frustum_s_edges_are_the_rays_of_the_picture_s_corners,
    orbit_arcs_lie_where_the_server_puts_the_cameras,
    the_box_and_its_front_are_where_the_object_will_stand,
    layers_follow_the_panel_and_the_box,
    a_path_is_drawn_once_it_was_sampled,
    the_view_in_work_is_drawn_where_its_job_belongs,
    the_timer_passes_the_view_on,
    nothing_is_drawn_without_a_window,
)
