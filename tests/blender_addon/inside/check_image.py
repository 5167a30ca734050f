"""Pictures from the panel's buttons, against the real server (its worker paints noise)."""

from __future__ import annotations

import json

import bpy
import harness
import numpy as np
from limbeck_protocol.recipe import Image, Orbit, Recipe, Rig
from pictures import fresh, pictures
from pumping import pump_until

addon = harness.load_addon()
runtime, api = addon.runtime, addon.api
image_import = addon.results.image_import


def generate_lands_an_image_and_no_object():
    fields = fresh()
    fields.image_generator, fields.image_size, fields.seed = "MLP", 32, 4
    fields.override_steps, fields.steps = True, 5
    fields.override_mesh_resolution = fields.override_render_size = True  # of no use to a picture
    fields.override_guidance_scale, fields.guidance_scale = True, 5.0
    assert bpy.ops.limbeck.generate(blocking=True) == {"FINISHED"}
    [image] = pictures()
    assert image.name == "Red mug"
    assert tuple(image.size) == (32, 32)
    assert image.packed_file is not None
    assert np.allclose(np.array(image.pixels[:]).reshape(32, 32, -1)[-1, 0, :3], (1, 0, 0))
    recipe = addon.results.recipe_on_object.read_origin(image).recipe
    assert recipe.image == Image(generator="mlp", size=32)
    assert recipe.preset == "image"
    assert recipe.rig == Rig(orbit=Orbit())
    assert recipe.settings.steps == 5
    assert recipe.settings.guidance_scale == 5.0
    assert recipe.settings == type(recipe.settings)(steps=5, guidance_scale=5.0)
    assert not bpy.data.objects
    assert not bpy.data.meshes
    assert runtime.preview.size == (16, 16)
    assert json.loads(image["limbeck_metrics"]) == {"accuracy": 0.5}
    assert "limbeck_size" not in image
    view = addon.panels.main.current_view()
    assert (view.state, view.sentence) == ("done", "Done."), view
    # Import again: the data-block that is there is shown, and nothing is fetched.
    assert bpy.ops.limbeck.import_result(job_id=image["limbeck_job"]) == {"FINISHED"}
    assert not runtime.session().is_busy
    assert pictures() == [image]
    bpy.data.images.remove(image)
    assert bpy.ops.limbeck.import_result(blocking=True) == {"FINISHED"}
    assert len(pictures()) == 1


def neither_a_bad_rig_nor_a_deleted_place_keeps_a_picture_back():
    fields = fresh()
    fields.rig_source = "CAMERAS"  # and there is none
    fields.target = bpy.data.objects.new("Place", None)  # in no scene: deleted, as far as anybody sees
    assert not addon.recipe.panel_form.missing_field(bpy.context.scene)
    recipe = addon.recipe.panel_form.recipe_from(bpy.context.scene)
    assert recipe.image == Image()
    assert addon.recipe.panel_form.asked_placement(bpy.context.scene) == addon.rig.placement.Placement()
    assert bpy.ops.limbeck.generate(blocking=True) == {"FINISHED"}
    fields.makes = "OBJECT"
    assert addon.recipe.panel_form.missing_field(bpy.context.scene)


def keywords_make_a_picture_for_one_call():
    fields = fresh()
    fields.makes = "OBJECT"
    given = {"makes": "IMAGE", "image_generator": "PIXELS", "image_size": 20, "preset": "nfsd-image", "seed": 9}
    assert bpy.ops.limbeck.generate(blocking=True, **given) == {"FINISHED"}
    recipe = api.recipe_of(pictures()[0])
    assert (recipe.image, recipe.preset, recipe.seed) == (Image(generator="pixels", size=20), "nfsd-image", 9)
    assert (fields.makes, fields.image_generator, fields.image_size) == ("OBJECT", "PRESET", 0)
    assert (fields.preset, fields.image_preset, fields.seed) == ("standard", "image", 0)


def the_size_is_the_prior_s_own_or_one_that_can_be():
    fields = fresh()
    for typed, kept in ((0, 0), (1, 16), (15, 16), (16, 16), (2048, 2048), (9999, 2048)):
        fields.image_size = typed
        assert fields.image_size == kept


def variants_of_a_picture_all_arrive():
    fields = fresh()
    fields.image_size = 16
    assert bpy.ops.limbeck.variants("EXEC_DEFAULT", count=3, blocking=True, timeout_s=60) == {"FINISHED"}
    assert [api.recipe_of(image).seed for image in pictures()] == [0, 1, 2]
    assert [image.name for image in pictures()] == ["Red mug", "Red mug.001", "Red mug.002"]
    assert not addon.results.wanted_results.wanted_ids()
    assert not addon.results.wanted_results.troubles()


def branch_brings_a_picture_s_recipe_into_the_panel_and_an_object_s_back():
    fields = fresh()
    recipe = Recipe(
        prompt="a red mug", loss="nfsd", preset="nfsd-image", seed=7, image=Image(generator="pixels", size=64)
    )
    fields.makes, fields.preset, fields.rig_source = "OBJECT", "quick", "BOTH"
    branch = addon.recipe.branch.branch_into
    assert branch(bpy.context.scene, recipe, None, new_seed=True) == []
    assert (fields.makes, fields.image_generator, fields.image_size) == ("IMAGE", "PIXELS", 64)
    assert (fields.image_preset, fields.preset, fields.loss, fields.seed) == ("nfsd-image", "quick", "nfsd", 8)
    assert fields.rig_source == "BOTH"  # a picture's rig means nothing
    assert addon.recipe.panel_form.recipe_from(bpy.context.scene).image == recipe.image
    assert branch(bpy.context.scene, Recipe(prompt="a duck"), None, new_seed=False) == []
    assert (fields.makes, fields.preset, fields.rig_source) == ("OBJECT", "standard", "ORBIT")
    strange = Recipe(prompt="a mug", preset="image", image=Image(generator="holograms"))
    [sentence] = branch(bpy.context.scene, strange, None, new_seed=False)
    assert "holograms" in sentence
    assert fields.image_generator == "PIXELS"


def an_image_editor_shows_it_and_gives_the_live_preview_back():
    fields = fresh()
    fields.image_size = 16
    window = bpy.context.window_manager.windows[0]
    area = max(window.screen.areas, key=lambda area: area.width * area.height)
    before = area.ui_type
    area.ui_type = "IMAGE_EDITOR"
    space = area.spaces.active
    try:
        bpy.ops.limbeck.generate(blocking=True)
        [first] = pictures()
        assert space.image == first
        preview = addon.previews.image_editor_preview.switch_on()
        space.image = preview
        bpy.ops.limbeck.generate(seed=1)
        runtime.wait(30)
        second = next(image for image in pictures() if image != first)
        assert space.image == second  # the only editor there is: it is lent
        bpy.ops.limbeck.generate(seed=2)
        pump_until(lambda: space.image == preview)
        runtime.wait(30)
        assert space.image not in (first, second, preview)
        space.image, space.use_image_pin = first, True
        bpy.ops.limbeck.generate(seed=3, blocking=True)
        assert space.image == first
        space.use_image_pin = False
        with bpy.context.temp_override(window=window, area=area):
            assert addon.panels.results.LIMBECK_PT_image_result.poll(bpy.context)
            assert bpy.ops.limbeck.branch.poll()
            assert bpy.ops.limbeck.rerun.poll()
            known = len(pictures())
            bpy.ops.limbeck.rerun(blocking=True)
        assert len(pictures()) == known + 1
        assert not bpy.data.objects
        assert bpy.ops.limbeck.show_image(job_id=first["limbeck_job"]) == {"FINISHED"}
        assert space.image == first
    finally:
        area.ui_type = before
    assert "not in the file" in str(
        harness.error_of(lambda: bpy.ops.limbeck.show_image(job_id="nothing-0"), RuntimeError)
    )


def nothing_is_drawn_over_the_scene():
    fields = fresh()
    fields.override_steps, fields.steps = True, 20
    assert addon.rig.frusta_overlay.layers_of(bpy.context.scene) == []
    bpy.ops.limbeck.generate()
    session, asked = runtime.session(), []
    runtime.live.viewport.show = lambda *arguments: asked.append(arguments)
    try:
        pump_until(lambda: session.followed.info is not None)
        asked.clear()
        pump_until(lambda: runtime.preview.size == (16, 16))
        runtime.wait(30)
        assert not asked
        assert addon.rig.frusta_overlay.followed_view(bpy.context.scene) is None
    finally:
        del runtime.live.viewport.show
    fields.makes = "OBJECT"
    assert addon.rig.frusta_overlay.layers_of(bpy.context.scene)


harness.main(
    generate_lands_an_image_and_no_object,
    neither_a_bad_rig_nor_a_deleted_place_keeps_a_picture_back,
    keywords_make_a_picture_for_one_call,
    the_size_is_the_prior_s_own_or_one_that_can_be,
    variants_of_a_picture_all_arrive,
    branch_brings_a_picture_s_recipe_into_the_panel_and_an_object_s_back,
    an_image_editor_shows_it_and_gives_the_live_preview_back,
    nothing_is_drawn_over_the_scene,
)
