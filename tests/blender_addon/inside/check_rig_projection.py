"""Eight known points through Blender's own camera and through the server's rays: the same pixel, in every combination.

Blender's own camera and the add-on are asked here, the server's rays in the process that `server_rays.py` starts.
"""

from __future__ import annotations

import itertools
import math

import bpy
import harness
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from limbeck_protocol import recipe as protocol
from mathutils import Euler, Vector
from server_rays import ServerRays

addon = harness.load_addon()
server = ServerRays()
SIZE = 512
LIMIT_PX = 0.01
POINTS = [(x, y, z) for x in (-0.35, 0.35) for y in (-0.3, 0.3) for z in (-0.4, 0.4)]
LENS = {"lens": 47.0, "sensor_width": 33.0, "sensor_height": 21.0}


def fresh(width=1920, height=1080, aspect=(1.0, 1.0)) -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
    scene.limbeck.prompt, scene.limbeck.rig_source = "a duck", "CAMERAS"
    return scene


def new_camera(location=(1.3, -3.2, 1.1), target=(0.0, 0.0, 0.0), roll=0.15, **values) -> bpy.types.Object:
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    for key, value in (LENS | values).items():
        setattr(camera.data, key, value)
    camera.location = location
    turn = (Vector(target) - Vector(location)).to_track_quat("-Z", "Y")
    camera.rotation_euler = (turn @ Euler((0.0, 0.0, roll)).to_quaternion()).to_euler()
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return camera


def new_box(location=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0), size=1.0, scale=(1.0, 1.0, 1.0)) -> bpy.types.Object:
    box = bpy.data.objects.new("Box", None)
    box.empty_display_type, box.empty_display_size = "CUBE", size / 2
    box.location, box.rotation_euler, box.scale = location, rotation, scale
    bpy.context.scene.collection.objects.link(box)
    bpy.context.scene.limbeck.target = box
    return box


def in_scene(box: bpy.types.Object, point) -> Vector:
    """A point of the object, by the Empty's own matrix: the cube that it draws is the box of one object unit."""
    return box.matrix_world @ (Vector(point) * 2 * box.empty_display_size)


def blender_pixels(scene, camera, point: Vector) -> np.ndarray:
    """Where Blender's frame has a point, in pixels of the square that covers the frame's larger side, y downwards."""
    render = scene.render
    frame = np.array([render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y])
    seen = world_to_camera_view(scene, camera, point)
    assert seen.z > 0
    middle = (np.array([seen.x, seen.y]) - 0.5) * frame / frame.max()
    # The second of Blender's own ways, which the renderer takes, must agree with the first.
    projection = camera.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(),
        x=render.resolution_x,
        y=render.resolution_y,
        scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y,
    )
    clip = projection @ camera.matrix_world.normalized().inverted() @ Vector((*point, 1.0))
    other = np.array([clip.x, clip.y]) / clip.w / 2 * frame / frame.max()
    assert np.abs(other - middle).max() * SIZE < LIMIT_PX, (other, middle)
    return SIZE * (np.array([middle[0], -middle[1]]) + 0.5)


def server_pixels(cameras: protocol.Cameras, number: int) -> np.ndarray:
    """The pixels whose rays go through the points, after the recipe's way through JSON."""
    recipe = protocol.recipe_to_json(protocol.Recipe(prompt="a duck", rig=protocol.Rig(cameras=cameras)))
    return np.array(server.ask(recipe=recipe, number=number, size=SIZE, points=POINTS)["pixels"])


def differences_px(scene, camera, box, cameras, number=0) -> float:
    theirs = np.array([blender_pixels(scene, camera, in_scene(box, point)) for point in POINTS])
    return float(np.abs(theirs - server_pixels(cameras, number)).max())


def compare(scene, camera, box) -> float:
    """Return the largest difference in pixels for the rig that the panel would send."""
    cameras = addon.recipe.panel_form.recipe_from(scene).rig.cameras
    assert len(cameras.lens) == 1
    return differences_px(scene, camera, box, cameras)


def report(what: str, worst: dict[str, float]) -> None:
    for name, value in worst.items():
        print(f"  {what:10s} {name:44s} {value:.6f} px")
    assert max(worst.values()) <= LIMIT_PX, worst


def every_lens_sensor_and_frame_shape():
    worst: dict[str, float] = {}
    resolutions = {"landscape": (1920, 1080), "portrait": (1080, 1920), "square": (512, 512)}
    aspects = {"square pixels": (1.0, 1.0), "wide pixels": (2.0, 1.0), "tall pixels": (1.0, 1.46)}
    for (shape, resolution), (pixels, aspect) in itertools.product(resolutions.items(), aspects.items()):
        for fit, shift in itertools.product(("AUTO", "HORIZONTAL", "VERTICAL"), ((0.0, 0.0), (0.17, -0.08))):
            scene = fresh(*resolution, aspect)
            camera = new_camera(sensor_fit=fit, shift_x=shift[0], shift_y=shift[1])
            box = new_box((0.1, -0.2, 0.15), (0.2, 0.1, 0.9), 0.9)
            bpy.context.view_layer.update()
            name = f"{shape}, {pixels}, {fit}"
            worst[name] = max(worst.get(name, 0.0), compare(scene, camera, box))
    report("lens", worst)


def every_way_to_place_a_camera():
    worst = {}
    scene = fresh(1080, 1920)
    camera, box = new_camera(shift_x=0.1), new_box()
    worst["plain"] = compare(scene, camera, box)

    scene = fresh()
    camera, box = new_camera(), new_box()
    camera.scale = (2.0, 0.5, 3.0)
    worst["scaled unevenly"] = compare(scene, camera, box)

    scene = fresh()
    camera, box = new_camera(location=(0.2, -0.5, 0.3)), new_box()
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    parent.location, parent.rotation_euler, parent.scale = (1.5, -1.9, 0.7), (0.1, 0.05, 0.3), (1.7, 1.7, 1.7)
    camera.parent = parent
    camera.rotation_euler = (1.35, 0.1, 0.3)
    worst["parented, parent turned and scaled"] = compare(scene, camera, box)

    scene = fresh()
    camera, box = new_camera(), new_box((0.5, 0.4, 0.3))
    constraint = camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = box, "TRACK_NEGATIVE_Z", "UP_Y"
    worst["constrained to look at the box"] = compare(scene, camera, box)

    scene = fresh()
    camera, box = new_camera(), new_box()
    driver = camera.data.driver_add("lens").driver
    driver.expression = "31.5 + 2"
    worst["driven lens"] = compare(scene, camera, box)
    assert math.isclose(camera.data.lens, 33.5)

    scene = fresh()
    camera, box = new_camera(location=(0.0, 0.0, 0.0)), new_box()
    hidden = bpy.data.collections.new("Hidden")
    scene.collection.children.link(hidden)
    scene.collection.objects.unlink(camera)
    hidden.objects.link(camera)
    bpy.context.view_layer.layer_collection.children["Hidden"].exclude = True
    camera.location, camera.rotation_euler = (0.3, -3.0, 0.2), (1.5, 0.0, 0.1)
    scene.limbeck.cameras = hidden
    cameras = addon.recipe.panel_form.recipe_from(scene).rig.cameras
    bpy.context.view_layer.layer_collection.children["Hidden"].exclude = False
    bpy.context.view_layer.update()
    worst["in an excluded collection"] = differences_px(scene, camera, box, cameras)
    report("camera", worst)


def every_frame_of_the_object():
    worst = {}
    frames = {
        "placed": {"location": (0.4, 0.3, -0.2)},
        "turned": {"rotation": (0.3, -0.4, 2.1)},
        "small": {"size": 0.05},
        "large and turned": {"location": (5.0, -3.0, 2.0), "rotation": (0.0, 0.0, -0.7), "size": 40.0},
        "scaled Empty": {"scale": (1.8, 1.8, 1.8)},
        "far from the world's centre": {"location": (80.0, -60.0, 20.0)},
    }
    for name, frame in frames.items():
        scene = fresh()
        size = frame.get("size", 1.0) * frame.get("scale", (1.0,))[0]
        middle = Vector(frame.get("location", (0.0, 0.0, 0.0)))
        camera = new_camera(middle + Vector((1.3, -1.6, 0.9)) * size, middle, shift_y=0.05)
        box = new_box(**frame)
        worst[name] = compare(scene, camera, box)
    scene = fresh()
    camera, box = new_camera(), new_box(size=0.5)
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    parent.rotation_euler, parent.scale, parent.location = (0.3, 0.2, 0.6), (1.5, 1.5, 1.5), (0.2, 0.1, 0.0)
    box.parent, box.location, box.rotation_euler = parent, (0.1, 0.1, 0.2), (0.0, 0.4, 0.0)
    worst["parented Empty"] = compare(scene, camera, box)
    report("object", worst)


def a_path_and_its_zoom():
    """The path is sampled first; then Blender itself goes to each frame."""
    scene = fresh(1080, 1350, (1.0, 1.2))
    camera, box = new_camera(), new_box((0.2, 0.1, 0.3), (0.0, 0.0, 0.5), 1.2)
    pivot = bpy.data.objects.new("Pivot", None)
    scene.collection.objects.link(pivot)
    camera.parent = pivot
    constraint = camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = box, "TRACK_NEGATIVE_Z", "UP_Y"
    scene.frame_start, scene.frame_end = 10, 57
    for frame, turn, lens, shift in ((10, 0.0, 35.0, 0.0), (57, 5.0, 60.0, 0.12)):
        pivot.rotation_euler = (0.0, 0.0, turn)
        pivot.keyframe_insert("rotation_euler", frame=frame)
        camera.data.lens, camera.data.shift_x = lens, shift
        camera.data.keyframe_insert("lens", frame=frame)
        camera.data.keyframe_insert("shift_x", frame=frame)
    scene.frame_set(23, subframe=0.5)
    scene.limbeck.camera_source, scene.limbeck.path_samples = "PATH", 7
    cameras = addon.recipe.panel_form.recipe_from(scene).rig.cameras
    assert (scene.frame_current, scene.frame_subframe) == (23, 0.5)
    assert cameras.lens.shape == (7, 3)
    assert math.isclose(cameras.weight.sum(), 1.0, rel_tol=1e-6)
    assert len(set(cameras.lens[:, 0].tolist())) == 7
    worst = {}
    for number, frame in enumerate(np.linspace(10, 57, 7).round(3)):
        scene.frame_set(int(frame), subframe=frame % 1)
        worst[f"frame {frame:g}"] = differences_px(scene, camera, box, cameras, number)
    report("path", worst)


def points_fall_apart_where_something_is_wrong():
    """The measure itself: a shift forgotten, or a sensor read the wrong way round, is many pixels."""
    scene = fresh(1080, 1920)
    camera, box = new_camera(sensor_fit="VERTICAL"), new_box()
    cameras = addon.recipe.panel_form.recipe_from(scene).rig.cameras
    camera.data.shift_x = 0.01
    bpy.context.view_layer.update()
    assert differences_px(scene, camera, box, cameras) > 1.0
    camera.data.shift_x, camera.data.sensor_fit = 0.0, "HORIZONTAL"
    assert differences_px(scene, camera, box, cameras) > 1.0


harness.main(
    every_lens_sensor_and_frame_shape,
    every_way_to_place_a_camera,
    every_frame_of_the_object,
    a_path_and_its_zoom,
    points_fall_apart_where_something_is_wrong,
)
