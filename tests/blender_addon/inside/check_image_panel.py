"""The panel while the prompt makes a picture: what it offers, hides, refuses and says, by the catalog."""

from __future__ import annotations

import bpy
import harness
import msgspec
from limbeck_protocol.job_states import JobState
from limbeck_protocol.messages import Catalog, JobInfo, LossInfo, PresetInfo, PriorInfo
from limbeck_protocol.recipe import Image, Recipe
from recording import drawn, sentences

addon = harness.load_addon()
runtime, panels, catalog_view = addon.runtime, addon.panels, addon.recipe.catalog_view
KINDS = ("exact", "network", "stable-diffusion")
WORDS = {"shape": ["mug"]}


def preset(name: str, loss: str, prior: str, makes: str = "object", **settings) -> PresetInfo:
    return PresetInfo(name=name, loss=loss, prior=prior, description=name, settings=settings, makes=makes)


CATALOG = Catalog(
    losses=[LossInfo(name=name, title=name.upper(), description="") for name in ("sds", "nfsd", "dds")],
    priors=[
        PriorInfo(name="exact", title="Exact", description="", installed=True, vocabulary=WORDS),
        PriorInfo(name="network", title="Network", description="", installed=True, vocabulary=WORDS),
        PriorInfo(name="stable-diffusion", title="SD", description="", installed=False),
    ],
    presets=[
        *(
            preset(name, loss, kind, steps=3)
            for kind in KINDS
            for loss in ("sds", "nfsd")
            for name in ("quick", "standard")
        ),
        preset("dreamfusion", "sds", "stable-diffusion"),
        *(preset("image", loss, kind, "image", steps=5) for kind in KINDS for loss in ("sds", "nfsd")),
        preset("nfsd-image", "nfsd", "stable-diffusion", "image"),
    ],
)
BEFORE_IMAGES = msgspec.structs.replace(CATALOG, presets=[p for p in CATALOG.presets if p.makes == "object"])


def fresh(makes: str = "IMAGE", catalog: Catalog | None = CATALOG):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if not addon.is_registered():
        addon.register()
    fields = bpy.context.scene.limbeck
    fields.prompt, fields.makes = "a red mug", makes
    runtime.session().catalog = catalog
    return fields


def missing() -> str:
    return addon.recipe.panel_form.missing_field(bpy.context.scene, runtime.session().catalog)


def offered() -> list[str]:
    menu = drawn(panels.choices.LIMBECK_MT_presets)
    return [
        name for name in ("quick", "standard", "dreamfusion", "image", "nfsd-image") if f"value={name}\n" in menu + "\n"
    ]


def presets_are_those_of_what_is_made_and_of_the_prior():
    fields = fresh("OBJECT")
    assert offered() == ["quick", "standard"]
    fields.prior = "stable-diffusion"
    assert offered() == ["quick", "standard", "dreamfusion"]
    fields.makes = "IMAGE"
    assert offered() == ["image", "nfsd-image"]
    fields.prior = "network"
    assert offered() == ["image"]
    for prior in ("owner/name", "./a folder", "C:\\models\\mine"):  # nobody here can look into a server's folders
        fields.prior = prior
        assert offered() == ["image", "nfsd-image"], prior
    search = addon.properties.guidance.suggest("preset")
    assert search(fields, bpy.context, "IMAGE") == ["image", "nfsd-image"]
    assert search(fields, bpy.context, "quick") == []
    runtime.session().catalog = None
    assert offered() == ["image"]
    assert "value=network" in drawn(panels.choices.LIMBECK_MT_priors)


def each_kind_of_prior_is_told_from_the_others():
    expected = {"exact": "exact", "network": "network", "stable-diffusion": "stable-diffusion"}
    expected |= {"owner/name": "stable-diffusion", "/models/network": "stable-diffusion"}
    for prior, kind in expected.items():
        assert catalog_view.prior_kind(CATALOG, prior) == kind
    # A network that took any text, and stood first, would not be taken for Stable Diffusion's kind.
    open_network = msgspec.structs.replace(CATALOG.priors[1], vocabulary={})
    other = msgspec.structs.replace(CATALOG, priors=[open_network, CATALOG.priors[2]])
    assert catalog_view.prior_kind(other, "owner/name") == "stable-diffusion"
    named = PriorInfo(name="/models/mine", title="Mine", description="", installed=True)
    assert catalog_view.prior_kind(msgspec.structs.replace(CATALOG, priors=[named]), "/models/mine") == "/models/mine"
    fields = fresh("OBJECT")
    fields.prior = "network"
    assert not missing()
    assert panels.choices.current_preset(fields) == {"steps": 3}


def objects_and_pictures_each_keep_their_preset():
    fields = fresh("OBJECT")
    bpy.ops.limbeck.choose(kind="preset", value="quick")
    fields.makes = "IMAGE"
    assert "image" in drawn(panels.main.LIMBECK_PT_main)
    bpy.ops.limbeck.choose(kind="preset", value="nfsd-image")
    assert (fields.preset, fields.image_preset) == ("quick", "nfsd-image")
    fields.makes = "OBJECT"
    assert "menu LIMBECK_MT_presets quick" in drawn(panels.main.LIMBECK_PT_main)


def what_does_not_fit_is_said_before_anything_is_sent():
    fields = fresh()
    assert not missing()
    fields.image_preset = "quick"
    assert missing() == "The server's preset 'quick' makes no image; choose one of: image."
    fields.image_preset = "nfsd-image"
    assert missing() == (
        "The server's preset 'nfsd-image' is not made for the loss 'sds' with this prior; choose one of: image."
    )
    fields.loss, fields.prior = "nfsd", "owner/name"
    assert not missing()
    fields.makes, fields.preset = "OBJECT", "image"
    assert missing() == "The server's preset 'image' makes no object; choose one of: quick, standard."
    fields = fresh(catalog=BEFORE_IMAGES)
    assert missing() == catalog_view.NO_IMAGES
    assert catalog_view.NO_IMAGES in sentences(drawn(panels.guidance.LIMBECK_PT_guidance))
    fresh(catalog=None)
    assert not missing()


def panels_about_objects_are_hidden():
    about_objects = (panels.cameras.LIMBECK_PT_rig, panels.mesh.LIMBECK_PT_mesh, panels.shape.LIMBECK_PT_shape)
    about_pictures = panels.picture.LIMBECK_PT_picture
    fields = fresh()
    assert not any(panel.poll(bpy.context) for panel in about_objects)
    assert about_pictures.poll(bpy.context)
    assert "prop makes = IMAGE" in drawn(panels.main.LIMBECK_PT_main)
    seen = drawn(about_pictures)
    for line in ("prop image_generator = PRESET", "prop image_size = 0", "prop seed = 0", "the prior's own size"):
        assert line in seen, seen
    assert "label 5" in seen, seen  # the preset's steps
    assert "viewport_preview" not in drawn(panels.preview.LIMBECK_PT_preview)
    assert "mark_as_asset" not in drawn(panels.results.LIMBECK_PT_variants)
    fields.makes = "OBJECT"
    assert all(panel.poll(bpy.context) for panel in about_objects)
    assert not about_pictures.poll(bpy.context)
    assert "viewport_preview" in drawn(panels.preview.LIMBECK_PT_preview)
    assert "mark_as_asset" in drawn(panels.results.LIMBECK_PT_variants)


def overrides_of_meshes_neither_count_nor_change():
    fields = fresh()
    fields.override_texture_size = fields.override_steps = True
    assert addon.recipe.settings_form.overrides_of(fields) == {"steps": 5}
    bpy.ops.limbeck.apply_preset()
    assert fields.steps == 5
    assert "Texture size" not in drawn(panels.guidance.LIMBECK_PT_preset)
    fields.makes = "OBJECT"
    assert "texture_size" in addon.recipe.settings_form.overrides_of(fields)


def remedies_reach_the_fields_of_pictures():
    fields = fresh()
    panel_fields = addon.operators.remedies.panel_fields
    assert panel_fields(fields, "recipe.image.size") == ["image_size"]
    assert panel_fields(fields, "recipe.image.generator") == ["image_generator"]
    assert panel_fields(fields, "recipe.image") == ["makes"]
    assert panel_fields(fields, "recipe.preset") == ["image_preset"]
    fields.image_size = 64
    for left in (32, 16):
        assert bpy.ops.limbeck.lower_resolution() == {"FINISHED"}
        assert fields.image_size == left
    harness.error_of(bpy.ops.limbeck.lower_resolution, RuntimeError)
    # The prior's own, and latents of it, have no other size: what the server would refuse is no remedy.
    for generator, size in (("PRESET", 0), ("LATENTS", 512)):
        fields.image_generator, fields.image_size = generator, size
        harness.error_of(bpy.ops.limbeck.lower_resolution, RuntimeError)
        assert fields.image_size == size
    fields.makes = "OBJECT"
    assert panel_fields(fields, "recipe.preset") == ["preset"]


def the_list_of_jobs_says_what_is_a_picture():
    fresh()
    recipe = Recipe(prompt="a red mug", preset="image", image=Image(generator="mlp", size=64))
    job = JobInfo(job_id="job-0001", state=JobState.SUCCEEDED, recipe=recipe, created=0.0, ended=9.0)
    runtime.session().jobs = [job]
    addon.job_list.mirror_jobs(runtime.session())
    assert "Image of mlp, 64 pixels" in drawn(panels.jobs.LIMBECK_PT_jobs)
    assert panels.jobs.picture_sentence(Recipe(prompt="a duck")) == ""
    assert panels.jobs.picture_sentence(Recipe(prompt="a duck", image=Image())) == "Image"
    followed = addon.connection.followed_job.FollowedJob("job-0001", wants_result=False)
    assert (followed.word, followed.makes_picture) == ("mesh", False)
    followed.take_info(job)
    assert followed.notice == "Done: the picture waits to be imported."


harness.main(
    presets_are_those_of_what_is_made_and_of_the_prior,
    each_kind_of_prior_is_told_from_the_others,
    objects_and_pictures_each_keep_their_preset,
    what_does_not_fit_is_said_before_anything_is_sent,
    panels_about_objects_are_hidden,
    overrides_of_meshes_neither_count_nor_change,
    remedies_reach_the_fields_of_pictures,
    the_list_of_jobs_says_what_is_a_picture,
)
