"""The artist's story in a real window, against a real server and the exact prior: each test is its next step.

Mouse and keyboard do what an artist does; the server is asked what became of it, and the screen is looked at. Buttons
are found by what they do (`packaging/window/sidebar.py`), never by where they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from driver import tracebacks
from limbeck_protocol.job_states import JobState
from looking import rows_changed, without_empty_end, yellow_pixels
from pictures import side_by_side

pytestmark = [pytest.mark.window, pytest.mark.slow]

PROMPT = "a yellow duck"
START = "limbeck.start_server("
GENERATE, CANCEL, PROMPT_FIELD = "limbeck.generate(", "limbeck.cancel(", "limbeck.prompt"
JOB_TIMEOUT_S = 300.0
PREVIEW_ROWS = 60
"""A change over so many rows of the sidebar is a preview's, not the progress bar's."""
CONNECTED = "__import__('importlib').import_module('bl_ext.user_default.limbeck.runtime').session().is_connected"
IMAGES = "[i.name for i in bpy.data.images if i.get('limbeck_recipe')]"
EDITED = (
    "next((a.spaces.active.image.name for a in bpy.context.window_manager.windows[0].screen.areas"
    " if a.type == 'IMAGE_EDITOR' and a.spaces.active.image), '')"
)
RESULTS = "[o.name for o in bpy.data.objects if o.type == 'MESH' and o.get('limbeck_recipe')]"


def wait_until(claim: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.5)


def over_the_view(story) -> None:
    """Put the mouse over the viewport, where keys mean the scene."""
    left, top, right, bottom = story.sidebar.viewport_box()
    story.blender.move((left + right) / 2, (top + bottom) / 2)
    time.sleep(0.5)


def view(story):
    return story.blender.settled(box=story.sidebar.viewport_box()).crop(story.sidebar.viewport_box())


def working_part(story, picture):
    """Return the 3-D view with its header and sidebar, at the size of the screen: what the guide shows."""
    bottom, right = story.sidebar.viewport_box()[3], story.sidebar.box()[2]
    return picture.crop((0, 24, right, bottom))


def test_the_tab_opens_and_the_panel_finds_a_server_that_is_started(story) -> None:
    story.sidebar.open("Limbeck")
    assert "LIMBECK_PT_main" in story.sidebar.open_panels()
    story.sidebar.find(START)
    story.show_sidebar("start")
    story.server.start()
    # It is looked for as long as the tab is open; the button is for where none runs.
    story.blender.wait_for(CONNECTED)


def test_a_prompt_is_typed_into_its_field(story) -> None:
    over_the_view(story)
    story.blender.key("Delete")  # the cube of a new file, which is selected
    story.blender.wait_for("not bpy.context.scene.objects.get('Cube')")
    generate = story.sidebar.find(GENERATE)
    story.blender.click(generate.x, generate.y)
    assert story.jobs() == [], "without a prompt the button is grey"
    story.sidebar.write(PROMPT_FIELD, PROMPT)
    assert story.blender.wait_for("bpy.context.scene.limbeck.prompt") == PROMPT
    over_the_view(story)
    story.publish("prompt", working_part(story, story.blender.settled()), 1180)


def test_the_sub_panels_unfold_and_the_orbit_box_is_put_up_and_undone(story) -> None:
    boxes = "[o.name for o in bpy.context.scene.objects if o.type == 'EMPTY']"
    for panel, name in (("LIMBECK_PT_guidance", "guidance"), ("LIMBECK_PT_server", "server")):
        story.sidebar.unfold(panel)
        story.show_sidebar(name)
        story.sidebar.fold(panel)
    story.sidebar.unfold("LIMBECK_PT_rig")
    story.sidebar.press("limbeck.add_orbit_box(")
    story.blender.wait_for(boxes)
    over_the_view(story)
    story.publish("cameras", working_part(story, story.blender.settled()), 1180)
    story.blender.key("ctrl+z")
    story.blender.wait_for(f"not {boxes}", 10)
    story.sidebar.fold("LIMBECK_PT_rig")


# The first job is one of the preset `standard`, which takes minutes: there is time to look at it, and to cancel it.
def press_generate(story) -> str:
    """Press Generate with the mouse and return the id of the job that the server has then."""
    known = {job.job_id for job in story.jobs()}
    story.sidebar.press(GENERATE)
    wait_until(lambda: {job.job_id for job in story.jobs()} - known, 30, "the server has a new job")
    (job,) = [job for job in story.jobs() if job.job_id not in known]
    assert job.recipe.prompt == PROMPT
    assert job.recipe.settings.steps == 300, "the preset as it ships"
    story.job_ids.append(job.job_id)
    return job.job_id


def test_generate_starts_a_job_and_its_previews_change_in_the_sidebar(story) -> None:
    job_id = press_generate(story)
    wait_until(lambda: story.job(job_id).state is JobState.RUNNING, 120, "the job runs")
    seen = [story.sidebar.picture()]
    deadline = time.monotonic() + 300  # previews are far apart on a busy machine
    while len(seen) < 4:
        assert time.monotonic() < deadline, f"{len(seen) - 1} changes of the preview were seen"
        time.sleep(1.5)
        now = story.sidebar.picture()
        if rows_changed(seen[-1], now) >= PREVIEW_ROWS:
            seen.append(now)
    assert story.job(job_id).state is JobState.RUNNING, "previews come while the job runs"


def test_the_growing_object_stands_in_the_view_and_turns_with_it(story) -> None:
    job_id = story.job_ids[-1]
    story.blender.run("_view()[1].spaces.active.region_3d.view_distance = 3.0")
    over_the_view(story)
    box = story.sidebar.viewport_box()
    pictures_of_the_view = []
    for turn in ((), ("KP_4",) * 4):
        if turn:
            story.blender.key(*turn)
        deadline = time.monotonic() + 90
        while yellow_pixels(story.blender.screenshot().crop(box)) < 3000:
            assert time.monotonic() < deadline, f"nothing yellow in the view; the job is {story.job(job_id).state}"
            time.sleep(1.0)
        time.sleep(4.0)  # a view's picture follows by a second or two
        pictures_of_the_view.append(story.blender.screenshot())
    story.publish("live", working_part(story, pictures_of_the_view[0]), 1180)
    story.blender.key(*["KP_6"] * 4)
    one, other = (picture.crop(box) for picture in pictures_of_the_view)
    assert rows_changed(one, other) >= PREVIEW_ROWS
    assert story.job(job_id).state is JobState.RUNNING, "the job must not have ended before its cancel"


def test_cancel_ends_the_running_job(story) -> None:
    story.sidebar.press(CANCEL)
    job_id = story.job_ids[-1]
    wait_until(lambda: story.job(job_id).state is JobState.CANCELLED, 30, "the server has ended the job")
    story.sidebar.find(GENERATE, timeout_s=30)
    assert story.blender.ask(RESULTS) == []
    story.show_sidebar("cancelled")


def test_a_finished_job_stands_in_the_viewport(story) -> None:
    story.blender.run("bpy.context.scene.limbeck.preset = 'quick'\n_view()[2]['UI'].tag_redraw()")
    # The rig's lines, which the orbit box has switched on, would hide what came of it.
    story.blender.run("bpy.context.window_manager.limbeck_show_rig = False\n_view()[1].tag_redraw()")
    before = yellow_pixels(view(story))
    job_id = press_generate(story)
    assert story.job(job_id).recipe.preset == "quick"
    growing = []
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while not story.blender.ask(RESULTS):
        assert time.monotonic() < deadline, f"the job is {story.job(job_id).state}"
        assert story.job(job_id).state is not JobState.FAILED, story.job(job_id).error
        picture = story.sidebar.picture()
        if story.job(job_id).state is JobState.RUNNING and (
            not growing or rows_changed(growing[-1], picture) >= PREVIEW_ROWS
        ):
            growing.append(picture)
        time.sleep(2.0)
    assert story.job(job_id).state is JobState.SUCCEEDED
    growing = growing[1:] if len(growing) > 3 else growing  # the first is from before the first preview
    three = [growing[round(i * (len(growing) - 1) / 2)] for i in range(3)]
    story.publish("growing", side_by_side([without_empty_end(picture) for picture in three]), 1000)

    # Look at it from near, in its colours: View Selected, and the texture in the view's shading.
    story.blender.run(
        "for area in bpy.context.window_manager.windows[0].screen.areas:\n"
        "    if area.type == 'VIEW_3D':\n        area.spaces.active.shading.color_type = 'TEXTURE'"
    )
    over_the_view(story)
    story.blender.key("KP_Decimal")
    time.sleep(1.5)
    after = yellow_pixels(view(story))
    assert after > before + 5000, f"{after} yellow pixels in the view, {before} before"
    story.publish("mesh", working_part(story, story.blender.settled()), 1180)


def test_undo_takes_the_mesh_away_and_redo_brings_it_back(story) -> None:
    names = story.blender.ask(RESULTS)
    over_the_view(story)
    story.blender.key("ctrl+z")
    story.blender.wait_for(f"not {RESULTS}", 10)
    assert yellow_pixels(view(story)) < 5000
    over_the_view(story)
    story.blender.key("ctrl+shift+z")
    story.blender.wait_for(RESULTS, 10)
    assert story.blender.ask(RESULTS) == names
    assert yellow_pixels(view(story)) > 5000


def test_an_image_grows_in_an_image_editor_and_lands_there(story) -> None:
    story.blender.run("bpy.context.scene.limbeck.makes = 'IMAGE'\n_view()[2]['UI'].tag_redraw()")
    story.sidebar.unfold("LIMBECK_PT_picture")
    assert "LIMBECK_PT_rig" not in story.sidebar.open_panels(), "a picture has no cameras"
    story.sidebar.fold("LIMBECK_PT_picture")
    story.sidebar.unfold("LIMBECK_PT_preview")
    story.sidebar.press("limbeck.toggle_image_preview(")
    story.blender.wait_for(EDITED)
    story.sidebar.fold("LIMBECK_PT_preview")
    known = {job.job_id for job in story.jobs()}
    story.sidebar.press(GENERATE)
    wait_until(lambda: {job.job_id for job in story.jobs()} - known, 30, "the server has a new job")
    (job,) = [job for job in story.jobs() if job.job_id not in known]
    assert job.recipe.image
    story.blender.wait_for(f"{IMAGES} and {EDITED} == {IMAGES}[0]", JOB_TIMEOUT_S)
    assert story.job(job.job_id).state is JobState.SUCCEEDED
    over_the_view(story)
    story.publish("image", story.blender.settled(), 1180)
    story.blender.key("ctrl+z")
    story.blender.wait_for(f"not {IMAGES}", 10)
    story.blender.key("ctrl+shift+z")
    story.blender.wait_for(IMAGES, 10)
    story.blender.run("""
bpy.ops.limbeck.toggle_image_preview()
for area in bpy.context.window_manager.windows[0].screen.areas:
    if area.type == "IMAGE_EDITOR":
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area):
            bpy.ops.screen.area_close()
        break
bpy.context.scene.limbeck.makes = "OBJECT"
""")


def test_every_button_and_field_has_a_tooltip(story) -> None:
    bare = story.blender.run("""
classes = [cls for cls in bpy.types.Operator.__subclasses__() if cls.__name__.startswith("LIMBECK_OT_")]
# One with a method of that name words its tooltip by what it is about to do.
result = [c.__name__ for c in classes if not (getattr(c, "bl_description", "") or hasattr(c, "description"))]
for name, field in type(bpy.context.scene.limbeck).bl_rna.properties.items():
    is_drawn = name not in {"rna_type", "name"} and field.type != "COLLECTION" and not field.is_hidden
    if is_drawn and not field.description:
        result.append(name)
""")
    assert bare == []


def test_the_panel_works_at_240_pixels(story) -> None:
    width = story.sidebar.resize(240)
    assert abs(width - 240) <= 6
    story.sidebar.find(PROMPT_FIELD)
    story.sidebar.find(GENERATE)
    story.show_sidebar("narrow")
    story.sidebar.resize(292)


def test_a_saved_file_finds_its_job_again_in_a_new_blender(story) -> None:
    path = story.scratch / "duck.blend"
    names = story.blender.ask(RESULTS)
    story.blender.run(f"bpy.ops.wm.save_as_mainfile(filepath={str(path)!r}, check_existing=False)")
    assert story.blender.quit() == 0
    story.begin(str(path))
    assert story.blender.ask(RESULTS) == names
    story.sidebar.open("Limbeck")
    story.sidebar.unfold("LIMBECK_PT_jobs")
    if not story.blender.ask(CONNECTED):
        story.sidebar.press("limbeck.refresh(")
    finished = story.job_ids[-1]
    story.sidebar.find(finished, timeout_s=30)  # its Import button in the list
    story.show_sidebar("jobs")


def test_blender_quits_with_code_0_and_has_printed_no_traceback(story) -> None:
    assert story.blender.quit() == 0
    assert tracebacks(story.blender.printed()) == []
