"""Registering and unregistering leaves nothing; panels draw; buttons say why they are grey."""

from __future__ import annotations

import bpy
import harness
import numpy as np
import recording

addon = harness.load_addon()
runtime, panels, properties = addon.runtime, addon.panels, addon.properties


def vars_of(thing: object) -> dict[str, object]:
    return {name: getattr(thing, name) for name in dir(thing)}


def what_blender_knows() -> dict[str, object]:
    return {
        "types": set(dir(bpy.types)),
        "operators": set(dir(bpy.ops.limbeck)) if hasattr(bpy.ops, "limbeck") else set(),
        "scene": {name for name in dir(bpy.types.Scene) if "limbeck" in name.lower()},
        "object": {name for name in dir(bpy.types.Object) if "limbeck" in name.lower()},
        "timer": bpy.app.timers.is_registered(runtime.pump),
        "handlers": {name: len(found) for name, found in vars_of(bpy.app.handlers).items() if isinstance(found, list)},
    }


def it_comes_and_goes_without_a_trace():
    before = what_blender_knows()
    for _ in range(3):
        addon.register()
        assert addon.is_registered()
        assert "LIMBECK_PT_main" in dir(bpy.types)
        assert hasattr(bpy.types.Scene, "limbeck")
        # Leave something behind on purpose: a session, an icon, a timer.
        runtime.session()
        runtime.preview.show(np.zeros((8, 8, 3), dtype=np.uint8))
        bpy.app.timers.register(runtime.pump)
        addon.unregister()
        assert not addon.is_registered()
        assert runtime.preview.size == (0, 0)
        assert what_blender_knows() == before, (what_blender_knows(), before)


def importing_starts_nothing():
    import sys
    import threading

    assert threading.active_count() == 1
    assert not [name for name in sys.modules if name.split(".")[0] in {"torch", "limbeck_server"}]


def drawn() -> str:
    shown = [cls for cls in panels.classes if issubclass(cls, bpy.types.Panel)]
    return "\n".join(
        recording.drawn(panel)
        for panel in shown
        if getattr(panel, "poll", lambda _: True)(bpy.context)  # that of a result wants one to be selected
    )


def every_state_can_be_drawn():
    from limbeck_protocol.errors import ErrorCode, LimbeckError
    from limbeck_protocol.job_states import JobState
    from limbeck_protocol.messages import JobInfo, Progress
    from limbeck_protocol.recipe import Recipe

    addon.register()
    session = runtime.session()
    text = drawn()
    assert "limbeck.generate" in text
    assert "limbeck.cancel" not in text
    assert "prompt" in text
    followed = addon.connection.session.FollowedJob("job-0001", wants_result=True)
    session.followed = followed
    for state in JobState:
        progress = Progress(phase="optimise", step=120, steps=300, seconds_left=35.0)
        followed.info = JobInfo(job_id="job-0001", state=state, recipe=Recipe(prompt="a duck"), created=0.0)
        followed.progress = progress
        session.jobs = [followed.info]
        for session_state in addon.connection.session.SessionState:
            session.state = session_state
            text = drawn()
            if session_state == "following":
                assert "Distilling 120/300, 0:35 left" in text, text
                assert "limbeck.cancel" in text
                assert "limbeck.generate" not in text
    session.state = addon.connection.session.SessionState.READY
    for code in ErrorCode:
        session.error = LimbeckError(code, "Something long enough to be wrapped went wrong, and here is what it was.")
        text = drawn()
        assert "Something long enough" in text
        assert session.error.remedy.label[:12] in text
    assert "limbeck.start_server" in text
    runtime.session().error = None
    addon.unregister()


def buttons_say_why_they_are_grey():
    addon.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    fields = bpy.context.scene.limbeck
    missing = addon.recipe.panel_form.missing_field
    assert "Write a prompt" in missing(bpy.context.scene)
    with harness.in_sidebar():
        assert not bpy.ops.limbeck.generate.poll()
    fields.prompt = "a yellow duck"
    assert missing(bpy.context.scene) == ""
    with harness.in_sidebar():
        assert bpy.ops.limbeck.generate.poll()
    fields.rig_source = "CAMERAS"
    assert "Add a camera" in missing(bpy.context.scene)
    with harness.in_sidebar():
        assert not bpy.ops.limbeck.generate.poll()
    for operator in ("cancel", "stop_server"):
        assert not getattr(bpy.ops.limbeck, operator).poll()
    for operator in ("import_result", "start_server", "refresh"):
        assert getattr(bpy.ops.limbeck, operator).poll()
    addon.unregister()


def the_panel_s_fields_become_a_recipe():
    addon.register()
    bpy.ops.wm.read_factory_settings(use_empty=False)
    scene = bpy.context.scene
    fields = scene.limbeck
    fields.prompt, fields.negative_prompt = " a red cube ", "blurry"
    fields.loss, fields.preset, fields.seed = "nfsd", "quick", 7
    recipe = addon.recipe.panel_form.recipe_from(scene)
    assert (recipe.prompt, recipe.negative_prompt, recipe.loss) == ("a red cube", "blurry", "nfsd")
    assert (recipe.preset, recipe.prior, recipe.seed) == ("quick", "exact", 7)
    assert recipe.rig.cameras is None
    assert recipe.rig.orbit.elevation_deg == (-30.0, 60.0)
    scene.cursor.location = (1.0, 2.0, 3.0)
    fields.size = 0.5
    placement = addon.recipe.panel_form.placement_from(scene)
    assert (placement.location, placement.size) == ((1.0, 2.0, 3.0), 0.5)
    empty = bpy.data.objects.new("Here", None)
    scene.collection.objects.link(empty)
    empty.empty_display_size = 1.0
    empty["limbeck_elevation_deg"] = [0.0, 20.0]
    bpy.context.view_layer.update()
    fields.target, fields.rig_source = empty, "BOTH"
    recipe = addon.recipe.panel_form.recipe_from(scene)
    assert recipe.rig.orbit.elevation_deg == (0.0, 20.0)
    assert recipe.rig.cameras.camera_to_world.shape == (1, 4, 4)
    camera = scene.camera.matrix_world.translation
    assert np.allclose(recipe.rig.cameras.camera_to_world[0, :3, 3], np.array(camera) / 2, atol=1e-5)
    addon.unregister()


def times_and_phases_read_well():
    text = addon.panels.main.progress_bar.__globals__
    assert text["duration"](35.4) == "0:35"
    assert text["duration"](3661) == "1:01:01"
    assert text["duration"](-3) == "0:00"


def previews_keep_colour_and_turn_rows():
    addon.register()
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    image[0] = (255, 128, 0)
    runtime.preview.show(image)
    assert runtime.preview.size == (6, 4)
    rows = addon.previews.preview_image.rgba_rows_from_bottom(image).reshape(4, 6, 4)
    assert np.allclose(rows[-1, 0], (1, 128 / 255, 0, 1))
    assert np.allclose(rows[0, 0], (0, 0, 0, 1))
    runtime.preview.show(np.zeros((16, 16, 3), dtype=np.uint8))
    assert runtime.preview.size == (16, 16)
    addon.unregister()


harness.main(
    importing_starts_nothing,
    it_comes_and_goes_without_a_trace,
    every_state_can_be_drawn,
    buttons_say_why_they_are_grey,
    the_panel_s_fields_become_a_recipe,
    times_and_phases_read_well,
    previews_keep_colour_and_turn_rows,
)
