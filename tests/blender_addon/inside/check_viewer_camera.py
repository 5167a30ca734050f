"""Viewers' cameras against Blender's own projection: where a point stands in the view, it stands in the picture."""

from __future__ import annotations

import bpy
import harness
import numpy as np
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Euler, Matrix, Vector

addon = harness.load_addon()
camera_room = addon.previews.viewer_camera
FRAMES = {
    "at the origin": Matrix(),
    "placed, turned and large": Matrix.LocRotScale((1.0, -2.0, 3.0), Euler((0.3, -0.2, 1.1)), (2.5, 2.5, 2.5)),
}


def blender_camera(kind: str, location, rotation, shift=(0.0, 0.0), resolution=(1600, 900)) -> bpy.types.Object:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = resolution
    data = bpy.data.cameras.new("camera")
    data.type, data.ortho_scale, data.lens = kind, 6.0, 40.0
    data.shift_x, data.shift_y = shift
    camera = bpy.data.objects.new("camera", data)
    scene.collection.objects.link(camera)
    scene.camera = camera
    camera.location, camera.rotation_euler = location, rotation
    bpy.context.view_layer.update()
    return camera


def matrices_of(camera: bpy.types.Object, resolution=(1600, 900)) -> tuple[Matrix, Matrix]:
    """The two matrices that a 3-D view has, from a camera with a region of this size."""
    window = camera.calc_matrix_camera(bpy.context.evaluated_depsgraph_get(), x=resolution[0], y=resolution[1])
    return camera.matrix_world.inverted(), window


def look_at(location, target=(0.0, 0.0, 0.0)) -> Euler:
    return (Vector(target) - Vector(location)).to_track_quat("-Z", "Y").to_euler()


def shares_in_picture(view_camera: np.ndarray, lens: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Shares of the square picture from its lower left corner, by the server's camera model (`scene/cameras.py`)."""
    x, y, z = ((points - view_camera[:3, 3]) @ view_camera[:3, :3]).T
    return np.stack([x / -z * lens[0] - lens[1], y / -z * lens[0] - lens[2]], axis=1) + 0.5


def a_point_stands_in_the_picture_where_it_stands_in_the_view() -> None:
    cases = [
        ("PERSP", (5.0, -6.0, 4.0), (0.0, 0.0), (1600, 900), 1e-5),
        ("PERSP", (-7.0, 3.0, 1.0), (0.2, -0.3), (900, 1600), 1e-5),
        ("PERSP", (3.0, -9.0, 6.0), (-0.4, 0.1), (1000, 1000), 1e-5),
        ("ORTHO", (5.0, -6.0, 4.0), (0.0, 0.0), (1600, 900), 0.01),
        ("ORTHO", (-7.0, 3.0, 1.0), (0.1, -0.2), (900, 1600), 0.01),
    ]
    random = np.random.default_rng(0)
    for name, frame in FRAMES.items():
        for kind, offset, shift, resolution, tolerance in cases:
            location = frame @ Vector(offset)
            camera = blender_camera(kind, location, look_at(location, frame.translation), shift, resolution)
            view, window = matrices_of(camera, resolution)
            sight = camera_room.sight_of(np.array(view), np.array(window), np.array(frame))
            lens = camera_room.lens_for(sight)
            assert lens is not None, (name, kind, offset)
            points = random.uniform(-0.4, 0.4, (50, 3))
            in_picture = shares_in_picture(sight.camera_to_world, lens, points)
            left, right, bottom, top = camera_room.place_on_screen(sight, sight.camera_to_world, lens)
            on_screen = in_picture * [right - left, top - bottom] + [left, bottom]
            scene = bpy.context.scene
            expected = [world_to_camera_view(scene, camera, frame @ Vector(point))[:2] for point in points]
            worst = np.abs(on_screen - np.array(expected)).max()
            assert worst <= tolerance, (name, kind, offset, worst)


def the_picture_holds_all_of_the_ball_and_touches_it() -> None:
    """Only as large as the ball's outline, so that no pixel is spent beside it."""
    random = np.random.default_rng(1)
    shell = random.normal(size=(20000, 3))
    shell *= camera_room.RADIUS / np.linalg.norm(shell, axis=1, keepdims=True)
    for kind in ("PERSP", "ORTHO"):
        camera = blender_camera(kind, (4.0, -5.0, 3.0), look_at((4.0, -5.0, 3.0), (0.8, 0.3, 0.2)))
        view, window = matrices_of(camera)
        sight = camera_room.sight_of(np.array(view), np.array(window), np.eye(4))
        shares = shares_in_picture(sight.camera_to_world, camera_room.lens_for(sight), shell)
        assert shares.min() >= -1e-6
        assert shares.max() <= 1 + 1e-6
        assert (shares.max(axis=0) - shares.min(axis=0)).max() > 0.99


def only_what_the_view_shows_is_asked_for() -> None:
    close = blender_camera("PERSP", (0.0, -1.2, 0.0), look_at((0.0, -1.2, 0.0), (0.0, 0.0, 0.0)))
    close.data.lens = 200.0
    view, window = matrices_of(close)
    sight = camera_room.sight_of(np.array(view), np.array(window), np.eye(4))
    place = camera_room.place_on_screen(sight, sight.camera_to_world, camera_room.lens_for(sight))
    np.testing.assert_allclose(place[:2], (0.0, 1.0), atol=1e-6)  # as wide as the region, square, so higher than it
    np.testing.assert_allclose(place[3] - place[2], 1600 / 900, rtol=1e-6)


def an_object_that_is_not_in_the_view_is_not_asked_for() -> None:
    for location, target in [((0, -5, 0), (0, -9, 0)), ((0, -5, 0), (20, -5, 0)), ((0, -5000, 0), (0, 0, 0))]:
        camera = blender_camera("PERSP", location, look_at(location, target))
        view, window = matrices_of(camera)
        assert camera_room.lens_for(camera_room.sight_of(np.array(view), np.array(window), np.eye(4))) is None


def from_inside_the_object_the_whole_view_is_asked_for() -> None:
    camera = blender_camera("PERSP", (0.1, 0.0, 0.0), look_at((0.1, 0.0, 0.0), (5.0, 0.0, 0.0)))
    view, window = matrices_of(camera)
    sight = camera_room.sight_of(np.array(view), np.array(window), np.eye(4))
    left, right, bottom, top = camera_room.place_on_screen(sight, sight.camera_to_world, camera_room.lens_for(sight))
    np.testing.assert_allclose((left, right), (0.0, 1.0), atol=1e-6)
    assert bottom < 0 < 1 < top


def matrices_that_make_no_sense_are_no_sight() -> None:
    for view, window in [(np.zeros((4, 4)), np.eye(4)), (np.eye(4), np.zeros((4, 4))), (np.eye(4) * np.nan, np.eye(4))]:
        assert camera_room.sight_of(view, window, np.eye(4)) is None


def a_still_stays_where_the_object_is() -> None:
    """From another camera: the ball's outline in the picture lies on the ball's outline in the view."""
    first = blender_camera("PERSP", (4.0, -5.0, 3.0), look_at((4.0, -5.0, 3.0)))
    then = camera_room.sight_of(*(np.array(m) for m in matrices_of(first)), np.eye(4))
    lens = camera_room.lens_for(then)
    second = blender_camera("PERSP", (-6.0, -5.0, 1.0), look_at((-6.0, -5.0, 1.0), (1.0, 0.0, 0.0)))
    now = camera_room.sight_of(*(np.array(m) for m in matrices_of(second)), np.eye(4))
    place = camera_room.place_on_screen(now, then.camera_to_world, lens)
    ball, window = camera_room.ball_rectangle(now.camera_to_world), now.window
    across, up = window[1] - window[0], window[3] - window[2]
    expected_centre = ((ball[0] + ball[1]) / 2 - window[0]) / across, ((ball[2] + ball[3]) / 2 - window[2]) / up
    np.testing.assert_allclose(((place[0] + place[1]) / 2, (place[2] + place[3]) / 2), expected_centre, atol=0.01)
    np.testing.assert_allclose(place[1] - place[0], (ball[1] - ball[0]) / across, rtol=0.05)


def a_still_from_inside_has_no_place() -> None:
    camera = blender_camera("PERSP", (4.0, -5.0, 3.0), look_at((4.0, -5.0, 3.0)))
    sight = camera_room.sight_of(*(np.array(m) for m in matrices_of(camera)), np.eye(4))
    assert camera_room.place_on_screen(sight, np.eye(4), np.array([1.0, 0.0, 0.0])) is None


if __name__ == "__main__":
    harness.main(
        a_point_stands_in_the_picture_where_it_stands_in_the_view,
        the_picture_holds_all_of_the_ball_and_touches_it,
        only_what_the_view_shows_is_asked_for,
        an_object_that_is_not_in_the_view_is_not_asked_for,
        from_inside_the_object_the_whole_view_is_asked_for,
        matrices_that_make_no_sense_are_no_sight,
        a_still_stays_where_the_object_is,
        a_still_from_inside_has_no_place,
    )
