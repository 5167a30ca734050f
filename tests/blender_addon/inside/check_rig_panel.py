"""Orbit boxes, choices of cameras, weights and prompts, paths that leave the frame alone, what the panel says."""

from __future__ import annotations

import math
from types import SimpleNamespace

import bpy
import harness
import numpy as np
from limbeck_protocol.recipe import Orbit
from mathutils import Matrix, Vector

addon = harness.load_addon()
rig_form, camera_rig, camera_notes = addon.rig.rig_form, addon.rig.camera_rig, addon.rig.camera_notes
placement_of = addon.rig.placement.placement_of


def fresh(source: str = "ORBIT") -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    scene = bpy.context.scene
    scene.limbeck.prompt, scene.limbeck.rig_source = "a duck", source
    return scene


def new_camera(name="Camera", location=(0.0, -2.05, 0.0), collection=None, **values) -> bpy.types.Object:
    data = bpy.data.cameras.new(name)
    data.lens = 36 * camera_notes.focal_length(41.0)
    for key, value in values.items():
        setattr(data, key, value)
    camera = bpy.data.objects.new(name, data)
    camera.location, camera.rotation_euler = location, (-Vector(location)).to_track_quat("-Z", "Y").to_euler()
    (collection or bpy.context.scene.collection).objects.link(camera)
    bpy.context.view_layer.update()
    return camera


def states(scene) -> dict[str, object]:
    found = rig_form.camera_states(scene, rig_form.placement_as_drawn(scene), bpy.context.view_layer.depsgraph)
    return {state.camera.name: state for state in found}


def an_orbit_box_marks_place_size_front_and_ranges():
    scene = fresh()
    scene.cursor.location = (1.0, 2.0, 3.0)
    scene.limbeck.size = 0.8
    scene.limbeck.orbit_elevation_deg, scene.limbeck.orbit_weight = (0.0, 20.0), 3.0
    assert bpy.ops.limbeck.add_orbit_box() == {"FINISHED"}
    box = scene.limbeck.target
    assert box is bpy.context.view_layer.objects.active
    assert (box.type, box.empty_display_type) == ("EMPTY", "CUBE")
    frame = rig_form.placement_from(scene)
    assert np.allclose((*frame.location, frame.size), (1, 2, 3, 0.8))
    orbit = rig_form.orbit_from_fields(scene)
    assert np.allclose(orbit.elevation_deg, (0, 20))
    assert orbit.weight == 3.0
    for name in addon.rig.orbit_box.ORBIT_FIELDS:
        settings = box.id_properties_ui(f"limbeck_{name}").as_dict()
        assert len(settings["description"]) > 20
        assert settings["min"] < settings["max"]
    box["limbeck_distance"] = [3.0, 4.0]
    box["limbeck_field_of_view_deg"] = [30.0, 35.0]
    recipe = addon.recipe.panel_form.recipe_from(scene)
    assert (recipe.rig.orbit.distance, recipe.rig.orbit.field_of_view_deg) == ((3.0, 4.0), (30.0, 35.0))
    # By keywords, beside the one that is there: its place and turn are as asked.
    assert bpy.ops.limbeck.add_orbit_box(location=(5, 0, 0), size=2.0, turn=math.pi / 2) == {"FINISHED"}
    other = scene.limbeck.target
    assert other is not box
    frame = rig_form.placement_from(scene)
    assert np.allclose((*frame.location, frame.size), (5, 0, 0, 2))
    assert np.allclose(frame.matrix[:3, 1] / 2, (-1, 0, 0), atol=1e-6)  # its back is at -X now: it faces +X
    assert np.allclose(rig_form.orbit_from_fields(scene).distance, Orbit().distance)
    # Deleted by hand, the field keeps it in the file; nothing is placed at what nobody sees.
    bpy.ops.object.delete()
    assert scene.limbeck.target == other
    assert "was deleted" in harness.error_of(lambda: rig_form.placement_from(scene)).message
    assert "clear that field" in addon.recipe.panel_form.missing_field(scene)
    bpy.data.objects.remove(other)
    assert scene.limbeck.target is None
    assert addon.recipe.panel_form.recipe_from(scene).rig.orbit is not None


def mirrored_and_sheared_empties_keep_front_and_up():
    scene = fresh()
    empty = bpy.data.objects.new("Frame", None)
    scene.collection.objects.link(empty)
    empty.scale = (-1.0, 1.0, 1.0)
    bpy.context.view_layer.update()
    assert np.allclose(placement_of(empty).matrix[:3, :3], 2 * np.eye(3), atol=1e-6)
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    empty.parent, empty.scale, empty.rotation_euler = parent, (1, 1, 1), (0.0, 0.0, 0.6)
    parent.scale = (1.0, 3.0, 1.0)
    bpy.context.view_layer.update()
    frame = placement_of(empty)
    back = np.array(empty.matrix_world)[:3, 1]
    assert np.allclose(frame.matrix[:3, 1] / frame.size, back / np.linalg.norm(back), atol=1e-6)
    assert np.allclose(frame.matrix[:3, 2] / frame.size, (0, 0, 1), atol=1e-6)
    assert math.isclose(np.linalg.det(frame.matrix[:3, :3]), frame.size**3, rel_tol=1e-5)


def cameras_are_chosen_by_collection_selection_or_path():
    scene = fresh("CAMERAS")
    inside = bpy.data.collections.new("Rig")
    scene.collection.children.link(inside)
    new_camera("A"), new_camera("B", collection=inside), new_camera("C", collection=inside)

    def names() -> list[str]:
        return [camera.name for camera in rig_form.cameras_from(scene)]

    assert names() == ["A", "B", "C"]
    scene.limbeck.cameras = inside
    assert names() == ["B", "C"]
    scene.limbeck.camera_source = "SELECTED"
    assert names() == []
    assert "Select a camera" in addon.recipe.panel_form.missing_field(scene)
    for name in ("A", "C"):
        bpy.data.objects[name].select_set(True)
    assert names() == ["A", "C"]
    assert len(addon.recipe.panel_form.recipe_from(scene).rig.cameras.lens) == 2
    scene.limbeck.camera_source = "PATH"
    assert names() == []
    assert "active camera" in addon.recipe.panel_form.missing_field(scene)
    scene.camera = bpy.data.objects["B"]
    assert names() == ["B"]
    # Markers bind cameras to frames, as they do when rendering.
    scene.frame_start, scene.frame_end, scene.limbeck.path_samples = 1, 100, 4
    for frame, name in ((20, "A"), (60, "C")):
        scene.timeline_markers.new(name, frame=frame).camera = bpy.data.objects[name]
    chosen = [camera.name for camera, _ in addon.rig.camera_path.path_cameras(scene, 4)]
    assert chosen == ["A", "A", "C", "C"]  # at 1, 34, 67, 100
    scene.frame_end = 1
    assert len(addon.rig.camera_path.path_cameras(scene, 4)) == 1


def a_path_leaves_the_frame_and_what_is_not_keyed_alone():
    scene = fresh("CAMERAS")
    camera = new_camera()
    scene.camera, scene.limbeck.camera_source, scene.limbeck.path_samples = camera, "PATH", 9
    for frame, x in ((1, -0.5), (101, 0.5)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)
    scene.frame_end = 101
    scene.frame_set(31, subframe=0.25)
    camera.location.x = 0.123  # moved and not keyed yet
    bpy.context.view_layer.update()
    seen: list[str] = []
    bpy.app.handlers.depsgraph_update_post.append(lambda changed, _: seen.append(changed.name))
    before, blocks = np.array(camera.matrix_world), harness.data_blocks()
    scenes = len(bpy.data.scenes)
    rig = addon.recipe.panel_form.recipe_from(scene).rig
    bpy.app.handlers.depsgraph_update_post.pop()
    assert np.allclose(rig.cameras.camera_to_world[:, 0, 3], np.linspace(-0.5, 0.5, 9), atol=0.2)
    assert np.all(np.diff(rig.cameras.camera_to_world[:, 0, 3]) > 0)
    assert (scene.frame_current, scene.frame_subframe) == (31, 0.25)
    assert math.isclose(camera.location.x, 0.123, rel_tol=1e-6)
    assert np.array_equal(before, np.array(camera.matrix_world))
    assert (harness.data_blocks(), len(bpy.data.scenes)) == (blocks, scenes)
    assert np.allclose(rig.cameras.weight, 1 / 9)  # the path counts as one camera
    # A camera that cannot serve at one frame is named with the frame, and the private scene is gone all the same.
    camera.data.type = "ORTHO"
    error = harness.error_of(lambda: addon.recipe.panel_form.recipe_from(scene))
    assert "Camera 'Camera, frame 1' is orthographic;" in error.message
    assert len(bpy.data.scenes) == scenes
    camera.data.type = "PERSP"
    camera.hide_viewport = True
    error = harness.error_of(lambda: addon.recipe.panel_form.recipe_from(scene))
    assert "is disabled in viewports" in error.message
    assert "Outliner" in error.remedy.label


def weights_and_prompts_are_edited_on_the_camera():
    scene = fresh("BOTH")
    one, two = new_camera("One"), new_camera("Two", (0.0, 2.05, 0.0))
    assert "limbeck_weight" not in one
    one.limbeck_view_weight, one.limbeck_view_prompt = 3.0, "with its beak open"
    assert one["limbeck_weight"] == 3.0
    assert one["limbeck_prompt"] == "with its beak open"
    assert two.limbeck_view_weight == 1.0
    scene.limbeck.orbit_weight = 4.0
    rig = addon.recipe.panel_form.recipe_from(scene).rig
    assert rig.cameras.weight.tolist() == [3.0, 1.0]
    assert rig.cameras.prompt_suffix == [", with its beak open", ""]
    assert rig.orbit.weight == 4.0
    assert rig_form.shares(scene) == (0.5, 0.5)
    one["limbeck_weight"] = "much"
    assert one.limbeck_view_weight == 1.0
    assert "limbeck_weight 'much'" in states(scene)["One"].error


def unusable_cameras_are_named_with_a_fix():
    scene = fresh("CAMERAS")
    scene.limbeck.prior = "exact"
    new_camera("Good")
    new_camera("Ortho", type="ORTHO"), new_camera("Pano", type="PANO")
    away = new_camera("Away", (0.0, -3.0, 0.0))
    away.rotation_euler = (-math.pi / 2, 0.0, 0.0)
    bpy.context.view_layer.update()
    found = states(scene)
    assert (found["Good"].error, found["Good"].note) == ("", ""), found["Good"]
    assert found["Ortho"].error.startswith("Camera 'Ortho' is orthographic;")
    assert "Perspective" in found["Pano"].error
    assert "looks away" in found["Away"].error
    for name in ("Ortho", "Pano", "Away"):
        assert bpy.ops.limbeck.fix_camera(camera=name, fix=found[name].fix) == {"FINISHED"}
    bpy.context.view_layer.update()
    assert not any(state.error for state in states(scene).values())
    error = harness.error_of(lambda: bpy.ops.limbeck.fix_camera(camera="Nobody"), RuntimeError)
    assert "no camera 'Nobody'" in str(error)


def a_sheared_camera_is_refused():
    scene = fresh("CAMERAS")
    camera = new_camera()
    parent = bpy.data.objects.new("Parent", None)
    scene.collection.objects.link(parent)
    parent.scale, camera.parent, camera.rotation_euler = (1.0, 1.3, 1.0), parent, (1.5, 0.3, 0.2)
    bpy.context.view_layer.update()
    assert "sheared" in states(scene)["Camera"].error
    assert "sheared" in str(harness.error_of(lambda: addon.recipe.panel_form.recipe_from(scene)))


def views_that_the_known_world_does_not_have_get_a_note():
    scene = fresh("CAMERAS")
    scene.limbeck.prior = "exact"
    new_camera("Usual", (1.2, -1.4, 0.9))
    new_camera("Far", (0.0, -8.0, 0.0))
    new_camera("Above", (0.0, -0.05, 2.05))
    new_camera("Aside", shift_x=0.25)
    rolled = new_camera("Rolled")
    rolled.rotation_euler = (Matrix.Rotation(math.pi / 2, 3, "X") @ Matrix.Rotation(1.0, 3, "Z")).to_euler()
    new_camera("Elsewhere", shift_x=4.0)
    bpy.context.view_layer.update()
    found = states(scene)
    assert not any(state.error for state in found.values())
    assert found["Usual"].note == ""
    assert "25% of the size" in found["Far"].note or "26% of the size" in found["Far"].note, found["Far"].note
    assert "looks from 8" in found["Above"].note, found["Above"].note
    assert "away from the middle" in found["Aside"].note
    assert "rolled by 57" in found["Rolled"].note, found["Rolled"].note
    assert "does not have the object in its picture" in found["Elsewhere"].note
    scene.limbeck.prior = "network"
    assert {name: state.note for name, state in states(scene).items()} == {
        name: state.note for name, state in found.items()
    }
    scene.limbeck.prior = "stable-diffusion"
    assert [name for name, state in states(scene).items() if state.note] == ["Elsewhere"]
    assert camera_notes.orbit_note(Orbit(), knows_only_usual_views=True) == ""
    wide = Orbit(distance=(5.0, 6.0))
    assert "of the size" in camera_notes.orbit_note(wide, knows_only_usual_views=True)
    assert camera_notes.orbit_note(wide, knows_only_usual_views=False) == ""
    assert "elevation" in camera_notes.orbit_note(Orbit(elevation_deg=(-80.0, 0.0)), knows_only_usual_views=True)


class Recorder:
    """A layout that keeps what was drawn, and takes only what Blender's own would."""

    functions, properties = bpy.types.UILayout.bl_rna.functions, bpy.types.UILayout.bl_rna.properties

    def __init__(self, seen: list[str]) -> None:
        object.__setattr__(self, "seen", seen)

    def __setattr__(self, name: str, value: object) -> None:
        assert name in self.properties, name

    def __getattr__(self, name: str):
        parameters = self.functions[name].parameters

        def call(*arguments, **named):
            assert set(named) <= set(parameters.keys()), named
            if name == "prop":
                key = arguments[1]
                known = arguments[0].keys() if key.startswith('["') else arguments[0].bl_rna.properties
                assert key.strip('["]') in known, arguments
            self.seen.append(" ".join(str(value) for value in [name, *arguments, *named.values()]))
            return SimpleNamespace() if name == "operator" else Recorder(self.seen)

        return call


def drawn() -> str:
    seen: list[str] = []
    addon.panels.cameras.LIMBECK_PT_rig.draw(SimpleNamespace(layout=Recorder(seen)), bpy.context)
    return "\n".join(seen)


def the_panel_shows_it_before_anything_is_sent():
    scene = fresh("BOTH")
    for number in range(20):
        new_camera(f"Camera {number:02}")
    text = drawn()
    assert text.count("limbeck_view_weight") == 16
    assert "and 4 more" in text
    assert "Orbit 5%, cameras 95% of the views" in text
    bpy.data.objects["Camera 19"].data.type = "ORTHO"
    text = drawn()
    assert text.index("Camera 19") < text.index("Camera 00")
    assert "Make Perspective" in text
    bpy.ops.limbeck.add_orbit_box()
    text = drawn()
    assert '["limbeck_distance"]' in text
    assert '["limbeck_weight"]' in text
    assert "orbit_distance" not in text
    scene.limbeck.target["limbeck_distance"] = [3.0, 2.0]
    # Lines are cut to the sidebar's width.
    assert "The orbit's distance runs" in " ".join(drawn().replace("label ", "").split())
    for source in ("SELECTED", "PATH"):
        scene.limbeck.camera_source = source
        assert "No camera here" in drawn() or "limbeck.sample_path" in drawn()


harness.main(
    an_orbit_box_marks_place_size_front_and_ranges,
    mirrored_and_sheared_empties_keep_front_and_up,
    cameras_are_chosen_by_collection_selection_or_path,
    a_path_leaves_the_frame_and_what_is_not_keyed_alone,
    weights_and_prompts_are_edited_on_the_camera,
    unusable_cameras_are_named_with_a_fix,
    a_sheared_camera_is_refused,
    views_that_the_known_world_does_not_have_get_a_note,
    the_panel_shows_it_before_anything_is_sent,
)
