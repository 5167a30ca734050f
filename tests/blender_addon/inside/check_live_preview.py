"""Previews in the Image Editor and in the 3-D view: what can be checked where nothing is drawn."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import bpy
import harness
import numpy as np
from limbeck_protocol.messages import Preview, View

addon = harness.load_addon()
editor, overlay = addon.previews.image_editor_preview, addon.previews.viewport_overlay
runtime = addon.runtime


def fresh() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    return bpy.context.scene


def picture(value: int, size: int = 8, from_viewer: bool = False, azimuth: float = 0.0, **changed) -> Preview:
    matrix = np.eye(4, dtype=np.float32)
    matrix[:3, :3] = turned(azimuth)
    matrix[:3, 3] = 3 * matrix[:3, 2]
    lens = np.array([2.0, 0, 0], np.float32)
    values = {
        "image": np.full((size, size, 4 if from_viewer else 3), value, np.uint8),
        "view": View(camera_to_world=matrix, lens=lens),
    }
    return Preview(job_id="j" * 8, generation=value, step=value, from_viewer=from_viewer, **(values | changed))


def turned(azimuth: float) -> np.ndarray:
    """Axes of a camera that looks at the object from its front, turned about the vertical."""
    forward = np.array([np.sin(azimuth), -np.cos(azimuth), 0.0])
    return np.stack([np.cross([0, 0, 1.0], forward), [0, 0, 1.0], forward], axis=1)


def sight(azimuth: float = 0.0, distance: float = 3.0):
    matrix = np.eye(4)
    matrix[:3, :3] = turned(azimuth)
    matrix[:3, 3] = distance * matrix[:3, 2]
    return addon.previews.viewer_camera.Sight(matrix, (-0.8, 0.8, -0.5, 0.5))


# --- Image Editor ---


def the_image_is_made_once_and_takes_every_preview() -> None:
    fresh()
    runtime.live.take(picture(10))
    assert editor.find() is None, "no image before somebody wants one"
    assert bpy.ops.limbeck.toggle_image_preview() == {"FINISHED"}
    image = editor.find()
    assert image.name == editor.NAME
    assert tuple(image.size) == (8, 8)
    assert abs(image.pixels[0] - 10 / 255) < 1e-6, "it shows what came before it was made"
    for value, size in ((60, 8), (70, 16)):
        runtime.live.take(picture(value, size))
        assert tuple(editor.find().size) == (size, size)
        assert abs(editor.find().pixels[0] - value / 255) < 1e-6
    runtime.live.take(picture(200, from_viewer=True))
    assert abs(editor.find().pixels[0] - 70 / 255) < 1e-6, "a picture from the 3-D view is not for here"
    assert len([one for one in bpy.data.images if one.name.startswith(editor.NAME)]) == 1
    assert bpy.ops.limbeck.toggle_image_preview() == {"FINISHED"}
    assert editor.find() is None


def rows_run_from_the_bottom_in_blender() -> None:
    fresh()
    image = np.zeros((4, 4, 3), np.uint8)
    image[0] = 255  # the first row is the top one
    editor.switch_on()
    runtime.live.take(picture(1, image=image))
    pixels = np.array(editor.find().pixels[:]).reshape(4, 4, 4)
    assert pixels[3, :, 0].min() == 1.0
    assert pixels[:3, :, 0].max() == 0.0


def blender_does_not_ask_what_to_do_with_the_image() -> None:
    fresh()
    editor.switch_on()
    runtime.live.take(picture(10))
    assert not editor.find().is_dirty


def the_image_is_not_saved_and_stands_again_after_saving() -> None:
    fresh()
    area = bpy.context.window.screen.areas[0]
    area.type = "IMAGE_EDITOR"
    area.spaces.active.image = editor.switch_on()
    runtime.live.take(picture(90))
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "file.blend")
        bpy.ops.wm.save_as_mainfile(filepath=path)
        assert area.spaces.active.image == editor.find() is not None
        assert abs(editor.find().pixels[0] - 90 / 255) < 1e-6
        bpy.ops.wm.open_mainfile(filepath=path)
        assert editor.find() is None
        assert len(bpy.data.images) <= 1  # Blender's own Render Result
        runtime.live.take(picture(91))


def somebody_else_s_image_of_that_name_is_left_alone() -> None:
    fresh()
    theirs = bpy.data.images.new(editor.NAME, 4, 4)
    runtime.live.take(picture(10))
    assert editor.find() is None
    assert theirs.pixels[0] == 0.0
    assert bpy.ops.limbeck.toggle_image_preview() == {"FINISHED"}
    runtime.live.take(picture(20))
    assert editor.find() != theirs
    assert abs(editor.find().pixels[0] - 20 / 255) < 1e-6
    assert theirs.pixels[0] == 0.0


def an_image_that_was_removed_is_not_missed() -> None:
    fresh()
    bpy.data.images.remove(editor.switch_on())
    runtime.live.take(picture(10))
    assert editor.find() is None
    assert editor.switch_on() is not None


def undo_does_not_confuse_it() -> None:
    fresh()
    bpy.ops.ed.undo_push(message="before")
    editor.switch_on()
    bpy.ops.ed.undo_push(message="after")
    runtime.live.take(picture(10))
    bpy.ops.ed.undo()
    runtime.live.take(picture(20))
    bpy.ops.ed.redo()
    runtime.live.take(picture(30))
    if editor.find() is not None:
        assert abs(editor.find().pixels[0] - 30 / 255) < 1e-6


# --- 3-D view ---


def shown(monotonic: list[float]) -> overlay.ViewportOverlay:
    """An overlay that is on as far as it can be where there is no window, with a clock in our hands."""
    overlay.time = type("clock", (), {"monotonic": staticmethod(lambda: monotonic[0])})
    one = overlay.ViewportOverlay()
    one.show({"Scene": addon.rig.placement.Placement()}, 48)
    assert not one.is_on, "in the background nothing is drawn"
    return one


def restore_clock() -> None:
    overlay.time = time


def a_view_that_moves_asks_anew_but_not_too_often() -> None:
    fresh()
    now = [100.0]
    one = shown(now)
    assert one.viewer() is None
    asked = []
    for tick in range(80):  # four seconds of orbiting, twenty redraws a second
        now[0] = 100.0 + tick / 20
        one.look(1, sight(azimuth=tick / 20))
        camera = one.viewer()
        if not asked or camera is not asked[-1]:
            asked.append(camera)
    assert 0.8 * 4 * overlay.MOST_PER_S <= len(asked) <= 4 * overlay.MOST_PER_S + 1
    assert all(camera.camera_to_world.dtype == np.float32 and camera.size == 48 for camera in asked)
    now[0] += 1.0
    newest = one.viewer()
    assert np.allclose(newest.camera_to_world, sight(azimuth=79 / 20).camera_to_world, atol=1e-6)
    now[0] += 10.0
    assert one.viewer() is newest, "a view that rests asks from the same place"
    restore_clock()


def an_object_out_of_sight_is_not_asked_for() -> None:
    fresh()
    one = shown([100.0])
    behind = sight()
    behind.camera_to_world[:3, 3] *= -1
    one.look(1, behind)
    assert one.viewer() is None
    restore_clock()


def the_view_that_moved_last_shows_the_object() -> None:
    fresh()
    one = shown([100.0])
    one.take(picture(5, from_viewer=True))
    one.look(1, sight())
    one.look(2, sight(azimuth=1.0))
    assert one.place(1) is not None
    assert one.place(2) is None
    one.look(2, sight(azimuth=1.1))
    assert one.place(1) is None
    assert one.place(2) is not None
    restore_clock()


def a_picture_from_the_view_lies_exactly_where_it_was_asked_for() -> None:
    fresh()
    one = shown([100.0])
    one.look(1, sight())
    camera = one.viewer()
    one.take(picture(5, from_viewer=True, view=View(camera_to_world=camera.camera_to_world, lens=camera.lens)))
    left, right, bottom, top = one.place(1)
    ball = addon.previews.viewer_camera.ball_rectangle(sight().camera_to_world)
    np.testing.assert_allclose([right - left, top - bottom], [(ball[1] - ball[0]) / 1.6, ball[3] - ball[2]], rtol=1e-5)
    np.testing.assert_allclose([left + right, bottom + top], [1.0, 1.0], atol=1e-6)
    restore_clock()


def nobody_who_looks_ends_the_asking() -> None:
    fresh()
    now = [100.0]
    one = shown(now)
    one.look(1, sight())
    assert one.viewer() is not None
    for number in range(overlay.UNSEEN_PICTURES):
        one.take(picture(number, from_viewer=True))
    assert one.viewer() is None
    now[0] += 1.0
    one.look(1, sight())
    assert one.viewer() is not None
    restore_clock()


def the_jobs_own_still_serves_where_nothing_better_comes() -> None:
    fresh()
    now = [100.0]
    one = shown(now)
    one.look(1, sight())
    one.take(picture(5))
    one._shown_at = now[0]  # what `show` does where there is a window
    assert one.place(1) is None
    now[0] += overlay.STILL_AFTER_S + 0.1
    assert one.place(1) is not None
    one.take(picture(6, from_viewer=True))
    one.take(picture(7))
    assert one._newest().generation == 6
    restore_clock()


def pictures_that_make_no_sense_are_left_alone() -> None:
    fresh()
    one = shown([100.0])
    one.look(1, sight())
    bad_view = View(camera_to_world=np.eye(3, dtype=np.float32), lens=np.ones(3, np.float32))
    for changed in (
        {"view": None},
        {"view": bad_view},
        {"image": None},
        {"image": np.zeros((4, 4), np.uint8)},
        {"image": np.zeros((4, 4, 5), np.uint8)},
        {"image": np.zeros((4, 4, 4), np.float32)},
    ):
        one.take(picture(5, from_viewer=True, **changed))
        assert one.place(1) is None
    restore_clock()


def texels_keep_opacity_and_turn_the_rows() -> None:
    image = np.zeros((2, 2, 4), np.uint8)
    image[0] = (255, 0, 0, 255)
    flat = overlay.texels(image)
    assert flat.dtype == np.float32
    assert flat[1, 0].tolist() == [1, 0, 0, 1]
    assert flat[0, 0].tolist() == [0, 0, 0, 0]
    assert overlay.texels(image[..., :3])[0, 0].tolist() == [0, 0, 0, 1]


# --- both ---


def unregistering_takes_everything_away() -> None:
    fresh()
    handlers = bpy.app.handlers
    lists = (handlers.save_pre, handlers.save_post, handlers.save_post_fail)
    before = [len(one) for one in lists]
    editor.switch_on()
    assert [len(one) for one in lists] == [count + 1 for count in before]
    addon.unregister()
    assert editor.NAME not in bpy.data.images
    assert [len(one) for one in lists] == before
    assert not runtime.live.viewport.is_on


if __name__ == "__main__":
    harness.main(
        the_image_is_made_once_and_takes_every_preview,
        rows_run_from_the_bottom_in_blender,
        blender_does_not_ask_what_to_do_with_the_image,
        the_image_is_not_saved_and_stands_again_after_saving,
        somebody_else_s_image_of_that_name_is_left_alone,
        an_image_that_was_removed_is_not_missed,
        undo_does_not_confuse_it,
        a_view_that_moves_asks_anew_but_not_too_often,
        an_object_out_of_sight_is_not_asked_for,
        the_view_that_moved_last_shows_the_object,
        a_picture_from_the_view_lies_exactly_where_it_was_asked_for,
        nobody_who_looks_ends_the_asking,
        the_jobs_own_still_serves_where_nothing_better_comes,
        pictures_that_make_no_sense_are_left_alone,
        texels_keep_opacity_and_turn_the_rows,
        unregistering_takes_everything_away,
    )
