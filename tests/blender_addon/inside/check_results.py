"""Work on results against the real server (its worker makes a cube): re-run, branch, compare, asset, copy, undo."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import bpy
import harness
import numpy as np
from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.recipe import Orbit, Recipe, Rig, Settings, recipe_from_json
from recording import drawn

addon = harness.load_addon()
runtime, on_object = addon.runtime, addon.results.recipe_on_object


def fresh() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    return bpy.context.scene


def new_result(recipe: Recipe | None = None, **place) -> bpy.types.Object:
    recipe = recipe or Recipe(prompt="a yellow duck", rig=Rig(orbit=Orbit()))
    origin = on_object.Origin("job-0001", recipe, {"iou": 0.84})
    picture = np.full((600, 300, 3), (255, 0, 128), dtype=np.uint8)
    return addon.results.scene_import.import_mesh(
        bpy.context.scene, harness.cube_arrays(addon), origin, addon.rig.placement.Placement(**place), picture=picture
    )


def raised_by(action) -> str:
    return str(harness.error_of(action, RuntimeError))


def what_is_written_is_read_and_what_is_damaged_is_a_sentence():
    fresh()
    thing = new_result(size=2.0)
    assert thing["limbeck_schema"] == 2
    origin = on_object.read_origin(thing)
    assert (origin.job_id, origin.recipe.prompt, origin.metrics) == ("job-0001", "a yellow duck", {"iou": 0.84})
    thing.scale = (1.0, 3.0, 1.0)
    assert on_object.size_of(thing) == 6.0
    good = thing["limbeck_recipe"]
    damages = {
        "": "damaged or foreign",
        "{": "damaged or foreign",
        "[1, 2]": "damaged or foreign",
        '{"prompt": 5}': "damaged or foreign",
        '{"prompt": "a duck", "soup": 1}': "damaged or foreign",
        "[" * 100_000: "damaged or foreign",
    }
    for text, words in damages.items():
        thing["limbeck_recipe"] = text
        error = harness.error_of(lambda: on_object.read_origin(thing))
        assert (error.code, words in error.message, "Yellow duck" in error.message) == (
            ErrorCode.CANNOT_READ,
            True,
            True,
        ), error
        for name in ("branch", "copy_recipe", "mark_as_asset", "rerun"):
            assert words in raised_by(getattr(bpy.ops.limbeck, name))
        assert thing.asset_data is None
    thing["limbeck_recipe"] = 7
    assert "a text was expected" in harness.error_of(lambda: on_object.read_origin(thing)).message
    thing["limbeck_recipe"], thing["limbeck_metrics"] = good, "nonsense"
    assert on_object.read_origin(thing).metrics == {}
    thing["limbeck_schema"] = 3
    assert "schema 3; this release reads 2" in harness.error_of(lambda: on_object.read_origin(thing)).message
    thing["limbeck_schema"] = "one"
    assert "damaged" in harness.error_of(lambda: on_object.read_origin(thing)).message
    error = harness.error_of(lambda: on_object.read_origin(thing))
    # Its button neither runs nor fetches the job that happens to be followed.
    assert addon.panel_state.remedy_button(error.remedy).operator == "limbeck.dismiss_error"
    del thing["limbeck_schema"]  # as releases before schemas wrote it
    assert on_object.read_origin(thing).recipe.prompt == "a yellow duck"
    del thing["limbeck_recipe"]
    assert "carries no recipe" in harness.error_of(lambda: on_object.read_origin(thing)).message
    assert not bpy.ops.limbeck.rerun.poll()


def a_result_is_run_again_beside_itself():
    scene = fresh()
    bpy.ops.limbeck.generate("EXEC_DEFAULT", prompt="a red cube", seed=7, steps=3, size=2.0, blocking=True)
    first = bpy.context.active_object
    assert recipe_from_json(first["limbeck_recipe"]).settings.steps == 3
    assert not scene.limbeck.is_property_set("prompt")  # keywords count for one call
    assert (scene.limbeck.prompt, scene.limbeck.seed, scene.limbeck.override_steps) == ("", 0, False)
    first.rotation_euler.z = np.pi / 2
    bpy.context.view_layer.update()
    assert bpy.ops.limbeck.rerun(blocking=True, timeout_s=30) == {"FINISHED"}
    second = bpy.context.active_object
    assert second is not first
    assert second["limbeck_recipe"] == first["limbeck_recipe"]
    assert second["limbeck_job"] != first["limbeck_job"]
    assert np.allclose(second.location, (0, 2.5, 0), atol=1e-5), second.location  # along its own +X
    assert abs(second.rotation_euler.z - np.pi / 2) < 1e-5
    assert second["limbeck_size"] == 2.0
    assert "have the same recipe" in addon.api.compare(first, second)
    assert tuple(second.preview.image_size) == (16, 16)  # the job's last picture
    assert runtime.session().error is None


def keywords_that_cannot_be_used_are_an_error_and_change_nothing():
    scene = fresh()
    assert "The prompt is empty" in raised_by(lambda: bpy.ops.limbeck.generate("EXEC_DEFAULT", blocking=True))
    with harness.in_sidebar():
        assert not bpy.ops.limbeck.generate.poll()
    error = raised_by(lambda: bpy.ops.limbeck.generate(prompt="a gryphon", loss="sds", blocking=True))
    assert "'gryphon' is not known" in error
    assert scene.limbeck.prompt == ""
    assert not [thing for thing in bpy.data.objects if "limbeck_job" in thing]


def branch_loads_the_recipe_into_the_panel():
    scene = fresh()
    recipe = Recipe(
        prompt="a green cube",
        negative_prompt="blur",
        loss="sds",
        prior="exact",
        preset="quick",
        seed=41,
        rig=Rig(orbit=Orbit(elevation_deg=(0.0, 20.0), distance=(3.0, 3.5))),
        settings=Settings(
            steps=77, guidance_scale=12.5, density_level=None, texture_size=512, loss_parameters={"strength": 0.25}
        ),
    )
    new_result(recipe)
    assert bpy.ops.limbeck.branch(new_seed=True) == {"FINISHED"}
    fields = scene.limbeck
    assert (fields.prompt, fields.negative_prompt, fields.preset, fields.seed) == ("a green cube", "blur", "quick", 42)
    assert (fields.override_steps, fields.steps) == (True, 77)
    assert (fields.override_guidance_scale, fields.guidance_scale) == (True, 12.5)
    assert (fields.override_density_level, fields.density_level) == (True, 0.0)
    assert not fields.override_face_budget
    again = addon.recipe.panel_form.recipe_from(scene)
    differences = addon.recipe.recipe_comparison.compare_recipes(recipe, again)
    assert [difference.field for difference in differences] == ["seed"], differences
    assert bpy.ops.limbeck.branch() == {"FINISHED"}
    assert fields.seed == 41
    bpy.ops.limbeck.add_orbit_box()
    unsaid = addon.recipe.branch.branch_into(scene, recipe, None, new_seed=False)
    assert any("the orbit of 'Limbeck Orbit' counts" in sentence for sentence in unsaid), unsaid
    fields.target = None
    new_result(Recipe(prompt="a cube", seed=2**40, rig=Rig(orbit=Orbit())))
    assert "larger than the panel's" in raised_by(bpy.ops.limbeck.branch)
    assert fields.prompt == "a green cube"


def comparison_names_each_field_with_both_values():
    fresh()
    old = new_result(Recipe(prompt="a duck", seed=1, rig=Rig(orbit=Orbit()), settings=Settings(steps=100)))
    new = new_result(
        Recipe(prompt="a duck", seed=2, loss="nfsd", rig=Rig(orbit=Orbit(distance=(2.0, 3.0))), settings=Settings())
    )
    expected = [
        "'Duck' -> 'Duck.001'",
        "loss: 'sds' -> 'nfsd'",
        "seed: 1 -> 2",
        "rig.orbit.distance: (2.0, 2.1) -> (2.0, 3.0)",
        "settings.steps: 100 -> -",
    ]
    lines = addon.api.compare(old, new).splitlines()
    assert set(expected) <= set(lines), lines
    assert not bpy.ops.limbeck.compare_recipes.poll()
    old.select_set(True)
    assert bpy.ops.limbeck.compare_recipes() == {"FINISHED"}
    new["limbeck_recipe"] = "{"
    assert "damaged" in raised_by(bpy.ops.limbeck.compare_recipes)


def a_result_becomes_an_asset_with_its_picture_and_tags():
    fresh()
    thing = new_result()
    assert tuple(thing.preview.image_size) == (100, 200)
    assert bpy.ops.limbeck.mark_as_asset() == {"FINISHED"}
    data = thing.asset_data
    assert data.description == "a yellow duck"
    assert sorted(tag.name for tag in data.tags) == ["duck", "sds", "yellow"]
    assert data.catalog_id == addon.results.result_asset.CATALOG_ID
    assert bpy.ops.limbeck.mark_as_asset() == {"FINISHED"}
    assert len(data.tags) == 3
    with tempfile.TemporaryDirectory() as folder:
        library = bpy.context.preferences.filepaths.asset_libraries.new(name="Mine", directory=folder)
        file = str(Path(folder) / "assets.blend")
        bpy.ops.wm.save_as_mainfile(filepath=file)
        catalogs = Path(folder) / "blender_assets.cats.txt"
        assert not catalogs.exists()
        for _ in range(2):
            bpy.ops.limbeck.mark_as_asset()
        text = catalogs.read_text()
        assert text.count(addon.results.result_asset.CATALOG_ID) == 1, text
        assert "VERSION 1" in text
        catalogs.write_text("# mine\nVERSION 1\n\nno line break at the end")
        bpy.ops.limbeck.mark_as_asset()
        assert catalogs.read_text().startswith("# mine\nVERSION 1\n\nno line break at the end\n")
        catalogs.write_bytes(b"\xff\xfe")
        assert "it is no UTF-8 text" in raised_by(bpy.ops.limbeck.mark_as_asset)
        assert runtime.session().error.remedy.field == "mark_as_asset"
        catalogs.unlink()
        bpy.ops.wm.save_mainfile()
        bpy.ops.wm.open_mainfile(filepath=file)
        thing = bpy.data.objects["Yellow duck"]
        assert tuple(thing.preview.image_size) == (100, 200)
        pixels = np.array(thing.preview.image_pixels_float[:4])
        assert np.allclose(pixels, (1.0, 0.0, 128 / 255, 1.0), atol=0.01), pixels
        assert thing.asset_data.catalog_id == addon.results.result_asset.CATALOG_ID
        fresh()
    del library


def the_panel_s_switch_makes_each_import_an_asset():
    scene = fresh()
    scene.limbeck.prompt, scene.limbeck.mark_as_asset = "a blue cube", True
    assert bpy.ops.limbeck.generate(blocking=True, timeout_s=30) == {"FINISHED"}
    assert bpy.context.active_object.asset_data is not None


def an_import_into_a_file_whose_collection_was_deleted_makes_a_new_one():
    scene = fresh()
    scene.limbeck.prompt = "a red cube"
    new_result()
    bpy.ops.limbeck.generate()
    while runtime.session().state != addon.connection.session.SessionState.FETCHING:
        assert runtime.pump() is not None, runtime.session().error
    for thing in list(bpy.data.objects):
        bpy.data.objects.remove(thing)  # somebody tidies up while the mesh is on its way
    bpy.data.collections.remove(addon.results.scene_import.result_collection(scene))
    runtime.wait(30)
    assert bpy.data.objects["Red cube"].users_collection[0].name == "Limbeck"


def undo_takes_the_import_back_and_redo_brings_all_of_it():
    scene = fresh()
    scene.limbeck.prompt = "a red cube"
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.limbeck.generate(blocking=True, timeout_s=30)
    bpy.ops.ed.undo_push(message="import")
    bpy.ops.ed.undo()
    assert "Red cube" not in bpy.data.objects
    bpy.ops.ed.redo()
    thing = bpy.data.objects["Red cube"]
    assert recipe_from_json(thing["limbeck_recipe"]).prompt == "a red cube"
    assert thing.data.materials[0].node_tree.nodes["Image Texture"].image.packed_file is not None
    assert len(thing.data.uv_layers) == len(thing.data.color_attributes) == 1
    json.loads(thing["limbeck_metrics"])


def the_panels_draw_what_is_known_and_what_is_wrong():
    scene = fresh()
    panel = addon.panels.results.LIMBECK_PT_result
    assert not panel.poll(bpy.context)
    thing = new_result()
    assert panel.poll(bpy.context)
    text = drawn(panel)
    for words in ("a yellow duck", "sds", "0.84", "limbeck.rerun", "limbeck.branch", "limbeck.mark_as_asset"):
        assert words in text, text
    assert "compare" not in text
    new_result()
    thing.select_set(True)
    assert "limbeck.compare_recipes" in drawn(panel)
    bpy.context.active_object["limbeck_recipe"] = "{"
    text = drawn(panel)
    assert "damaged or foreign" in text.replace("\n", " ") or "damaged" in text, text
    assert "limbeck.rerun" not in text
    variants = addon.panels.results.LIMBECK_PT_variants
    assert "prop variant_count = 4" in drawn(variants)
    scene.limbeck.variant_kind = "LOSSES"
    entry = scene.limbeck.jobs.add()
    entry.job_id, entry.prompt, entry.trouble = "job-0002", "a red cube", "Cancelled."
    text = drawn(variants)
    assert "prop variant_losses" in text
    assert "Cancelled." in text


harness.main(
    what_is_written_is_read_and_what_is_damaged_is_a_sentence,
    a_result_is_run_again_beside_itself,
    keywords_that_cannot_be_used_are_an_error_and_change_nothing,
    branch_loads_the_recipe_into_the_panel,
    comparison_names_each_field_with_both_values,
    a_result_becomes_an_asset_with_its_picture_and_tags,
    the_panel_s_switch_makes_each_import_an_asset,
    an_import_into_a_file_whose_collection_was_deleted_makes_a_new_one,
    undo_takes_the_import_back_and_redo_brings_all_of_it,
    the_panels_draw_what_is_known_and_what_is_wrong,
)
