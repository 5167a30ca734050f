"""Cameras of the scene as the protocol's cameras: against numbers by hand and against Blender's own projection."""

from __future__ import annotations

import math

import bpy
import harness
import numpy as np
from limbeck_protocol.recipe import MAX_CAMERAS, Orbit
from mathutils import Euler, Matrix, Vector

addon = harness.load_addon()
camera_rig = addon.rig.camera_rig
Placement, placement_of = addon.rig.placement.Placement, addon.rig.placement.placement_of


def fresh(width: int = 1920, height: int = 1080) -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = width, height
    return scene


def new_camera(
    location=(0.0, -2.0, 0.0), rotation=(math.pi / 2, 0.0, 0.0), name="Camera", **values
) -> bpy.types.Object:
    data = bpy.data.cameras.new(name)
    for key, value in values.items():
        setattr(data, key, value)
    camera = bpy.data.objects.new(name, data)
    camera.location, camera.rotation_euler = location, rotation
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.view_layer.update()
    return camera


def refused(sentence: str, action, *arguments, **named) -> None:
    error = harness.error_of(lambda: action(*arguments, **named))
    assert sentence in str(error), (sentence, str(error))
    assert error.remedy.label.endswith("."), error.remedy


def numbers_by_hand():
    scene = fresh()
    camera = new_camera(location=(3.0, -4.0, 1.0))
    got = camera_rig.cameras_of(scene, Placement(location=(3.0, 0.0, 1.0), size=2.0), [camera])
    # Four scene units in front of the centre, and an object unit of two: two object units. It looks along +Y.
    expected = [[1, 0, 0, 0], [0, 0, -1, -2], [0, 1, 0, 0], [0, 0, 0, 1]]
    assert np.allclose(got.camera_to_world[0], expected, atol=1e-6), got.camera_to_world
    assert got.camera_to_world.dtype == got.lens.dtype == got.weight.dtype == np.float32
    assert np.allclose(got.lens[0], [50 / 36, 0, 0]), got.lens
    assert got.weight.tolist() == [1.0]
    assert got.prompt_suffix == [""]


def the_square_covers_the_larger_dimension():
    cases = [
        # width, height, fit, expected focal: sensor 36 x 24 mm, lens 50 mm
        (1920, 1080, "AUTO", 50 / 36),
        (1080, 1920, "AUTO", 50 / 36),
        (1000, 1000, "AUTO", 50 / 36),
        (2000, 1000, "HORIZONTAL", 50 / 36),
        (1000, 2000, "HORIZONTAL", 50 / 72),
        (2000, 1000, "VERTICAL", 50 / 48),
        (1000, 2000, "VERTICAL", 50 / 24),
    ]
    for width, height, fit, focal in cases:
        scene = fresh(width, height)
        camera = new_camera(sensor_fit=fit, sensor_width=36.0, sensor_height=24.0, lens=50.0, shift_x=0.1)
        got = camera_rig.lens_of(camera, scene.render)
        assert math.isclose(got[0], focal, rel_tol=1e-6), (width, height, fit, got, focal)
        # A shift is measured like the focal length, in the sensor's spanned side.
        span = 24 if fit == "VERTICAL" else 36
        assert math.isclose(got[1], 0.1 * span / 50 * focal, rel_tol=1e-6), (width, height, fit, got)


def blender_picture_position(camera, scene, point) -> np.ndarray:
    """Return where Blender's own projection puts a point: from the frame's middle, as shares of its larger side."""
    render = scene.render
    projection = camera.calc_matrix_camera(
        bpy.context.evaluated_depsgraph_get(),
        x=render.resolution_x,
        y=render.resolution_y,
        scale_x=render.pixel_aspect_x,
        scale_y=render.pixel_aspect_y,
    )
    rigid = Matrix.LocRotScale(camera.matrix_world.translation, camera.matrix_world.to_quaternion(), None)
    clip = projection @ rigid.inverted() @ Vector((*point, 1.0))
    frame = np.array([render.resolution_x * render.pixel_aspect_x, render.resolution_y * render.pixel_aspect_y])
    return np.array([clip.x, clip.y]) / clip.w / 2 * frame / frame.max()


def our_picture_position(camera_to_world, lens, point) -> np.ndarray:
    """Invert the renderer's rays: a pixel at (x, y) from the middle looks along ((x + shift) / focal, ..., -1)."""
    local = np.linalg.inv(camera_to_world.astype(np.float64)) @ np.array([*point, 1.0])
    return lens[0] * local[:2] / -local[2] - lens[1:]


def known_points_fall_where_blender_projects_them():
    random = np.random.default_rng(0)
    worst = 0.0
    for width, height, aspect in [
        (1920, 1080, (1, 1)),
        (1080, 1920, (1, 1)),
        (512, 512, (1, 1)),
        (800, 700, (2.0, 1.5)),
    ]:
        for fit in ("AUTO", "HORIZONTAL", "VERTICAL"):
            scene = fresh(width, height)
            scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = aspect
            camera = new_camera(
                location=(2.0, -3.5, 2.2),
                rotation=(1.05, 0.2, 0.5),
                sensor_fit=fit,
                lens=43.0,
                sensor_width=33.0,
                sensor_height=21.0,
                shift_x=0.13,
                shift_y=-0.07,
            )
            camera.scale = (2.0, 2.0, 2.0)  # Blender ignores a camera's scale, and so do we
            bpy.context.view_layer.update()
            turn = Euler((0.1, -0.2, 0.7)).to_quaternion()
            placement = Placement(location=(0.3, 0.2, -0.1), rotation=tuple(turn), size=1.7)
            got = camera_rig.cameras_of(scene, placement, [camera])
            for point in random.uniform(-0.4, 0.4, size=(8, 3)):
                in_scene = Vector(placement.location) + turn @ (Vector(point) * placement.size)
                theirs = blender_picture_position(camera, scene, in_scene)
                ours = our_picture_position(got.camera_to_world[0], got.lens[0].astype(np.float64), point)
                worst = max(worst, np.abs(theirs - ours).max())
    print(f"largest difference {worst:.2e} of the picture's side")
    assert worst < 2e-6, worst


def an_imported_vertex_is_seen_where_the_server_saw_it():
    """The way back: a mesh placed by the same frame falls on the same pixels."""
    from limbeck_protocol.recipe import Recipe

    scene = fresh()
    camera = new_camera(location=(2.0, -3.0, 1.0), rotation=(1.3, 0.0, 0.6))
    placement = Placement(location=(0.5, 0.1, 0.2), rotation=tuple(Euler((0.0, 0.0, 0.4)).to_quaternion()), size=1.4)
    got = camera_rig.cameras_of(scene, placement, [camera])
    cube = harness.cube_arrays(addon)
    origin = addon.results.scene_import.Origin("job-0001", Recipe(prompt="a cube"), {})
    result = addon.results.scene_import.import_mesh(scene, cube, origin, placement)
    bpy.context.view_layer.update()
    for vertex, point in zip(result.data.vertices, cube.vertices, strict=True):
        theirs = blender_picture_position(camera, scene, result.matrix_world @ vertex.co)
        ours = our_picture_position(got.camera_to_world[0], got.lens[0].astype(np.float64), point)
        assert np.abs(theirs - ours).max() < 2e-6


def weights_prompts_and_constraints_are_read():
    scene = fresh()
    aim = bpy.data.objects.new("Aim", None)
    scene.collection.objects.link(aim)
    camera = new_camera(location=(2.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0))
    constraint = camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = aim, "TRACK_NEGATIVE_Z", "UP_Y"
    camera["limbeck_weight"], camera["limbeck_prompt"] = 2.5, "from the left"
    got = camera_rig.cameras_of(scene, Placement(), [camera])
    assert np.allclose(got.camera_to_world[0, :3, 2], [1, 0, 0], atol=1e-6)  # it looks along -X
    assert got.weight.tolist() == [2.5]
    assert got.prompt_suffix == [", from the left"]
    got = camera_rig.cameras_of(scene, Placement(), [camera, camera])
    assert got.camera_to_world.shape == (2, 4, 4)


def a_location_set_by_a_script_is_seen_without_an_update():
    scene = fresh()
    camera = new_camera()
    camera.location = (0.0, -3.0, 0.0)
    got = camera_rig.cameras_of(scene, Placement(), [camera])
    assert np.allclose(got.camera_to_world[0, :3, 3], [0, -3, 0])


def cameras_that_cannot_serve_are_refused_by_name():
    scene = fresh()
    frame = Placement()

    def case(sentence: str, camera) -> None:
        refused(sentence, camera_rig.cameras_of, scene, frame, [camera])

    case("Camera 'Ortho' is orthographic;", new_camera(name="Ortho", type="ORTHO"))
    case("Camera 'Pano' is panoramic;", new_camera(name="Pano", type="PANO"))
    case("Camera 'Near' stands inside the object.", new_camera(name="Near", location=(0.0, -0.5, 0.0)))
    case("Camera 'Away' looks away from the object.", new_camera(name="Away", rotation=(-math.pi / 2, 0.0, 0.0)))
    case("Camera 'Far' is more than 1,000 sizes", new_camera(name="Far", location=(0.0, -1001.0, 0.0)))
    mirrored = new_camera(name="Mirrored")
    mirrored.scale = (-1.0, 1.0, 1.0)
    case("Camera 'Mirrored' is mirrored, flattened or sheared.", mirrored)
    flat = new_camera(name="Flat")
    flat.scale = (0.0, 1.0, 1.0)
    case("Camera 'Flat' is mirrored, flattened or sheared.", flat)
    broken = new_camera(name="Broken")
    broken.location.x = math.nan
    case("Camera 'Broken' has a matrix with numbers that are not finite.", broken)
    for weight in (-1.0, math.nan, "much"):
        weighted = new_camera(name="Weighted")
        weighted["limbeck_weight"] = weight
        case("has limbeck_weight", weighted)
    wordy = new_camera(name="Wordy")
    wordy["limbeck_prompt"] = "x" * 201
    case("Camera 'Wordy' has a limbeck_prompt", wordy)
    empty = bpy.data.objects.new("Empty", None)
    scene.collection.objects.link(empty)
    case("Camera 'Empty' is no camera object.", empty)
    refused("is no camera object.", camera_rig.cameras_of, scene, frame, ["Camera"])
    refused("512 fit", camera_rig.cameras_of, scene, frame, [new_camera(name="Many")] * (MAX_CAMERAS + 1))
    refused("The rig holds no camera and no orbit.", camera_rig.rig_of, scene, frame, [], None)


def orbits_come_from_mappings_and_empties():
    scene = fresh()
    assert camera_rig.orbit_from({}) == Orbit()
    orbit = camera_rig.orbit_from({"elevation_deg": (0, 30), "weight": 2})
    assert (orbit.elevation_deg, orbit.weight) == ((0, 30), 2)
    empty = bpy.data.objects.new("Orbit", None)
    scene.collection.objects.link(empty)
    empty["limbeck_azimuth_deg"] = [-45.0, 45.0]
    empty["limbeck_distance"] = [2, 3]
    empty["limbeck_jitter"] = 0.0
    orbit = camera_rig.orbit_from_empty(empty)
    assert (orbit.azimuth_deg, orbit.distance, orbit.jitter) == ((-45.0, 45.0), (2.0, 3.0), 0.0)
    assert orbit.elevation_deg == Orbit().elevation_deg
    bad = [
        {"elevation": (0, 30)},
        {"elevation_deg": (30, 0)},
        {"elevation_deg": (0, math.nan)},
        {"distance": (-1, 2)},
        {"distance": (0.1, 2)},
        {"azimuth_deg": 3},
        {"weight": "much"},
        {"weight": math.nan},
    ]
    for values in bad:
        refused("The orbit", camera_rig.orbit_from, values)


def frames_come_from_empties_and_bounding_boxes():
    scene = fresh()
    empty = bpy.data.objects.new("Frame", None)
    empty.empty_display_size = 0.5
    empty.location, empty.rotation_euler, empty.scale = (1, 2, 3), (0, 0, math.pi / 2), (3, 3, 3)
    scene.collection.objects.link(empty)
    bpy.context.view_layer.update()
    frame = placement_of(empty)
    assert np.allclose(frame.location, (1, 2, 3))
    assert np.allclose(frame.rotation, (math.sqrt(0.5), 0, 0, math.sqrt(0.5)), atol=1e-6)
    assert math.isclose(frame.size, 3.0, rel_tol=1e-6)
    bpy.ops.mesh.primitive_cube_add(size=1.0, location=(0, 0, 5), scale=(1, 4, 2))
    box = placement_of(bpy.context.object)
    assert np.allclose(box.location, (0, 0, 5))
    assert box.rotation == (1, 0, 0, 0)
    assert math.isclose(box.size, 4.0, rel_tol=1e-6)
    empty.scale = (0, 0, 0)
    bpy.context.view_layer.update()
    refused("'Frame' has no extent", placement_of, empty)
    empty.location.x = math.nan
    bpy.context.view_layer.update()
    refused("not finite", placement_of, empty)
    refused("The size", Placement, size=0.0)
    refused("finite", Placement, location=(0, math.nan, 0))
    refused("three", Placement, location="here")
    refused("three", Placement, location=(1, 2))


harness.main(
    numbers_by_hand,
    the_square_covers_the_larger_dimension,
    known_points_fall_where_blender_projects_them,
    an_imported_vertex_is_seen_where_the_server_saw_it,
    weights_prompts_and_constraints_are_read,
    a_location_set_by_a_script_is_seen_without_an_update,
    cameras_that_cannot_serve_are_refused_by_name,
    orbits_come_from_mappings_and_empties,
    frames_come_from_empties_and_bounding_boxes,
)
